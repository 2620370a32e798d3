// Package health lets what stands next to a program ask whether it runs: an engine that checks a container by the program's
// own subcommand, or an operator's supervisor of processes.
//
// Healthy means that the process answers, from its first moment to its last, whatever else is away: a program that waits
// for NATS, or reads its log anew, must not be restarted for that. Whether it can do its work is what /readyz and the
// registry say; they are for who sends, and for the provisioner. Its one invariant: who is stopped or hangs does not
// answer, and who asks knows within Limit.
package health

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"berth/schema"
)

// Limit bounds one question.
const Limit = 2 * time.Second

// maxAnswer bounds an answer, in bytes.
const maxAnswer = 1 << 10

// Usage describes the flag --health, and the command's own.
const (
	Usage    = "where the health subcommand asks whether this program runs: host:port, or @name, a socket of Linux without a file"
	AskUsage = "where the program was told to answer, by its own --health"
)

// Answerer answers who asks. Its methods may be called concurrently. A nil Answerer answers nobody.
type Answerer struct {
	listener net.Listener
	name     string
	started  time.Time
	state    atomic.Pointer[string]
	done     sync.WaitGroup
}

// Listen begins to answer for the named program at the address; an empty one is nobody's, and returns nil.
func Listen(ctx context.Context, address, name string) (*Answerer, error) {
	if address == "" {
		return nil, nil //nolint:nilnil // a nil Answerer answers nobody
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, network(address), address)
	if err != nil {
		return nil, schema.Errorf(schema.Conflict, "nobody can be answered at %s whether %s runs", address, name).
			WithNext("stop the program that has that address, or give another --health").WithCause(err)
	}
	a := &Answerer{listener: listener, name: name, started: time.Now()}
	a.Say("starts")
	a.done.Go(a.serve)
	return a, nil
}

// network returns which kind of address it is.
func network(address string) string {
	if strings.HasPrefix(address, "@") {
		return "unix"
	}
	return "tcp"
}

// Addr returns where it answers.
func (a *Answerer) Addr() string { return a.listener.Addr().String() }

// Say notes what the program does: starts, runs, stops.
func (a *Answerer) Say(state string) {
	if a != nil {
		a.state.Store(&state)
	}
}

// Close ends it.
func (a *Answerer) Close() {
	if a != nil {
		_ = a.listener.Close() // nobody asks any more
		a.done.Wait()
	}
}

// serve answers one after the other: an answer is one small write, which no buffer refuses.
func (a *Answerer) serve() {
	for {
		conn, err := a.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			<-time.After(10 * time.Millisecond) // no file descriptor is left, say
			continue
		}
		_ = conn.SetDeadline(time.Now().Add(Limit))
		_, _ = fmt.Fprintf(conn, "%s %s, since %s\n", a.name, *a.state.Load(), a.started.UTC().Format(time.RFC3339))
		_ = conn.Close()
	}
}

// Ask returns what the program at the address says, within Limit. Unavailable says why it is not healthy.
func Ask(ctx context.Context, address string) (string, error) {
	if address == "" {
		return "", schema.Errorf(schema.Unavailable, "nobody knows where to ask").
			WithNext("give --health, or BERTH_HEALTH, the address that the program was given")
	}
	ctx, cancel := context.WithTimeout(ctx, Limit)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, network(address), address)
	if err != nil {
		return "", schema.Errorf(schema.Unavailable, "nothing answers at %s: the program does not run, or was not told to answer there", address).
			WithNext("see its log").WithCause(err)
	}
	defer conn.Close() //nolint:errcheck // all was read, or nothing can be
	until, _ := ctx.Deadline()
	_ = conn.SetReadDeadline(until)
	line, err := bufio.NewReaderSize(conn, maxAnswer).ReadSlice('\n')
	if err != nil {
		return "", schema.Errorf(schema.Unavailable, "the program at %s does not answer within %s: it hangs, or is stopped", address, Limit).
			WithNext("see its log; if it stays so, end it").WithCause(err)
	}
	return strings.TrimSpace(string(line)), nil
}
