package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"berth/internal/gateways"
	"berth/internal/gateways/crowd"
	"berth/promises/install"
)

// memory prints what connections cost ingest by protocol, in resident memory: each protocol has a provider of its own, and
// so a process that nothing was sent to before.
func (o *options) memory(ctx context.Context, conns int) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	if limit.Cur < uint64(conns*crowds()+500) {
		return fmt.Errorf("%d times %d connections want %d open files, and %d are allowed: raise it by ulimit -n, or give fewer by CONNS",
			crowds(), conns, conns*crowds()+500, limit.Cur)
	}
	dir, err := os.MkdirTemp("", "berth-bench")
	if err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder
	if err := install.Build(ctx, dir); err != nil {
		return err
	}
	in, err := install.New(ctx, dir, filepath.Join(dir, "var"), o.log)
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
	ca, err := in.CLI(ctx, "ca")
	if err != nil {
		return err
	}
	trust, err := gateways.Trust(ca)
	if err != nil {
		return err
	}
	trust.ServerName = "127.0.0.1"
	var all []*row
	for _, config := range []*tls.Config{nil, trust} {
		for _, protocol := range crowd.Protocols() {
			if config != nil && crowd.Datagrams(protocol) {
				continue
			}
			r, err := come(ctx, in, protocol, config, conns)
			if err != nil {
				return fmt.Errorf("%s: %w", protocol, err)
			}
			defer r.crowd.Leave()
			all = append(all, r)
		}
	}
	fmt.Printf("# Resident memory of ingest for each of %d connections; busy: each sends one reading after the other\n", conns)
	if err := wait(ctx, settled); err != nil {
		return err
	}
	for _, r := range all {
		idle, err := r.each(ctx)
		if err != nil {
			return err
		}
		begun := time.Now()
		working, cancel := context.WithTimeout(ctx, o.load)
		acked, err := r.crowd.Work(working)
		cancel()
		if err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		took := time.Since(begun)
		busy, err := r.each(ctx)
		if err != nil {
			return err
		}
		fmt.Printf("%-10s idle %5.1f KB   busy %5.1f KB, at %.0f messages/s\n", r.name, idle, busy, float64(acked)/took.Seconds())
	}
	return nil
}

// crowds returns how many crowds there are: one for each protocol, and by TLS where that is.
func crowds() (n int) {
	for _, name := range crowd.Protocols() {
		if n++; !crowd.Datagrams(name) {
			n++
		}
	}
	return n
}

// settled is how long the processes are left alone before their memory is read: a process of Go that does nothing collects
// its garbage every two minutes.
const settled = 135 * time.Second

// row is what is measured of a protocol.
type row struct {
	name    string // of the provider too
	install *install.Install
	crowd   *crowd.Crowd
	conns   int
	before  int
}

// come adds a provider and opens connections to it.
func come(ctx context.Context, in *install.Install, protocol string, trust *tls.Config, conns int) (*row, error) {
	r := &row{name: protocol, install: in, conns: conns}
	if trust != nil {
		r.name += "tls"
	}
	p, err := in.Add(ctx, r.name)
	if err != nil {
		return nil, err
	}
	key := p.EnrolmentKey
	if crowd.Within(protocol) {
		if key, err = in.GatewayKey(ctx, r.name, crowd.Relay, "--relay", "--psk"); err != nil {
			return nil, err
		}
	}
	warm, err := crowd.Come(ctx, protocol, p.Address(), key, trust, 8)
	if err != nil {
		return nil, err
	}
	warm.Leave()
	if err := wait(ctx, 3*time.Second); err != nil {
		return nil, err
	}
	if r.before, err = r.resident(ctx); err != nil {
		return nil, err
	}
	r.crowd, err = crowd.Come(ctx, protocol, p.Address(), key, trust, conns)
	return r, err
}

func (r *row) resident(ctx context.Context) (int, error) {
	pid, err := r.install.InstancePID(ctx, r.name, "ingest")
	if err != nil {
		return 0, err
	}
	return residentOf(pid)
}

// each returns how many kilobytes each connection adds.
func (r *row) each(ctx context.Context) (float64, error) {
	now, err := r.resident(ctx)
	return float64(now-r.before) / 1000 / float64(r.conns), err
}
