// Package head holds the readings of the log that are not yet surely in the keyspace, in memory, and answers for them.
//
// It follows batches in the order of the log: live, as the committer hands them over, or, when it is behind, by reading
// the log until it has caught up. It keeps rows in parts, says which parts should become blocks or tails, and releases
// them when ingest/seal says that the keyspace has them. It leaves all writing to ingest/seal, and acknowledging to
// ingest/commit.
//
// Its one invariant: every reading up to the sequence followed is in the head, or the keyspace has confirmed it.
package head

import (
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"berth/internal/headapi"
	"berth/schema"
	"berth/schema/batch"
	"berth/schema/catalog"
)

// DefaultBudget is how much memory the head's readings may take.
const DefaultBudget = 64 << 20

// Options say how a Head works.
type Options struct {
	Budget int64 // bytes; 0: DefaultBudget
	// PartTimes is the timestamps of a full part; 0: DefaultPartTimes.
	PartTimes int
	Now       func() time.Time // nil: time.Now
	Logger    *slog.Logger     // nil: none
	// Committed is the newest sequence that the log has confirmed. It may be ahead of what Follow was given; answers
	// wait for that. nil: what Follow was given.
	Committed func() uint64
}

// Head is the head of one provider. Its methods may be called concurrently, but those that ingest/seal uses (in take.go)
// only by one goroutine.
type Head struct {
	budget    int64
	partTimes int
	now       func() time.Time
	log       *slog.Logger
	wake      chan struct{} // something is to be sealed
	stir      chan struct{} // the head is behind, or has room again

	confirmed func() uint64 // Options.Committed

	mu        sync.Mutex // guards all below, and every gateway, part and lane
	gateways  map[string]*gateway
	lanes     map[*batch.Shape]*lane
	followed  uint64
	committed uint64        // that Follow was given
	moved     chan struct{} // closed when followed or live changes; nil when nobody waits
	upTo      int64         // arrival of the newest batch followed, ns; its clock may have been put back since the one before
	live      bool
	reason    string  // why it is not live
	ahead     []taken // the newest batches that Follow was given while the head is not live, without a gap
	readings  uint64  // in all parts
	parts     uint64
	bytes     int64 // accounted for, in all
	closing   int64 // of that, in closed parts
	grown     int64 // accounted for since the last round of tails began
	queue     []*part
	oldest    *part // of the open parts, in the order in which they were opened
	youngest  *part
	dirty     []*gateway
	dropped   schema.Position // the newest of the readings of gateways that were dropped
	change    int64           // what changes now is of this number; it rises with each answer of head.gateways
	untold    int64           // what changed up to here may not be told: of gateways that were dropped, and before the start
}

// New returns a head that has to read the log's entries from first up to the claim before it is live.
func New(o Options, first, claim uint64) *Head {
	h := &Head{
		budget: o.Budget, partTimes: o.PartTimes, now: o.Now, log: o.Logger,
		wake: make(chan struct{}, 1), stir: make(chan struct{}, 1),
		gateways: make(map[string]*gateway), lanes: make(map[*batch.Shape]*lane),
		followed: max(first, 1) - 1, committed: claim,
		reason: "the log is being read after a start", confirmed: o.Committed,
	}
	if h.budget <= 0 {
		h.budget = DefaultBudget
	}
	if h.partTimes <= 0 {
		h.partTimes = DefaultPartTimes
	}
	if h.now == nil {
		h.now = time.Now
	}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	if first >= claim { // the claim itself holds nothing
		h.followed = claim
	}
	h.change = h.now().UnixNano() // above those of an instance before
	h.untold = h.change
	h.live = h.followed == h.committed
	return h
}

// Follow takes a batch that the log has confirmed, in order. It owns the rows. A head that is behind, or has no memory
// left, leaves them to [Head.CatchUp], which reads them from the log.
func (h *Head) Follow(seq uint64, header *batch.Header, rows *batch.Rows) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.committed = max(h.committed, seq)
	switch {
	case !h.live:
		h.keep(taken{seq, header.Created, rows})
	case seq != h.followed+1:
		h.fallBehind(fmt.Sprintf("batch %d came after %d", seq, h.followed))
	case h.bytes > h.budget:
		h.fallBehind("the keyspace does not take blocks as fast as they come")
	default:
		h.apply(seq, header.Created, rows)
	}
}

// taken is a batch that Follow was given.
type taken struct {
	seq     uint64
	created int64
	rows    *batch.Rows
}

// mostAhead is how many batches a head that is behind keeps of those that Follow was given. Reading the log it comes to
// the oldest of them, and from there on it is live. Without them it would stay behind for as long as a batch is
// committed in the time that reading the one before it takes.
const mostAhead = 8

// keep keeps a batch for join.
func (h *Head) keep(b taken) {
	if n := len(h.ahead); n > 0 && h.ahead[n-1].seq+1 != b.seq {
		h.ahead = nil
	}
	if len(h.ahead) == mostAhead {
		h.ahead = slices.Delete(h.ahead, 0, 1)
	}
	h.ahead = append(h.ahead, b)
}

func (h *Head) fallBehind(why string) {
	h.live, h.reason = false, why
	h.move()
	h.log.Warn("the head stops following the log", "reason", why, "followed", h.followed, "bytes", h.bytes)
	signal(h.stir)
}

