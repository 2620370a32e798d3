// Package ingest is a provider's ingest instance put together: the gate that takes frames, the committer that puts them
// into the log, the head that holds what is not yet stored, and the sealer that stores it.
//
// It gives New, Start, Stop and Addr. It leaves the parts to the packages below it, and flags and exit codes to
// cmd/ingest. Its one invariant: of a provider one instance writes. Starting, it claims the log, then waits for the
// keyspace's lock and for the port. The claim is first because it ends the instance before this one, whatever became of
// that: paused, cut off or still at work, it is refused by the log when it next writes, stops, and gives lock and port
// back. With the lock first, the new one would wait for an instance that nothing tells to stop.
package ingest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"berth/ingest/commit"
	"berth/ingest/episode"
	"berth/ingest/format"
	"berth/ingest/gate"
	"berth/ingest/head"
	"berth/ingest/seal"
	"berth/ingest/source"
	"berth/ingest/witness"
	"berth/internal/bus"
	"berth/internal/keyspace"
	"berth/internal/keyspace/late"
	"berth/internal/lifecycle"
	"berth/internal/metrics"
	"berth/internal/version"
	"berth/schema"
	"berth/schema/batch"
	"berth/schema/record"
)

// Options say which provider an Ingest serves, and where.
type Options struct {
	Provider    string
	Host        string // where the port is opened
	PortBase    int    // the port is PortBase and the provider's slot; 0: any port
	Bus         string // URL of NATS
	Credentials bus.Credentials
	Trust       bus.Trust        // of NATS by TLS
	Keyspaces   string           // URL of the keyspaces
	Secret      []byte           // that opens what is sealed for this provider's ingest: pre-shared keys, passwords of brokers; nil: nothing is
	Instance    string           // its name in the registry
	Spec        string           // hash of what it was started with
	HeadBudget  int64            // bytes that the head's readings may take; 0: head.DefaultBudget
	PartTimes   int              // timestamps of a full part of the head; 0: head.DefaultPartTimes
	Now         func() time.Time // the wall clock, which may jump; nil: time.Now
	Logger      *slog.Logger     // nil: none
}

// Validate returns an Invalid error that names what is missing.
func (o *Options) Validate() error {
	if err := schema.CheckProvider(o.Provider); err != nil {
		return err
	}
	switch {
	case o.Bus == "":
		return schema.Errorf(schema.Invalid, "there is no address of NATS").WithNext("give --nats")
	case o.Keyspaces == "":
		return schema.Errorf(schema.Invalid, "there is no address of keyspaces").WithNext("give --keyspaces, such as sqlite:var/keyspaces")
	case o.PortBase < 0 || o.PortBase > 65_000:
		return schema.Errorf(schema.Invalid, "%d is no base of ports", o.PortBase)
	}
	return nil
}

// How long a start waits for what another instance, or another program, may still hold, and how long each step of a stop
// may take.
const (
	keyspaceWait = 30 * time.Second
	portWait     = 15 * time.Second
	waitStep     = 200 * time.Millisecond

	gateStop   = 5 * time.Second
	commitStop = 3 * time.Second
	sealStop   = 10 * time.Second
	otherStop  = 2 * time.Second
)

// maxShapes is how many shapes of rows are remembered.
const maxShapes = 1 << 17

// announceEvery is how often the instance renews its place in the registry.
const announceEvery = 2 * time.Second

// Ingest is a provider's ingest instance.
type Ingest struct {
	o       Options
	log     *slog.Logger
	started time.Time
	why     func() error // why Start's context ended, nil if it did not
	stack   *lifecycle.Stack
	done    chan struct{}         // closed when the log was taken over or lost, or must not go on
	ended   chan struct{}         // closed when the instance must not go on
	reason  atomic.Pointer[error] // why

	conn      *bus.Conn
	settings  *settings
	backend   keyspace.Backend
	wrap      func(keyspace.Writer) keyspace.Writer // tests end the process within a write; nil: nothing
	keyspace  late.Writer
	journal   *bus.Log
	writer    *bus.Writer
	head      *head.Head
	sealer    *seal.Sealer
	committer *commit.Committer
	gate      *gate.Gate
	sources   atomic.Pointer[source.Sources] // nil until they are opened
	table     *format.Table
	shapes    *batch.Interner
	pressure  pressure
	episodes  episode.Keeper
	witness   *witness.Witness
	metrics   *metrics.Set
	feeding   sync.Mutex // one thing is fed at a time
	aside     asideState

	unanswered atomic.Int64 // when the keyspace last did not answer who decodes a frame in time, Unix ns; 0: never

	limits chan struct{}                        // the provider's records have changed
	full   atomic.Pointer[schema.Error]         // why the keyspace takes nothing more
	use    atomic.Pointer[func() record.Limits] // how much of the limits is used; nil until the port is open

	mu       sync.Mutex // guards logState
	logState bus.LogState
}

