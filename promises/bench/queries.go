package main

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"time"

	"berth/promises/install"
)

// questions is how often each question is put, so that a hundredth of them are some.
const questions = 501

// queries prints what questions take through web, from the first to the last byte, the first of them and the others, and what
// the servers use of processors for each, which depends less on what else the machine does.
func (s *suite) queries(ctx context.Context) error {
	for _, c := range []struct{ name, from string }{{"a day of one sensor", "now-1d"}, {"a month of one sensor, hourly", "now-30d"}} {
		path := "/api/v1/providers/provider1/gateways/month0000/series?" + url.Values{"sensor": {"unit.temperature0"}, "from": {c.from}}.Encode()
		if err := s.freshReports(ctx); err != nil {
			return err
		}
		first, err := s.timed(ctx, path)
		if err != nil {
			return err
		}
		before, err := s.used(ctx)
		if err != nil {
			return err
		}
		times := make([]time.Duration, questions)
		for i := range times {
			if times[i], err = s.timed(ctx, path); err != nil {
				return err
			}
		}
		after, err := s.used(ctx)
		if err != nil {
			return err
		}
		slices.Sort(times)
		fmt.Fprintf(s.out, "%-30s p50 %-8v p99 %-8v of %d; the first after a start %v; CPU of reports %v, ingest %v, web and NATS %v each\n", c.name,
			times[questions/2].Round(10*time.Microsecond), times[questions*99/100].Round(10*time.Microsecond), questions, first.Round(100*time.Microsecond),
			each(after[0]-before[0]), each(after[1]-before[1]), each(after[2]-before[2]))
	}
	return nil
}

// each is the share of one question.
func each(all time.Duration) time.Duration { return (all / questions).Round(10 * time.Microsecond) }

// timed gets a path and returns how long it took.
func (s *suite) timed(ctx context.Context, path string) (time.Duration, error) {
	begun := time.Now()
	err := s.get(ctx, path)
	return time.Since(begun), err
}

// freshReports ends the provider's reports, which starts again, and waits until it answers a question that reads no keyspace.
func (s *suite) freshReports(ctx context.Context) error {
	if err := s.install.KillInstance(ctx, "provider1", "reports"); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		err := s.get(ctx, "/api/v1/providers/provider1/groups")
		if err == nil {
			return nil
		}
		if wait(ctx, 100*time.Millisecond) != nil {
			return fmt.Errorf("reports does not answer after it was ended: %w", err)
		}
	}
}

// used returns the time of processors that reports, ingest, and all else of the installation have used.
func (s *suite) used(ctx context.Context) (cpu [3]time.Duration, err error) {
	all, err := install.Used(s.install.PID())
	if err != nil {
		return cpu, err
	}
	cpu[2] = all.CPU
	for i, role := range []string{"reports", "ingest"} {
		pid, err := s.install.InstancePID(ctx, "provider1", role)
		if err != nil {
			return cpu, err
		}
		one, err := install.Used(pid)
		if err != nil {
			return cpu, err
		}
		cpu[i], cpu[2] = one.CPU, cpu[2]-one.CPU
	}
	return cpu, nil
}
