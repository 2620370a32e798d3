package gate

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"berth/ingest/commit"
	"berth/ingest/commit/committest"
	"berth/ingest/format"
	"berth/ingest/gate/intake"
	"berth/internal/api"
	"berth/internal/credentials"
	"berth/schema/batch"
	"berth/schema/record"
)

func TestMain(m *testing.M) {
	if text, ok := os.LookupEnv(crowdEnv); ok {
		if err := runCrowd(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

const enrolmentKey = "bk_enrolment"

// fixture is a gate before a log in memory.
type fixture struct {
	*Gate
	log       *committest.Log
	committer *commit.Committer
	pipeline  *record.Pipeline
	interner  *batch.Interner

	mu      sync.Mutex
	rejects []api.Reject // with all their bytes
}

// ownKeys are keys of single gateways, named after them.
func ownKeys() map[string]record.GatewayKey {
	keys := map[string]record.GatewayKey{}
	for _, k := range []record.GatewayKey{
		{Gateway: "own", Hash: credentials.Hash("gk_own")},
		{Gateway: "relay", Hash: credentials.Hash("gk_relay"), Relay: true},
		{Gateway: "psk", Hash: credentials.Hash("gk_psk"), Sealed: []byte("gk_psk")},
		{Gateway: "gone", Hash: credentials.Hash("gk_gone"), Revoked: time.Unix(1_700_000_000, 0)},
	} {
		keys["gateway."+credentials.Hash(k.Gateway)] = k
	}
	return keys
}

// start starts a gate; change may change its options first.
func start(t testing.TB, change func(f *fixture, o *Options)) *fixture {
	t.Helper()
	f := &fixture{log: committest.New(), interner: batch.NewInterner(1000)}
	settings := record.DefaultSettings()
	f.pipeline = &record.Pipeline{Name: "p1", EnrolmentHash: credentials.Hash(enrolmentKey), Settings: settings}
	quiet := slog.New(slog.DiscardHandler)
	f.committer = commit.New(commit.Options{Writer: f.log, Logger: quiet})
	o := Options{
		OpenKey: func(sealed []byte) []byte { return sealed },
		Address: "127.0.0.1:0", Committer: f.committer, Pipeline: f.pipeline, Keys: ownKeys(), Logger: quiet,
		Decoders: format.New(format.NewTable(format.TableOptions{Interner: f.interner})),
		Rejects: func(r *record.Reject, raw []byte) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.rejects = append(f.rejects, api.Reject{Reject: *r, Kept: len(raw), Raw: bytes.Clone(raw)})
			return nil
		},
	}
	if change != nil {
		change(f, &o)
	}
	g, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	f.Gate = g
	if err := g.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.stop(t) })
	return f
}

func (f *fixture) stop(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := f.Stop(ctx); err != nil {
		t.Errorf("stop: %v", err)
	}
	_ = f.committer.Close(ctx)
}

// readings returns what is in the log, one reading a line, as "gateway sensor value".
func (f *fixture) readings(t testing.TB) []string {
	t.Helper()
	var got []string
	for _, m := range f.log.Messages() {
		_, rows, err := batch.Decode(m, f.interner)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows.Rows {
			for i, sensor := range row.Shape.Sensors {
				got = append(got, fmt.Sprintf("%s %s %s", row.Shape.Gateway, sensor, rows.Value(int(row.First)+i, row.Shape.Kinds[i])))
			}
		}
	}
	return got
}

// books waits until nothing is in hand, and checks that the books balance.
func (f *fixture) books(t testing.TB) batch.Totals {
	t.Helper()
	totals, inHand := f.committer.Totals()
	if totals.FramesReceived != totals.FramesCommitted+totals.FramesRejected+totals.FramesGivenUp+inHand {
		t.Errorf("the books do not balance: %+v, %d in hand", totals, inHand)
	}
	return totals
}

// client is a connection to the gate.
type client struct {
	*net.TCPConn
	t  testing.TB
	in *bufio.Reader
}

func (f *fixture) dial(t testing.TB) *client {
	t.Helper()
	c, err := net.Dial("tcp", f.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		t.Fatalf("a %T", c)
	}
	_ = tcp.SetDeadline(time.Now().Add(time.Minute))
	t.Cleanup(func() { _ = tcp.Close() })
	return &client{TCPConn: tcp, t: t, in: bufio.NewReaderSize(tcp, 512)}
}

func (c *client) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c.TCPConn, text); err != nil {
		c.t.Fatalf("send %q: %v", text, err)
	}
}

// expect reads a line, which must begin as said.
func (c *client) expect(prefix string) string {
	c.t.Helper()
	line, err := c.in.ReadString('\n')
	if err != nil || !strings.HasPrefix(line, prefix) {
		c.t.Fatalf("got %q, %v, want %q", line, err, prefix)
	}
	return strings.TrimSuffix(line, "\n")
}

// expectEnd reads the end of the connection.
func (c *client) expectEnd() {
	c.t.Helper()
	if rest, err := io.ReadAll(c.in); err != nil || len(rest) > 0 {
		c.t.Fatalf("got %q, %v, want the end", rest, err)
	}
}

// hello opens a session.
func (f *fixture) hello(t testing.TB, gateway, key string) *client {
	t.Helper()
	c := f.dial(t)
	c.send("HELLO " + gateway + " " + key + "\n")
	c.expect("OK\n")
	return c
}

// frame returns a frame of line protocol.
func frame(seq int, payload string) string {
	return fmt.Sprintf("PUT %d line %d\n%s", seq, len(payload), payload)
}

// eventually waits until it is so.
func (f *fixture) eventually(t testing.TB, what string, so func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	limit := time.After(time.Minute)
	for !so() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("it did not come to pass that %s", what)
		}
	}
}

// expectEndSomehow reads until the connection ends, however it does.
func (c *client) expectEndSomehow() {
	c.t.Helper()
	if rest, _ := io.ReadAll(c.in); strings.Contains(string(rest), "ACK") {
		c.t.Errorf("got %q, though nothing was confirmed", rest)
	}
}

// smallQueue gives the committer a queue that a few frames fill.
func smallQueue(f *fixture, o *Options) {
	_ = f.committer.Close(context.Background())
	f.log = committest.New()
	f.committer = commit.New(commit.Options{Writer: f.log, Logger: o.Logger, Queue: 2 << 10, InFlight: 1})
	o.Committer = f.committer
}

// rejectsWhen keeps a reject when it may, or says why not.
func rejectsWhen(t testing.TB, keeping chan<- struct{}, may <-chan error) func(*record.Reject, []byte) error {
	return func(*record.Reject, []byte) error {
		select {
		case keeping <- struct{}{}:
		case <-t.Context().Done():
		}
		select {
		case err := <-may:
			return err
		case <-t.Context().Done(): // the test has failed
			return t.Context().Err()
		}
	}
}

// firstFrameIn gives connections so long to show a key.
func firstFrameIn(d time.Duration) func(*fixture, *Options) {
	return func(_ *fixture, o *Options) { o.Limits = intake.Limits{FirstFrame: d} }
}

// contextFor returns a context that ends after a while.
func contextFor(t testing.TB, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), d)
}
