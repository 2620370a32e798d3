// Command bench prints, in one run, the figures that README quotes: the codecs alone, then the real programs end to end
// with the sender on the same machine. Absolute times mean this machine; compare within one run.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"berth/promises/install"
)

func main() {
	benchtime := flag.Duration("benchtime", time.Second, "of each codec benchmark")
	load := flag.Duration("load", 5*time.Second, "of each measurement end to end")
	verbose := flag.Bool("verbose", false, "print what the programs log")
	flag.Parse()
	log := io.Discard
	if *verbose {
		log = os.Stderr
	}
	if err := run(context.Background(), *benchtime, *load, log); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run prints everything.
func run(ctx context.Context, benchtime, load time.Duration, log io.Writer) error {
	fmt.Println("# Codecs, one core")
	if err := codecs(ctx, benchtime); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "berth-bench")
	if err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder
	if err := install.Build(ctx, dir); err != nil {
		return err
	}
	in, err := install.New(ctx, dir, filepath.Join(dir, "var"), log)
	if err != nil {
		return err
	}
	if _, err := in.Start(ctx); err != nil {
		return err
	}
	defer in.Stop()
	s := &suite{install: in, load: load, out: os.Stdout}
	return s.all(ctx)
}

// packages are those whose benchmarks README quotes.
var packages = []string{"./schema/block", "./schema/batch", "./ingest/format"}

// codecs runs the benchmarks of the codecs and passes on what they print.
func codecs(ctx context.Context, benchtime time.Duration) error {
	args := append([]string{"test", "-run", "^$", "-bench", ".", "-benchmem", "-cpu", "1", "-benchtime", benchtime.String()}, packages...)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("run the codecs' benchmarks: %w", err)
	}
	return nil
}
