package ingest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/ingest"
	"berth/internal/bus"
	"berth/internal/keyspace"
)

// crashes is the table of crash points on the way of a reading: what a crash there leaves, and what the next start makes
// of it. In each row a process that is this package's real instance is killed by SIGKILL at that very point, over a real
// JetStream and real SQLite files, and started again: whatever was acknowledged is there once, by queries, by latest
// values and by rollups, the books balance, and the log is trimmed in the end.
//
// The points lie on the wire between ingest and NATS (at), or within a write to the keyspace (write). What SQLite's own
// files can be left in is a table of its own, in internal/keyspace/sqlite; so is what a Writer makes of every answer of
// the log, in internal/bus (chain.go).
var crashes = []crash{
	// Before the log.
	{left: "a claim that was not published", start: "claims", at: "claim"},
	{left: "a claim without a batch", start: "claims behind it; the claim holds nothing", at: "claimed"},
	{left: "a frame that was not published", start: "nothing to find: it was not acknowledged, and is sent again", at: "publish"},
	// In the log.
	{left: "a batch that was not answered", start: "reads it from the log; sent again it changes nothing", at: "answer"},
	{left: "a frame answered, perhaps not in the head", start: "reads it from the log", at: "acknowledged"},
	{left: "parts in the head alone", start: "reads them from the log", at: "asked"},
	// In the keyspace in part.
	{left: "nothing of closed parts", start: "reads them from the log, and closes them again", write: "blocks", keep: 0},
	{left: "marks without their blocks", start: "the same; rollups count again when computed past the marks", write: "blocks", keep: 1},
	{left: "blocks of one month of two", start: "reads all from the log; blocks overlap, readers merge", write: "blocks", keep: 2, half: true},
	{left: "blocks, their gateway's row behind", start: "reads the same readings again; blocks overlap, readers merge", write: "blocks", keep: 2},
	{left: "blocks that nobody confirmed", start: "the same", write: "blocks", keep: 4},
	{left: "nothing of tails", start: "reads their readings from the log", write: "rows", keep: 1},
	{left: "a tail and a block with the same readings", start: "reads the tail back; readers merge", write: "base", keep: 2},
	{left: "rows of some gateways", start: "drops what their positions cover, and reads the rest", write: "rows", keep: 3, half: true},
	// In the keyspace, and in the log too.
	{left: "blocks and tails, the log not trimmed", start: "drops the readings that the rows' positions cover", at: "trim"},
	{left: "a log trimmed in part", start: "the same, from where the log begins", at: "trim in part"},
	{left: "a log trimmed, and nobody knows", start: "reads from where the log begins", at: "trimmed"},
	// Rollups.
	{left: "a rollup marked stale, its block missing", start: "readers compute it; it is computed when the block is there", write: "late", keep: 1},
	{left: "rollups behind their blocks", start: "finds them by their marks", write: "rollups", keep: 3, rolls: true},
	{left: "rollups that nobody confirmed", start: "computes no more than what does not count", write: "rollups", keep: 4, rolls: true},
	// The log is another.
	{left: "an empty log, made anew, below the keyspace", start: "begins above the highest position that the keyspace knows", at: "stopped", renew: true},
}

type crash struct {
	left, start string
	at          string // a point on the wire, or of the gateway's sight
	write       string // a write of the keyspace
	keep        int    // kinds of change that it still makes: marks, blocks, gateways, rollups
	half        bool   // of the last kind it makes only the first half
	rolls       bool   // it comes with a start, when nothing is left but rollups
	renew       bool   // the log is made anew after it
}

func TestEveryCrashOnTheWayOfAReading(t *testing.T) {
	for n, c := range crashes {
		t.Run(c.left, func(t *testing.T) {
			if testing.Short() && n%5 != 4 {
				t.Skip("every fifth row is the short form")
			}
			t.Parallel()
			w := newCrashWorld(t)
			w.run(nil, func() { // what the crash meets: tails, blocks, and rollups of days that have ended
				w.send(0)
			})
			w.run(&c, func() {
				if c.write == "late" {
					w.awaitRollups()
				}
				if !c.rolls {
					w.send(1)
				}
			})
			if c.renew {
				h := w.house
				h.check(h.provisioner.Remove(t.Context()))
				h.check(h.provisioner.Prepare(t.Context(), bus.LogOptions{}))
				h.put()
				w.renewed = true
			}
			w.run(nil, func() {
				w.sendAgain()
				w.compare(true)
				w.send(2)
				w.compare(true)
				w.balance()
			})
			w.compare(false)
			w.run(nil, w.compareRollups)
			w.logEnds()
		})
	}
}

// childEnv names the environment's variable that makes this test's program an instance of ingest.
const childEnv = "BERTH_TEST_INSTANCE"

// child says what an instance in a process of its own works with, and where it is killed.
type child struct {
	Provider, Bus, Keyspaces string
	Credentials              bus.Credentials
	Write                    string
	Keep                     int
	Half                     bool
}

