// Package intake is what every listener of the gate leans on: who may send, how a payload becomes readings on their way
// into the log, how much memory all payloads together may take, and where refused ones go.
//
// What bytes mean on the wire is left to the listeners, a package each beside this one. Its one invariant: nothing
// that a stranger sends is decoded, kept or written anywhere but in a counter.
package intake

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"berth/ingest/budget"
	"berth/ingest/commit"
	"berth/ingest/format"
	"berth/ingest/limit"
	"berth/schema"
	"berth/schema/batch"
	"berth/schema/record"
)

// Listener speaks one protocol on the provider's port. Adding one is a package with a Listener and a line in the gate's
// table.
type Listener interface {
	// Name is the protocol's, as rejects show it.
	Name() string
	// Recognise reports whether a connection that begins with these bytes (at least one) speaks the protocol; Unsure asks
	// for more of them. A connection that no listener is sure of within FirstBytes bytes is closed.
	Recognise(first []byte) Match
	// Serve serves the connection, whose bytes begin with those recognised, and closes it in the end. It may return before.
	Serve(c *Conn)
	// Refuse says in the protocol why the connection is not served. Closing it is left to the caller.
	Refuse(c *Conn, why error)
	// Stop answers what is in hand and closes its connections, within ctx.
	Stop(ctx context.Context)
}

// Match is what a listener makes of a connection's first bytes.
type Match int

// What a listener makes of a connection's first bytes.
const (
	No Match = iota
	Unsure
	Yes
)

// FirstBytes is how many bytes at most are looked at to recognise a protocol.
const FirstBytes = 16

// MatchPrefix returns what first makes of a protocol that begins with one of the prefixes.
func MatchPrefix(first []byte, prefixes ...string) Match {
	match := No
	for _, p := range prefixes {
		n := min(len(p), len(first))
		if string(first[:n]) != p[:n] {
			continue
		}
		if n == len(p) {
			return Yes
		}
		match = Unsure
	}
	return match
}

// Limits bound what a connection may cost. The zero value is filled with defaults.
type Limits struct {
	FirstFrame time.Duration // from accepting to a valid key; 10 s
	Frame      time.Duration // for the rest of a frame or header that has begun, and a second more for each SlowestRate bytes; 30 s
	Idle       time.Duration // without any frame; 2 h: TCP keep-alive finds dead peers in minutes
	Write      time.Duration // for an answer to be taken; 30 s
	Commit     time.Duration // for the log to have what a request brought, before its sender is told to come back; 30 s
	Slow       time.Duration // for a sender to be slowed by a limit of its rate, before it is told why and to come back; 30 s
	Drain      time.Duration // for what is in hand to be answered before a connection is closed; 30 s
	Linger     time.Duration // for the last answer to be read by who still sends; 1 s
}

// SlowestRate is the bytes a second that a sender must manage within a frame.
const SlowestRate = 1 << 10

func (l Limits) withDefaults() Limits {
	set := func(d *time.Duration, value time.Duration) {
		if *d == 0 {
			*d = value
		}
	}
	set(&l.FirstFrame, 10*time.Second)
	set(&l.Frame, 30*time.Second)
	set(&l.Idle, 2*time.Hour)
	set(&l.Write, 30*time.Second)
	set(&l.Commit, 30*time.Second)
	set(&l.Slow, 30*time.Second)
	set(&l.Drain, 30*time.Second)
	set(&l.Linger, time.Second)
	return l
}

// FrameTime returns how long the rest of a frame of which n bytes are missing may take.
func (l Limits) FrameTime(n int) time.Duration {
	return l.Frame + time.Duration(n/SlowestRate)*time.Second
}

// Options are what an Intake is made with. All but Rejects, Ready, Limits and Memory are needed.
type Options struct {
	Committer *commit.Committer
	Decoders  *format.Decoders
	Rejects   func(r *record.Reject, raw []byte) error // keeps a reject; called by one goroutine, and may take its time
	Ready     func() bool                              // whether frames can be taken now; nil: while the log takes them
	Logger    *slog.Logger
	Keys      *Keys
	Limits    Limits
	Memory    int64            // bytes that payloads in the making may take together; 64 MB if 0
	Now       func() time.Time // the wall clock, for readings without a time and for the window of times; time.Now if nil
}