// New returns an instance; Start starts it.
func New(o Options) (*Ingest, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("set ingest up: %w", err)
	}
	if o.Instance == "" {
		o.Instance = strconv.Itoa(os.Getpid())
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	log := o.Logger
	return &Ingest{
		o: o, log: log, started: time.Now(), stack: lifecycle.New(log),
		done: make(chan struct{}), shapes: batch.NewInterner(maxShapes), metrics: metrics.New(version.Version),
		limits: make(chan struct{}, 1), ended: make(chan struct{}), witness: witness.New(),
	}, nil
}

// Start returns when the port is open. What the log still holds is read after that. An error leaves nothing running.
func (i *Ingest) Start(ctx context.Context) error {
	i.why = func() error { return context.Cause(ctx) }
	if err := i.start(ctx); err != nil {
		return errors.Join(fmt.Errorf("start ingest of %s: %w", i.o.Provider, err), i.Stop(context.WithoutCancel(ctx)))
	}
	return nil
}

func (i *Ingest) start(ctx context.Context) error {
	conn, err := bus.Connect(ctx, bus.Options{URL: i.o.Bus, Credentials: i.o.Credentials, Trust: i.o.Trust, Name: "ingest " + i.o.Instance, Logger: i.log})
	if err != nil {
		return err
	}
	i.conn = conn
	i.push("connection", otherStop, func(context.Context) error { conn.Close(); return nil })
	if err := i.watchSettings(ctx); err != nil {
		return err
	}
	if err := i.openBackend(); err != nil {
		return err
	}
	writer, claim, err := i.claimLog(ctx)
	if err != nil {
		return err
	}
	i.push("keyspace", otherStop, func(context.Context) error { return i.keyspace.Close() })
	if claim.checked {
		if err := i.openKeyspace(ctx); away(ctx, err) {
			i.keyspace.Fail(err)
		} else if err != nil {
			return err
		}
	}
	if err := i.look(ctx, claim); err != nil {
		return err
	}
	if err := i.readSessions(ctx, claim); err != nil {
		return err
	}
	i.follow(claim)
	i.commit(writer, claim)
	if err := i.answer(); err != nil {
		return err
	}
	i.seal(ctx)
	i.catchUp(ctx)
	i.pushCommitter()
	if err := i.openGate(ctx); err != nil {
		return err
	}
	if err := i.watched(); err != nil {
		return err
	}
	if err := i.answerFeed(); err != nil {
		return err
	}
	i.openKeyspaceLate(ctx, claim)
	if err := i.openSources(i.gate.Intake()); err != nil {
		return err
	}
	i.announce(ctx)
	i.watchPressure(ctx)
	i.watchConditions(ctx)
	i.watchSenders(ctx)
	i.watchLimits(ctx)
	i.watchOver(ctx)
	i.log.Info("accepting", "address", i.Addr(), "sequence", claim.sequence)
	return nil
}

// Addr returns where gateways send to, nil before Start.
func (i *Ingest) Addr() net.Addr {
	if i.gate == nil {
		return nil
	}
	return i.gate.Addr()
}

// Done is closed when the instance can write no more: another one has taken over, or the log is lost. Err says which.
func (i *Ingest) Done() <-chan struct{} { return i.done }

// Err returns why Done was closed; a take-over is bus.ErrTakenOver.
func (i *Ingest) Err() error {
	if why := i.reason.Load(); why != nil {
		return *why
	}
	if i.committer == nil {
		return nil
	}
	err := i.committer.Err()
	if errors.Is(err, bus.ErrTakenOver) {
		return fmt.Errorf("stop ingest of %s: another instance serves the provider now: %w", i.o.Provider, err)
	}
	return err
}

