// Package testport gives tests ports to listen at later: for programs that are told their port before they are started, and
// that have it again when they were killed.
//
// The ports lie below those that the kernel gives to outgoing connections and to whoever listens at port 0, so that nothing
// takes one by chance while its program is down. Its one invariant: two tests, of one process or of several that run at the
// same time, are never given the same port.
package testport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
)

// Where the ports lie: in steps, each of which is one test's.
const (
	lowest = 18_000
	steps  = 400
	size   = 20
)

// TB is what is needed of a test.
type TB interface {
	Helper()
	Fatal(args ...any)
	Cleanup(fn func())
	Context() context.Context
}

// next is the step that is tried next: that of a process, and then others, so that ports rest before they are given again.
var next = struct {
	sync.Mutex

	step int
}{step: os.Getpid() % steps}

// Range is ports that follow each other.
type Range struct {
	Base  int // the ports are above it: the first is Base+1
	count int
	held  []net.Listener // a name for each step; whoever has it has the step's ports
}

// Take takes n ports that nobody listens at, for TCP or UDP. They are the caller's until Release, or until the Range is
// collected as garbage.
func Take(ctx context.Context, n int) (*Range, error) {
	next.Lock()
	defer next.Unlock()
	wide := n/size + 1
	for range steps {
		first := next.step
		if next.step += wide; first+wide > steps {
			next.step = 0
			continue
		}
		r := &Range{Base: lowest + first*size, count: n}
		err := r.hold(ctx, first, wide)
		if err == nil && r.free(ctx) {
			return r, nil
		}
		r.Release()
		if err != nil && !errors.Is(err, errTaken) {
			return nil, err
		}
	}
	return nil, fmt.Errorf("find ports: no %d of them follow each other from %d to %d that nobody has", n, lowest, lowest+steps*size)
}

var errTaken = errors.New("they are another's")

// hold takes the names of steps. Names without a file go with the process that has them.
func (r *Range) hold(ctx context.Context, first, wide int) error {
	var config net.ListenConfig
	for step := first; step < first+wide; step++ {
		l, err := config.Listen(ctx, "unix", "@berth-test-ports-"+strconv.Itoa(lowest+step*size))
		if err != nil {
			return errors.Join(errTaken, ctx.Err())
		}
		r.held = append(r.held, l)
	}
	return nil
}

// free reports whether nobody listens at the ports.
func (r *Range) free(ctx context.Context) bool {
	var config net.ListenConfig
	for n := range r.count {
		address := r.Address(n + 1)
		l, err := config.Listen(ctx, "tcp", address)
		if err != nil {
			return false
		}
		_ = l.Close()
		p, err := config.ListenPacket(ctx, "udp", address)
		if err != nil {
			return false
		}
		_ = p.Close()
	}
	return true
}

// Address returns host:port of the nth port, from 1, on this machine.
func (r *Range) Address(n int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(r.Base+n)) }

// Release gives the ports back. It may be called more than once.
func (r *Range) Release() {
	for _, l := range r.held {
		_ = l.Close()
	}
	r.held = nil
}

// Base returns a number above which so many ports are the test's until it ends.
func Base(t TB, n int) int {
	t.Helper()
	return take(t, n).Base
}

// Address returns host:port of a port that is the test's until it ends.
func Address(t TB) string {
	t.Helper()
	return take(t, 1).Address(1)
}

func take(t TB, n int) *Range {
	t.Helper()
	r, err := Take(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Release)
	return r
}
