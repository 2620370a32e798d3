package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"syscall"
	"time"

	"berth/internal/gateways"
	"berth/promises/install"
)

// What frames of one reading are measured with: many connections, each with so many frames on their way that none waits
// for the way there and back.
const (
	smallConnections = 500
	smallWindow      = 256
)

// small prints how many frames of one reading each are acknowledged from disk by protocol, and what they take of processors,
// which depends less on what else the machine does than their number in a second.
func (o *options) small(ctx context.Context, dir string, out io.Writer) error {
	in, err := install.New(ctx, dir, filepath.Join(dir, "var-small"), o.log)
	if err != nil {
		return err
	}
	if _, err := in.Start(ctx); err != nil {
		return err
	}
	defer in.Stop()
	if err := in.AwaitWeb(ctx); err != nil {
		return err
	}
	fmt.Fprintf(out, "\n# Frames of one reading, each acknowledged from disk: %d connections, %d in flight on each\n", smallConnections, smallWindow)
	for n, protocol := range []string{"berth", "mqtt", "mqtt5", "http"} {
		p, err := in.Add(ctx, fmt.Sprintf("provider%d", n+1))
		if err != nil {
			return err
		}
		if err := o.smallOf(ctx, in, p, protocol, out); err != nil {
			return fmt.Errorf("%s: %w", protocol, err)
		}
	}
	return nil
}

// smallOf measures one protocol, with a provider of its own, whose idle pipelines' rest is nothing beside the load.
func (o *options) smallOf(ctx context.Context, in *install.Install, p install.Provider, protocol string, out io.Writer) error {
	fleet, err := gateways.New(gateways.Options{
		Address: p.Address(), Key: p.EnrolmentKey, Prefix: protocol, Gateways: smallConnections, Sensors: 1, PerFrame: 1,
		Window: smallWindow, Protocol: protocol, Step: time.Millisecond,
	})
	if err != nil {
		return err
	}
	before, err := install.Used(in.PID())
	if err != nil {
		return err
	}
	own, begun := ownCPU(), time.Now()
	sending, cancel := context.WithTimeout(ctx, o.load)
	fleet.Run(sending)
	cancel()
	took, sender, stats := time.Since(begun), ownCPU()-own, fleet.Stats()
	after, err := install.Used(in.PID())
	if err != nil {
		return err
	}
	if stats.Reconnects > 0 {
		fmt.Fprintf(out, "%-5s %d connections were lost\n", protocol, stats.Reconnects)
	}
	acked, server := float64(stats.Acked), after.CPU-before.CPU
	fmt.Fprintf(out, "%-5s %9.0f frames/s   %7.0f for each second of a processor that the servers used, %7.0f with the sender's   p50 %-8v p99 %v\n",
		protocol, acked/took.Seconds(), acked/server.Seconds(), acked/(server+sender).Seconds(),
		stats.P50.Round(100*time.Microsecond), stats.P99.Round(100*time.Microsecond))
	return nil
}

// ownCPU returns what this process has used.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