// apply brings a batch into the parts.
func (h *Head) apply(seq uint64, created int64, rows *batch.Rows) {
	now := h.now().UnixNano()
	var l *lane
	for i := range rows.Rows {
		r := &rows.Rows[i]
		if l == nil || l.shape != r.Shape {
			l = h.lane(r.Shape)
			l.gateway.arrived(created, seq)
			l.gateway.takeAttributes(r.Shape)
			l.gateway.changed = h.change
		}
		p := h.part(l.gateway, r.Time)
		before := p.bytes
		p.add(r, seq, created, l, rows)
		p.touched = now
		l.observe(r, seq, rows)
		l.gateway.newest = p.rows[len(p.rows)-1].end()
		h.bytes += p.bytes - before
		h.grown += p.bytes - before
		h.readings += uint64(len(r.Shape.Sensors))
		l.gateway.entry.Arrived.Add(created, uint64(len(r.Shape.Sensors)))
		if !l.gateway.dirty {
			h.soil(l.gateway)
		}
		if p.isFull() {
			h.close(p)
		}
		if p.settling() {
			h.closeBefore(p)
		}
	}
	h.followed = seq
	if created != 0 { // a message that cannot be read does not say
		h.upTo = created
	}
	h.move()
	if h.bytes-h.closing > h.soft() {
		signal(h.wake)
	}
}

// move wakes the answers that wait for the head.
func (h *Head) move() {
	if h.moved != nil {
		close(h.moved)
		h.moved = nil
	}
}

// soft is the memory beyond which parts are closed before they are full.
func (h *Head) soft() int64 { return h.budget / 4 * 3 }

// lane returns the lane of a shape.
func (h *Head) lane(s *batch.Shape) *lane {
	l := h.lanes[s]
	if l != nil {
		return l
	}
	g := h.gateways[s.Gateway]
	if g == nil {
		g = &gateway{name: s.Gateway, entry: catalog.Entry{Gateway: s.Gateway}, released: h.dropped} // it may have been one of them
		h.gateways[g.name] = g
		h.charge(g, int64(gatewayBytes+len(g.name)))
	}
	l = &lane{gateway: g, shape: s, texts: textsOf(s)}
	g.lanes = append(g.lanes, l)
	h.lanes[s] = l
	h.charge(g, laneCost(s))
	return l
}

func laneCost(s *batch.Shape) int64 { return laneBytes + valueBytes*int64(len(s.Sensors)) }

// charge accounts for memory of a gateway beside its parts.
func (h *Head) charge(g *gateway, bytes int64) {
	g.bytes += bytes
	h.bytes += bytes
}

// part returns the open part of a gateway that takes a time.
func (h *Head) part(g *gateway, t int64) *part {
	if p := g.last; p != nil && !p.closed && t >= p.day && t-p.day < schema.DaySpan {
		return p
	}
	day := schema.Start(t, schema.DaySpan)
	for _, p := range g.parts {
		if p.day == day && !p.closed {
			g.last = p
			return p
		}
	}
	p := &part{gateway: g, full: h.partTimes, day: day, older: h.youngest}
	if h.youngest != nil {
		h.youngest.newer = p
	} else {
		h.oldest = p
	}
	h.youngest = p
	h.parts++
	g.parts = append(g.parts, p)
	g.last = p
	return p
}

// close ends a part, which then waits to become a block.
func (h *Head) close(p *part) {
	h.unlink(p)
	p.closed = true
	h.closing += p.bytes
	h.queue = append(h.queue, p)
	signal(h.wake)
}

// closeBefore closes the parts of earlier days of a part's gateway that took nothing while this one took its later half: it has
// gone on. So what a gateway sends of many days at once becomes a block a day, and leaves the memory. A few readings of an earlier
// day stay: they are no block yet, and more may come, without which the day's rollup would have to wait for them.
func (h *Head) closeBefore(p *part) {
	since := p.rows[len(p.rows)/2].position()
	for _, o := range p.gateway.parts {
		if !o.closed && o.day < p.day && o.times >= o.full/4 && o.readings >= fullReadings/4 && o.newest().Less(since) {
			h.close(o)
		}
	}
}

// unlink takes a part out of the list of open parts.
func (h *Head) unlink(p *part) {
	if p.older != nil {
		p.older.newer = p.newer
	} else {
		h.oldest = p.newer
	}
	if p.newer != nil {
		p.newer.older = p.older
	} else {
		h.youngest = p.older
	}
	p.older, p.newer = nil, nil
}

// soil notes that a gateway's row is to be written.
func (h *Head) soil(g *gateway) {
	g.dirty = true
	h.dirty = append(h.dirty, g)
}

// Figures are what the head holds.
type Figures struct {
	Readings, Parts, Bytes uint64
	Followed, Committed    uint64
	State, Detail          string // as headapi names it; why
}

// Figures returns what the head holds now.
func (h *Head) Figures() Figures {
	h.mu.Lock()
	defer h.mu.Unlock()
	f := Figures{
		Readings: h.readings, Parts: h.parts, Bytes: uint64(max(h.bytes, 0)),
		Followed: h.followed, Committed: h.committed, State: headapi.StateReady,
	}
	if !h.live {
		f.State, f.Detail = headapi.StateReplaying, h.reason
	}
	return f
}

// signal wakes whoever waits on a channel of capacity one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
