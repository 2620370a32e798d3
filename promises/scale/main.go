// Command scale measures what grows with what: idle connections, gateways in the catalogue, providers on one machine, and
// the log that a start has to read; each at some steps, a line for each. Times mean this machine, with the sender on it.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"berth/promises/install"
)

// scale is what a run has.
type scale struct {
	bin   string // folder of the programs
	dir   string // of everything
	steps []int
	log   io.Writer

	logBytes string // of the log that is filled
}

// measures are what can be measured, by name: at step 1, 10 and 100.
var measures = []struct {
	name  string
	run   func(s *scale, ctx context.Context) error
	named bool // it is measured only when it is named
}{
	{"connections", (*scale).connections, false}, // 100 idle, 1,000, 10,000
	{"gateways", (*scale).gateways, false},       // 1,000 of 20 sensors, 10,000, 100,000
	{"month", (*scale).month, false},             // 100 gateways of 4 sensors, at every step the same
	{"start", (*scale).start, false},             // a log of 0.1 M readings, 1 M, 10 M
	{"providers", (*scale).providers, false},     // 2, 20, 200
	{"full", (*scale).full, true},                // a full log
}

func main() {
	steps := flag.String("steps", "1,10,100", "how many times the smallest, with commas between")
	only := flag.String("only", "", "measure only these, with commas between: connections, gateways, month, start, providers; or full, a start with a full log, which is measured only when it is named")
	logBytes := flag.String("log", "1GiB", "how large the log is that is filled")
	verbose := flag.Bool("verbose", false, "print what the programs log")
	flag.Parse()
	s := &scale{log: io.Discard, logBytes: *logBytes}
	if *verbose {
		s.log = os.Stderr
	}
	for text := range strings.SplitSeq(*steps, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			fmt.Fprintf(os.Stderr, "scale: -steps: %q is no number from 1\n", text)
			os.Exit(2)
		}
		s.steps = append(s.steps, n)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := s.run(ctx, *only)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
}

// run measures everything, or only what is named.
func (s *scale) run(ctx context.Context, only string) (err error) {
	if s.dir, err = os.MkdirTemp("", "berth-scale"); err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	defer os.RemoveAll(s.dir) //nolint:errcheck // a temporary folder
	s.bin = filepath.Join(s.dir, "bin")
	if err := os.Mkdir(s.bin, 0o700); err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	if err := install.Build(ctx, s.bin); err != nil {
		return err
	}
	for _, m := range measures {
		if only == "" && m.named || only != "" && !strings.Contains(","+only+",", ","+m.name+",") {
			continue
		}
		if err := m.run(s, ctx); err != nil {
			return fmt.Errorf("measure %s: %w", m.name, err)
		}
	}
	return nil
}

// installation starts an installation of its own, in a folder of that name, with room for so many providers; stop ends it
// and removes its data.
func (s *scale) installation(ctx context.Context, name string, providers int) (in *install.Install, stop func(), err error) {
	dir := filepath.Join(s.dir, name)
	if in, err = install.NewFor(ctx, s.bin, dir, s.log, providers+5); err != nil {
		return nil, nil, err
	}
	if _, err = in.Start(ctx); err != nil {
		return nil, nil, err
	}
	stop = func() {
		in.Stop()
		_ = os.RemoveAll(dir) // a temporary folder
	}
	if err := in.AwaitWeb(ctx); err != nil {
		stop()
		return nil, nil, err
	}
	return in, stop, nil
}

// mega is bytes as people read them.
func mega(bytes int64) string { return fmt.Sprintf("%.1f MB", float64(bytes)/1e6) }

// rest lets time pass.
func rest(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// until asks again and again until it is so, for at most a time.
func until(ctx context.Context, limit time.Duration, what string, so func() (bool, error)) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for begun := time.Now(); ; {
		ok, err := so()
		if ok {
			return nil
		}
		if time.Since(begun) > limit {
			return fmt.Errorf("%s did not come to pass within %v: %w", what, limit, err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
