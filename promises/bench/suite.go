package main

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"berth/internal/api"
	"berth/internal/gateways"
	"berth/promises/install"
)

// suite measures one installation.
type suite struct {
	install     *install.Install
	load        time.Duration
	onlyQueries bool                                     // a month of one gateway, and questions about it
	size        func(ctx context.Context) (int64, error) // of the provider's keyspace
	out         io.Writer
	token       string // of provider1's API
}

// all measures everything, the quiet figures first.
func (s *suite) all(ctx context.Context) error {
	begun := time.Now()
	p, err := s.install.Add(ctx, "provider1")
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "provisioner add                %v\n", time.Since(begun).Round(time.Millisecond))
	if s.token, err = s.install.Token(ctx, p.Name); err != nil {
		return err
	}
	if s.onlyQueries {
		if err := s.month(ctx, p); err != nil {
			return err
		}
		if err := wait(ctx, rolledWithin); err != nil {
			return err
		}
		return s.queries(ctx)
	}
	if err := s.idle(ctx, p); err != nil {
		return err
	}
	if err := s.month(ctx, p); err != nil {
		return err
	}
	loaded := time.Now()
	for _, c := range []struct {
		protocol          string
		gateways          int
		sensors, perFrame int
		window            int
	}{
		{"berth", 50, 1, 1, 1},
		{"berth", 50, 1, 1, 512},
		{"berth", 50, 10, 100, 1},
		{"berth", 50, 10, 100, 8},
		{"http", 50, 1, 1, 1},
		{"http", 50, 10, 100, 1},
	} {
		o := gateways.Options{
			Address: p.Address(), Key: p.EnrolmentKey, Prefix: fmt.Sprintf("%s%d.%d.", c.protocol, c.sensors*c.perFrame, c.window),
			Gateways: c.gateways, Sensors: c.sensors, PerFrame: c.perFrame, Window: c.window, Protocol: c.protocol, Step: time.Millisecond,
		}
		if err := s.throughput(ctx, o); err != nil {
			return err
		}
	}
	if err := wait(ctx, rolledWithin-time.Since(loaded)); err != nil {
		return err
	}
	if err := s.queries(ctx); err != nil {
		return err
	}
	return s.disk(ctx)
}

// rolledWithin is when rollups of closed hours, and tails, are there: they are due within a minute.
const rolledWithin = 90 * time.Second

// wait lets time pass.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(max(d, 0))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// throughput sends at full speed and prints what was acknowledged from disk.
func (s *suite) throughput(ctx context.Context, o gateways.Options) error {
	fleet, err := gateways.New(o)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.load)
	defer cancel()
	begun := time.Now()
	fleet.Run(ctx)
	took, stats := time.Since(begun).Seconds(), fleet.Stats()
	fmt.Fprintf(s.out, "%-5s %4d readings a frame, %3d in flight   %10.0f readings/s %9.0f frames/s   p50 %-8v p99 %v\n", o.Protocol, o.Sensors*o.PerFrame, o.Window,
		float64(stats.Readings)/took, float64(stats.Acked)/took, stats.P50.Round(10*time.Microsecond), stats.P99.Round(10*time.Microsecond))
	return nil
}

// Idle connections are counted in thousands: what one costs is the difference divided.
const idleConnections = 2000

// idle prints the resident memory of a pipeline that has nothing to do, and what an idle connection adds.
func (s *suite) idle(ctx context.Context, p install.Provider) error {
	if err := wait(ctx, 3*time.Second); err != nil {
		return err
	}
	ingest, err := s.resident(ctx, "ingest")
	if err != nil {
		return err
	}
	reports, err := s.resident(ctx, "reports")
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "idle pipeline                  %.1f MB resident: ingest %.1f, reports %.1f\n", mega(ingest+reports), mega(ingest), mega(reports))
	for n := range idleConnections {
		conn, err := p.Hello(ctx, fmt.Sprintf("idle%04d", n))
		if err != nil {
			return err
		}
		defer conn.Close() //nolint:errcheck // nothing was written
	}
	if err := wait(ctx, 3*time.Second); err != nil {
		return err
	}
	after, err := s.resident(ctx, "ingest")
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "idle connection                %.1f KB resident each, of %d\n", float64(after-ingest)/idleConnections/1000, idleConnections)
	return nil
}

func mega(n int) float64 { return float64(n) / 1e6 }

// resident returns the resident memory of an instance, in bytes.
func (s *suite) resident(ctx context.Context, role string) (int, error) {
	pid, err := s.install.InstancePID(ctx, "provider1", role)
	if err != nil {
		return 0, err
	}
	return residentOf(pid)
}

// residentOf returns the resident memory of a process, in bytes.
func residentOf(pid int) (int, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kilo, err := strconv.Atoi(strings.Fields(rest)[0])
			return kilo * 1024, err
		}
	}
	return 0, fmt.Errorf("process %d says nothing of its memory", pid)
}

// monthStep is the usual interval of a room sensor.
const monthStep = 10 * time.Second

// month loads a month of one sensor.
func (s *suite) month(ctx context.Context, p install.Provider) error {
	const perFrame = 1000
	fleet, err := gateways.New(gateways.Options{
		Address: p.Address(), Key: p.EnrolmentKey, Prefix: "month", Sensors: 1, PerFrame: perFrame, Step: monthStep,
		Start: time.Now().AddDate(0, 0, -30).Truncate(time.Second), Frames: int(30*24*time.Hour/monthStep) / perFrame,
	})
	if err != nil {
		return err
	}
	fleet.Run(ctx)
	return nil
}

// disk prints what the keyspace occupies for each reading, once it holds all of them.
func (s *suite) disk(ctx context.Context) error {
	books, err := s.stored(ctx)
	if err != nil {
		return err
	}
	size, err := s.size(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "keyspace on disk               %.2f bytes a reading, %d readings\n", float64(size)/float64(books.Readings.Accepted), books.Readings.Accepted)
	return nil
}

// storedWithin bounds the wait for the keyspace: tails are written each minute, and a Cassandra node on two cores takes
// minutes for what a gate takes in seconds.
const storedWithin = 15 * time.Minute

// stored waits until the log holds its last message alone, which means that the keyspace has all before it, and returns the
// books of then.
func (s *suite) stored(ctx context.Context) (books api.Books, err error) {
	ctx, cancel := context.WithTimeout(ctx, storedWithin)
	defer cancel()
	source := gateways.API{Base: "http://" + s.install.Web, Provider: "provider1", Token: s.token}
	for {
		if err := source.Books(ctx, &books); err != nil {
			return books, err
		}
		if books.Log.Messages <= 1 {
			return books, nil
		}
		if err := wait(ctx, time.Second); err != nil {
			return books, fmt.Errorf("%d messages of the log are not in the keyspace after %v: %w", books.Log.Messages, storedWithin, err)
		}
	}
}

// sizeOf returns the bytes of all files below a folder.
func sizeOf(dir string) (size int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		size += info.Size()
		return err
	})
	return size, err
}

// get reads an answer to its end.
func (s *suite) get(ctx context.Context, path string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.install.Web+path, nil)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+s.token)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close() //nolint:errcheck // read to its end
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s was answered %s: %s", path, answer.Status, text)
	}
	return err
}