// lost reports whether the log is another instance's now, or gone, or must not go on.
func (i *Ingest) lost() bool { return i.committer.Err() != nil || i.reason.Load() != nil }

// end ends the instance for a reason that another start may mend.
func (i *Ingest) end(why error) {
	if i.reason.CompareAndSwap(nil, &why) {
		close(i.ended)
	}
}

// Stop closes the port, answers what is in hand, stores what the head holds, and gives everything back. What it does not
// manage within its limits is in the log. When the parent process is gone it stops at once: NATS may be gone with it.
// It may be called more than once.
func (i *Ingest) Stop(ctx context.Context) error {
	if i.why != nil && errors.Is(i.why(), lifecycle.ErrParentGone) {
		gone, cancel := context.WithCancel(ctx)
		cancel()
		_ = i.stack.Stop(gone) // the log has everything
		return nil
	}
	return i.stack.Stop(ctx)
}

func (i *Ingest) push(name string, limit time.Duration, stop func(ctx context.Context) error) {
	i.stack.Push(name, limit, stop)
}

// background runs fn until the instance stops, with what ctx carries.
func (i *Ingest) background(ctx context.Context, name string, limit time.Duration, fn func(ctx context.Context)) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		fn(ctx)
	}()
	i.push(name, limit, func(ctx context.Context) error {
		cancel()
		select {
		case <-ended:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
}

// claim is what a start's claim of the log says.
type claim struct {
	id       string
	sequence uint64
	first    uint64 // the log's first entry
	checked  bool   // the keyspace knows nothing beyond it
	totals   batch.Totals
	from     uint64        // from where on the log has all sessions; 0: there are none
	sessions []commit.Kept // that it knows
}

// claimLog makes this instance the log's one writer.
func (i *Ingest) claimLog(ctx context.Context) (*bus.Writer, *claim, error) {
	var err error
	if i.journal, err = i.conn.OpenLog(ctx); err != nil {
		return nil, nil, err
	}
	above, checked, err := i.floor(ctx)
	if err != nil {
		return nil, nil, err
	}
	c := &claim{id: i.o.Instance + "-" + rand.Text(), checked: checked}
	writer, sequence, err := i.journal.Claim(ctx, c.id, above, func(prev []byte) ([]byte, error) {
		var err error
		if c.totals, c.from, err = i.carryOn(prev); err != nil {
			return nil, err
		}
		h := batch.Header{Kind: batch.Claim, Claim: c.id, Created: i.o.Now().UnixNano(), Totals: c.totals, SessionsFrom: c.from}
		var e batch.Encoder
		return e.Encode(nil, &h), nil
	})
	if older, ok := errors.AsType[*bus.OlderLogError](err); ok {
		return nil, nil, i.olderLog(older)
	}
	if err != nil {
		return nil, nil, err
	}
	i.push("log", otherStop, func(context.Context) error { writer.Close(); return nil })
	i.writer, c.sequence = writer, sequence
	if !checked { // noted before anything is taken after it
		if err := i.journal.SetUnchecked(ctx, sequence); err != nil {
			return nil, nil, err
		}
	}
	return writer, c, nil
}

// look notes where the log begins, now that the instance before this one trims it no more.
func (i *Ingest) look(ctx context.Context, c *claim) error {
	state, err := i.journal.State(ctx)
	if err != nil {
		return err
	}
	i.logState = state
	c.first = state.First
	return nil
}

// carryOn returns the running totals that the log's last message carries, and from where on the log has all sessions.
// Frames that its instance had in hand when it was killed were never acknowledged: they are given up.
func (i *Ingest) carryOn(last []byte) (batch.Totals, uint64, error) {
	if last == nil {
		return batch.Totals{}, 0, nil
	}
	h, err := batch.DecodeHeader(last)
	if err != nil {
		i.log.Error("a message at the end of the log cannot be read: the running totals go on from the one before", "error", err)
		return batch.Totals{}, 0, bus.ErrUnreadable
	}
	t := h.Totals
	if h.Kind == batch.Data {
		t.Bytes += uint64(len(last))
	}
	if ended := t.FramesCommitted + t.FramesRejected + t.FramesGivenUp; t.FramesReceived > ended {
		t.FramesGivenUp += t.FramesReceived - ended
	}
	return t, h.SessionsFrom, nil
}

// follow makes the head.
func (i *Ingest) follow(c *claim) {
	i.head = head.New(head.Options{
		Budget: i.o.HeadBudget, PartTimes: i.o.PartTimes, Now: i.o.Now, Logger: i.log,
		Committed: func() uint64 { return max(c.sequence, i.committer.Sequence()) },
	}, c.first, c.sequence)
}

// commit starts the committer.
func (i *Ingest) commit(writer *bus.Writer, c *claim) {
	i.committer = commit.New(commit.Options{
		Writer: writer, Claim: c.id, Totals: c.totals, Sequence: c.sequence, SessionsFrom: c.from, Sessions: c.sessions,
		Metrics: i.metrics, Logger: i.log, Now: i.o.Now, Follow: i.head.Follow,
	})
}

func (i *Ingest) pushCommitter() { i.push("committer", commitStop, i.committer.Close) }

// seal starts the sealer; stopping, it stores what the head holds, unless another instance has taken over.
func (i *Ingest) seal(ctx context.Context) {
	i.sealer = seal.New(seal.Options{
		Head: i.head, Keyspace: &i.keyspace, Aside: i.setBlockAside, Metrics: i.metrics, Now: i.o.Now, Logger: i.log,
		Retention: func() time.Duration { return i.settings.pipeline().Settings.Retention },
		Trim: func(ctx context.Context, upTo uint64) error {
			err := i.journal.Trim(ctx, i.committer.Trimmable(upTo))
			i.committer.Room()
			return err
		},
	})
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		i.sealer.Run(ctx)
	}()
	i.push("sealer", sealStop, func(ctx context.Context) error {
		cancel()
		select {
		case <-ended:
		case <-ctx.Done():
			return ctx.Err()
		}
		if i.lost() {
			return nil
		}
		return i.sealer.Finish(ctx)
	})
}

// catchUp starts the reading of the log.
func (i *Ingest) catchUp(ctx context.Context) {
	i.background(ctx, "catching up", otherStop, func(ctx context.Context) {
		i.head.CatchUp(ctx, i.journal.Read, i.shapes, i.setMessageAside)
	})
}

// ready reports whether frames can be taken: what the head still reads does not matter to that.
func (i *Ingest) ready() bool { return i.conn.Up() && !i.lost() }

// openGate opens the port.
func (i *Ingest) openGate(ctx context.Context) error {
	stats, err := i.keyspace.Stats(ctx)
	if err != nil && i.keyspace.Why() == nil {
		return fmt.Errorf("count gateways: %w", err)
	}
	i.table = format.NewTable(format.TableOptions{Known: i.known, Gateways: stats.Gateways, Interner: i.shapes})
	pipeline, keys := i.settings.pipeline(), i.settings.keys()
	port := 0
	if i.o.PortBase > 0 {
		port = pipeline.Slot.Port(i.o.PortBase)
	}
	g, err := gate.New(gate.Options{
		Address: net.JoinHostPort(i.o.Host, strconv.Itoa(port)), Committer: i.committer, Decoders: format.New(i.table),
		Pipeline: pipeline, Keys: keys, Rejects: i.keepReject, Ready: i.ready, Logger: i.log, Now: i.o.Now,
		Witness: i.witness, Introduced: i.introduced, OpenKey: i.openKey,
	})
	if err != nil {
		return err
	}
	i.push("port", gateStop, g.Stop)
	if err := i.openPort(ctx, g, port); err != nil {
		return err
	}
	i.gate = g
	use := func() record.Limits {
		u := g.Use()
		gateways, sensors := i.table.Use()
		u.Gateways, u.SensorsPerGateway = int64(gateways), int64(sensors)
		return u
	}
	i.use.Store(&use)
	i.settings.tellCertificate(g.SetCertificate)
	i.settings.tell(func(p *record.Pipeline, keys map[string]record.GatewayKey) {
		g.Set(p, keys)
		i.limitsChanged()
	})
	return nil
}

// watchOver closes done when the committer can write no more.
func (i *Ingest) watchOver(ctx context.Context) {
	i.background(ctx, "watch", otherStop, func(ctx context.Context) {
		select {
		case <-i.committer.Done():
			close(i.done)
		case <-i.ended:
			close(i.done)
		case <-ctx.Done():
		}
	})
}