func TestMain(m *testing.M) {
	if text, ok := os.LookupEnv(childEnv); ok {
		if err := runChild(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	verify(m)
}

// runChild runs an instance until it is asked to stop, or kills itself.
func runChild(text string) error {
	var c child
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	i, err := ingest.New(ingest.Options{
		Provider: c.Provider, PartTimes: 120, Host: "127.0.0.1", Bus: c.Bus, Credentials: c.Credentials, Keyspaces: c.Keyspaces,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		return err
	}
	if c.Write != "" {
		i.Wrap(func(w keyspace.Writer) keyspace.Writer { return &dying{Writer: w, child: c} })
	}
	if err := i.Start(ctx); err != nil {
		return err
	}
	fmt.Fprintln(os.Stdout, i.Addr())
	<-ctx.Done()
	return i.Stop(context.Background())
}

// dying is a keyspace's writer whose process is killed within one write.
type dying struct {
	keyspace.Writer
	child child
}

func (d *dying) Write(ctx context.Context, c *keyspace.Changes) (keyspace.Receipt, error) {
	late := func(m keyspace.Mark) bool { return m.Gateway == "late" }
	due := map[string]bool{
		"blocks":  len(c.Blocks) > 1,
		"rows":    len(c.Gateways) > 1,
		"base":    slices.ContainsFunc(c.Blocks, func(b keyspace.Block) bool { return b.Gateway == "small" }),
		"late":    slices.ContainsFunc(c.Marks, late),
		"rollups": len(c.Rollups) > 0,
	}
	if !due[d.child.Write] {
		return d.Writer.Write(ctx, c)
	}
	part, keep := keyspace.Changes{}, d.child.Keep
	if keep >= 1 {
		part.Marks = c.Marks
	}
	if keep >= 2 {
		part.Blocks = c.Blocks
	}
	if keep >= 3 {
		part.Gateways = c.Gateways
	}
	if keep >= 4 {
		part.Rollups = c.Rollups
	}
	switch {
	case d.child.Half && keep == 2:
		part.Blocks = part.Blocks[:len(part.Blocks)/2]
	case d.child.Half:
		part.Gateways = part.Gateways[:len(part.Gateways)/2]
	}
	_, err := d.Writer.Write(ctx, &part)
	if err == nil {
		die(os.Getpid())
	}
	return 0, err
}

func die(pid int) {
	_ = syscall.Kill(pid, syscall.SIGKILL)
	if pid == os.Getpid() {
		select {}
	}
}

// process is an instance in a process of its own.
type process struct {
	cmd     *exec.Cmd
	address string
	errs    strings.Builder
}

// begin starts an instance, which reaches NATS by the wire. The crash may come before it listens: then the address is
// empty.
func (w *crashWorld) begin(c *crash) *process {
	w.house.t.Helper()
	o := w.house.options
	text := child{Provider: o.Provider, Bus: w.wire.url(), Keyspaces: o.Keyspaces, Credentials: o.Credentials}
	if c != nil {
		text.Write, text.Keep, text.Half = c.write, c.keep, c.half
	}
	data, err := json.Marshal(text)
	w.house.check(err)
	p := &process{cmd: exec.CommandContext(w.house.t.Context(), os.Args[0])}
	p.cmd.Env = append(os.Environ(), childEnv+"="+string(data))
	p.cmd.Stderr = &p.errs
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := p.cmd.StdoutPipe()
	w.house.check(err)
	started := make(chan struct{}) // the wire must know whom to kill
	w.wire.set(w.watch(c, func() { <-started; die(p.cmd.Process.Pid) }))
	w.house.check(p.cmd.Start())
	close(started)
	_, _ = fmt.Fscanln(out, &p.address)
	return p
}

// watch returns what kills the process at the crash's point on the wire.
func (w *crashWorld) watch(c *crash, kill func()) func(toServer bool, subject, reply string, payload []byte) bool {
	if c == nil || c.at == "" {
		return nil
	}
	answers := map[string]string{} // the points of awaited answers, by their subject
	return func(toServer bool, subject, reply string, payload []byte) (on bool) {
		point := ""
		switch {
		case toServer && subject == "log" && len(answers) == 0:
			point, answers[reply] = "claim", "claimed"
		case toServer && subject == "log":
			point, answers[reply] = "publish", "answer"
		case toServer && subject == "$JS.API.STREAM.PURGE.LOG":
			point, answers[reply] = "trim", "trimmed"
			if c.at == "trim in part" {
				w.trimHalf(payload)
				point = c.at
			}
		case !toServer:
			point = answers[subject]
		}
		if point != c.at {
			return true
		}
		kill()
		return false
	}
}

// trimHalf trims half of what a request to trim wants trimmed.
func (w *crashWorld) trimHalf(payload []byte) {
	h := w.house
	var request struct {
		Sequence uint64 `json:"seq"`
	}
	h.check(json.Unmarshal(payload, &request))
	journal, err := h.provisioner.OpenLog(h.t.Context())
	h.check(err)
	state, err := journal.State(h.t.Context())
	h.check(err)
	if request.Sequence < state.First+4 {
		h.t.Errorf("a log from %d is trimmed to %d: there is no half of it", state.First, request.Sequence)
	}
	h.check(journal.Trim(h.t.Context(), (state.First+request.Sequence)/2))
}

// run runs an instance: fn does what is done while it is there. Without a crash it is then stopped as always; with one it
// must be killed at its point, at the latest while it stops.
func (w *crashWorld) run(c *crash, fn func()) {
	h := w.house
	h.t.Helper()
	p := w.begin(c)
	if p.address == "" && c == nil {
		_ = p.cmd.Wait()
		h.t.Fatalf("an instance does not start:\n%s", p.errs.String())
	}
	w.address = p.address
	fn()
	w.hangUp()
	if c != nil && (c.at == "acknowledged" || c.at == "asked") {
		if c.at == "asked" {
			w.found("full", true)
		}
		die(p.cmd.Process.Pid)
	}
	if c == nil || !c.rolls {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
	}
	limit := time.AfterFunc(30*time.Second, func() {
		h.t.Error("an instance does not end in 30 s")
		die(p.cmd.Process.Pid)
	})
	_ = p.cmd.Wait()
	limit.Stop()
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	killed := ok && status.Signaled() && status.Signal() == syscall.SIGKILL
	if want := c != nil && c.at != "stopped"; killed != want {
		h.t.Fatalf("killed: %v, want %v: %v\n%s", killed, want, p.cmd.ProcessState, p.errs.String())
	}
}