// Intake takes payloads in. It is safe for concurrent use.
type Intake struct {
	Limits    Limits
	Log       *slog.Logger
	Committer *commit.Committer
	Limiter   *limit.Limiter

	ctx      context.Context
	cancel   context.CancelFunc
	now      func() time.Time
	keys     atomic.Pointer[Keys]
	ready    func() bool
	full     atomic.Pointer[schema.Error] // why the keyspace takes nothing
	decoders *format.Decoders
	memory   *budget.Budget
	rejects  rejects
}

// DefaultMemory is how much memory payloads in the making may take together unless set otherwise.
const DefaultMemory = 64 << 20

// New returns an Intake; Stop ends it.
func New(o Options) *Intake {
	if o.Memory == 0 {
		o.Memory = DefaultMemory
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	ctx, cancel := context.WithCancel(context.Background())
	in := &Intake{
		Limits: o.Limits.withDefaults(), Log: o.Logger, Committer: o.Committer,
		Limiter: limit.New(&o.Keys.Settings.Limits),
		ctx:     ctx, cancel: cancel, now: o.Now, ready: o.Ready, decoders: o.Decoders, memory: budget.New(o.Memory),
	}
	in.keys.Store(o.Keys)
	in.rejects.start(&o)
	return in
}

// Stop lets everybody go who waits for memory or room in the queue, and hands on the rejects that are left.
func (in *Intake) Stop() {
	in.cancel()
	in.memory.Close()
	in.rejects.stop()
}

// Ready reports whether frames can be taken now.
func (in *Intake) Ready() bool { return !in.Committer.Slow() && (in.ready == nil || in.ready()) }

// Context ends when the intake is stopped.
func (in *Intake) Context() context.Context { return in.ctx }

// Outlive returns a context that carries what ctx does, but ends only when the intake is stopped, or by cancel, which must
// be called.
func (in *Intake) Outlive(ctx context.Context) (outliving context.Context, cancel context.CancelFunc) {
	outliving, end := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(in.ctx, end)
	return outliving, func() {
		stop()
		end()
	}
}

// Keys returns who may send now.
func (in *Intake) Keys() *Keys { return in.keys.Load() }

// SetKeys replaces who may send, and the limits.
func (in *Intake) SetKeys(k *Keys) {
	in.keys.Store(k)
	in.Limiter.Set(&k.Settings.Limits)
}

// Payload is what a sender wants to have taken.
type Payload struct {
	Format    string
	Sensor    string        // that the value is of, in the value format
	Precision time.Duration // of times in the line format; 0: nanoseconds
	Data      []byte
}

// Decode appends the readings of a payload to rows. The error is that the payload as a whole is refused: nothing was
// taken of it.
func (in *Intake) Decode(k *Keys, id Identity, p *Payload, rows *batch.Rows) (format.Report, error) {
	return in.decode(k, id, p, 0, rows)
}

// decode is Decode of a payload that arrived before; 0 is now.
func (in *Intake) decode(k *Keys, id Identity, p *Payload, arrived int64, rows *batch.Rows) (format.Report, error) {
	request := format.Request{
		Sender: k.Sender(id), Sensor: p.Sensor, Precision: p.Precision, Now: in.now().UnixNano(), Arrival: arrived, Settings: &k.Settings,
	}
	report, err := in.decoders.Decode(p.Format, p.Data, &request, rows)
	if err != nil {
		reason := format.ReasonSyntax
		if !format.Known(p.Format) {
			reason = ReasonFormat
		}
		report = format.Report{Code: schema.CodeOf(err), Reason: schema.Show(err), Reasons: map[string]int{reason: 1}}
	}
	return report, err
}

// Partly says what became of a payload of which some readings were refused, on one line.
func Partly(r *format.Report) string {
	return fmt.Sprintf("%d of %d readings were stored; %s", r.Accepted, r.Accepted+r.Rejected, r.Reason)
}

// Reasons under which the gate itself refuses frames. Like those of package format they never change their meaning.
const (
	ReasonFormat    = "format_unknown"
	ReasonSequence  = "sequence"     // a frame whose number does not follow
	ReasonFrame     = "frame_syntax" // what is no frame
	ReasonFrameSize = "frame_size"
	ReasonTopic     = "topic"    // of MQTT, that takes no readings
	ReasonRetained  = "retained" // a broker had kept it, and its readings have no time

	ReasonEnds = "ends" // what connections left at their ends, of MQTT: more of it waited for the log than may

	ReasonPlain              = "plain"               // connections that are no TLS, refused
	ReasonConnections        = "connections"         // of the provider, refused
	ReasonAddressConnections = "address_connections" // of one address, refused
	ReasonKeyspace           = "keyspace_bytes"      // the keyspace is full
)
