package main

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"berth/promises/install"
)

// connections measures what an idle connection of Berth frames costs ingest.
func (s *scale) connections(ctx context.Context) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	fmt.Printf("\n# Idle connections, of gateways that have said hello (at most %d open files)\n", limit.Cur)
	for _, step := range s.steps {
		count := 100 * step
		if uint64(count)+1000 > limit.Cur {
			fmt.Printf("%7d connections: NOT measured, only %d files may be open; raise it by ulimit -n\n", count, limit.Cur)
			continue
		}
		if err := s.connected(ctx, count); err != nil {
			return err
		}
	}
	return nil
}

// connected measures one step.
func (s *scale) connected(ctx context.Context, count int) error {
	in, stop, err := s.installation(ctx, fmt.Sprint("connections", count), 1)
	if err != nil {
		return err
	}
	defer stop()
	p, err := in.Add(ctx, "provider1")
	if err != nil {
		return err
	}
	pid, err := in.InstancePID(ctx, p.Name, "ingest")
	if err != nil {
		return err
	}
	if err := rest(ctx, 2*time.Second); err != nil {
		return err
	}
	before, err := install.Used(pid)
	if err != nil {
		return err
	}
	begun := time.Now()
	for n := range count {
		conn, err := p.Hello(ctx, fmt.Sprintf("idle%05d", n))
		if err != nil {
			return fmt.Errorf("connect gateway %d: %w", n, err)
		}
		defer conn.Close() //nolint:errcheck // nothing was written; all stay open until the end
	}
	took := time.Since(begun)
	if err := rest(ctx, 3*time.Second); err != nil {
		return err
	}
	after, err := install.Used(pid)
	if err != nil {
		return err
	}
	fmt.Printf("%7d connections: %5.1f KB resident each; ingest %s; %.0f hellos/s one after another\n",
		count, float64(after.Resident-before.Resident)/1e3/float64(count), mega(after.Resident), float64(count)/took.Seconds())
	return nil
}
