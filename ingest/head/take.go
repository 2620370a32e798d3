package head

import (
	"fmt"
	"math"
	"slices"

	"berth/internal/keyspace"
	"berth/schema"
	"berth/schema/block"
	"berth/schema/catalog"
)

// What follows is for the one goroutine of ingest/seal.

// Part is a closed part: it takes no more readings and waits to become a block. It stays answerable until Release.
type Part struct{ p *part }

// Gateway returns the name of the part's gateway.
func (p Part) Gateway() string { return p.p.gateway.name }

// Readings returns how many readings the part holds, those that came again counted again.
func (p Part) Readings() int { return p.p.readings }

// Message returns the part's readings as a message of the log, to be kept when they cannot be a block.
func (p Part) Message() []byte {
	v := p.p.view()
	return v.message()
}

// Encoder makes blocks of parts. Its memory is used again; the zero Encoder is ready.
type Encoder struct{ a assembler }

// Block returns the part's block and a mark for every hour and day that it has readings in. ok is false when the part
// holds nothing that the keyspace has not.
func (e *Encoder) Block(p Part) (b keyspace.Block, marks []keyspace.Mark, ok bool, err error) {
	v := p.p.view()
	if len(v.rows) == 0 && v.base == nil {
		return keyspace.Block{}, nil, false, nil
	}
	data, c, err := e.a.encode(&v)
	if err != nil {
		return keyspace.Block{}, nil, false, err
	}
	first, last := c.Span()
	b = keyspace.Block{
		BlockKey: keyspace.BlockKey{Gateway: c.Gateway, First: first, From: c.From, To: c.To},
		Last:     last, Data: slices.Clone(data),
	}
	return b, marksOf(c, p.p.day), true, nil
}

func marksOf(c *block.Content, day int64) []keyspace.Mark {
	marks := []keyspace.Mark{{RollupKey: keyspace.RollupKey{Gateway: c.Gateway, Span: keyspace.Day, Start: day}, Stale: c.To}}
	set := hours(c)
	for i := range int64(24) {
		if set&(1<<i) != 0 {
			key := keyspace.RollupKey{Gateway: c.Gateway, Span: keyspace.Hour, Start: day + i*schema.HourSpan}
			marks = append(marks, keyspace.Mark{RollupKey: key, Stale: c.To})
		}
	}
	return marks
}

// Work says what there is to seal.
type Work struct {
	Closed  bool   // parts are closed
	Pressed bool   // memory is short: see Press
	Grown   int64  // bytes of readings since the last round of tails began
	Dirty   int    // gateways whose rows are to be written
	Follow  uint64 // followed
}

// Wake is signalled when there may be something to seal before the next round is due.
func (h *Head) Wake() <-chan struct{} { return h.wake }

// Work returns what there is to seal.
func (h *Head) Work() Work {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.settleQueue()
	return Work{
		Closed: len(h.queue) > 0, Pressed: h.bytes-h.closing > h.soft(),
		Grown: h.grown, Dirty: len(h.dirty), Follow: h.followed,
	}
}

// settleQueue drops the parts that a snapshot has taken from the front of the queue.
func (h *Head) settleQueue() {
	for len(h.queue) > 0 && h.queue[0].taken {
		h.queue[0] = nil
		h.queue = h.queue[1:]
	}
	if len(h.queue) == 0 {
		h.queue = nil
	}
}

// Closed takes closed parts, the oldest first, until they have some limit bytes together.
func (h *Head) Closed(limit int64) []Part {
	h.mu.Lock()
	defer h.mu.Unlock()
	var parts []Part
	for h.settleQueue(); len(h.queue) > 0 && limit > 0; h.settleQueue() {
		p := h.queue[0]
		p.taken = true
		limit -= p.bytes
		parts = append(parts, Part{p})
	}
	return parts
}

// Press makes room: it drops gateways whose rows hold all that the head has of them, and closes parts, the oldest first,
// until half of the memory is free or on its way to be. Small parts of gateways whose rows are behind are closed only
// with force; tails reports that a round of tails would make room instead.
func (h *Head) Press(force bool) (tails bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for p := h.oldest; p != nil && h.bytes-h.closing > h.budget/2; {
		next := p.newer
		switch g := p.gateway; {
		case g.clean():
			for next != nil && next.gateway == g {
				next = next.newer
			}
			h.drop(g)
		case force || p.ripe():
			h.close(p)
		default:
			tails = true
		}
		p = next
	}
	for _, g := range h.gateways {
		if h.bytes-h.closing <= h.budget/2 {
			break
		}
		if g.clean() && len(g.parts) == 0 {
			h.drop(g)
		}
	}
	signal(h.stir)
	return tails
}

// clean reports whether the keyspace holds all that the head knows of the gateway.
func (g *gateway) clean() bool {
	return g.loaded && !g.dirty && !g.stored.Less(g.newest) &&
		!slices.ContainsFunc(g.parts, func(p *part) bool { return p.closed })
}

// drop forgets a clean gateway.
func (h *Head) drop(g *gateway) {
	for _, p := range g.parts {
		h.unlink(p)
		h.forget(p)
	}
	for _, l := range g.lanes {
		delete(h.lanes, l.shape)
	}
	h.bytes -= g.bytes
	if h.dropped.Less(g.newest) {
		h.dropped = g.newest
	}
	h.untold = max(h.untold, g.changed)
	delete(h.gateways, g.name)
}

// forget takes a part out of the books.
func (h *Head) forget(p *part) {
	h.bytes -= p.bytes
	h.readings -= uint64(p.readings)
	h.parts--
}

// Sweep closes parts of days that ended before a time and that took nothing since, and drops clean gateways that were
// last heard of before idle.
func (h *Head) Sweep(ended, idle int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, g := range h.gateways {
		for _, p := range g.parts {
			if !p.closed && p.day+schema.DaySpan <= ended && p.touched < ended {
				h.close(p)
			}
		}
		if g.entry.LastSeen < idle && g.clean() {
			h.drop(g)
		}
	}
}

// Unloaded returns those of the parts' gateways whose rows have not been read yet.
func (h *Head) Unloaded(parts []Part) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var names []string
	for _, p := range parts {
		if g := p.p.gateway; !g.loaded && !slices.Contains(names, g.name) {
			names = append(names, g.name)
		}
	}
	return names
}

// Loaded reports whether the gateway's row has been read.
func (h *Head) Loaded(name string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	g := h.gateways[name]
	return g == nil || g.loaded
}

// Load brings a gateway's row into the head: readings that it holds are dropped, and its tail becomes the base of the
// parts of its days. A nil row says that the keyspace has none. What of the row cannot be read unreadable is told first:
// the next row will replace it. When that returns an error, nothing is loaded; else the rest is.
func (h *Head) Load(name string, r *keyspace.Gateway, unreadable func(why error) error) error {
	var problems []error
	row, bases := &catalog.Entry{}, []base(nil)
	if r != nil {
		if e, err := catalog.DecodeEntry(r.Entry); err != nil {
			problems = append(problems, fmt.Errorf("read entry: %w", err))
		} else {
			row = e
		}
		var errs []error
		bases, errs = basesOf(r.Tail)
		problems = append(problems, errs...)
	}
	if why := joined(name, problems); why != nil {
		if err := unreadable(why); err != nil {
			return err
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	g := h.gateways[name]
	if g == nil || g.loaded {
		return nil
	}
	g.loaded, g.changed = true, h.change
	if r != nil {
		g.stored, g.tailed = r.Position, len(r.Tail) > 0
		for _, p := range g.parts {
			g.uncount(h.cut(p, r.Position))
		}
		for _, b := range bases {
			h.rebase(g, b)
		}
	}
	g.merge(row)
	h.recost(g)
	signal(h.stir)
	return nil
}

// cut drops the readings of a part up to a position, and returns how many they were.
func (h *Head) cut(p *part, upTo schema.Position) (dropped int) {
	before := p.readings
	freed := p.cut(upTo)
	h.bytes -= freed
	h.readings -= uint64(before - p.readings)
	if p.closed {
		h.closing -= freed
	}
	return before - p.readings
}

// rebase puts a base before the rows of its day, in the part that holds the oldest of them.
func (h *Head) rebase(g *gateway, b base) {
	var p *part
	for _, o := range g.parts {
		if o.day == b.day {
			p = o
			break
		}
	}
	if p == nil {
		p = h.part(g, b.day)
		p.touched = h.now().UnixNano()
	}
	p.base, p.baseTo = b.data, b.to
	p.readings += b.readings
	p.bytes += int64(len(b.data))
	h.bytes += int64(len(b.data))
	h.readings += uint64(b.readings)
	if p.closed {
		h.closing += int64(len(b.data))
	}
	if g.newest.Less(b.to) {
		g.newest = b.to
	}
}

// recost accounts anew for what a gateway takes beside its parts.
func (h *Head) recost(g *gateway) {
	cost := int64(gatewayBytes + len(g.name))
	for _, l := range g.lanes {
		cost += laneCost(l.shape)
	}
	for i := range g.entry.Latest {
		cost += int64(96 + len(g.entry.Latest[i].Sensor) + len(g.entry.Latest[i].Value.Text()))
	}
	h.charge(g, cost-g.bytes)
}

// Release drops parts that the keyspace has confirmed, or that hold nothing it has not.
func (h *Head) Release(parts []Part) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, q := range parts {
		p := q.p
		g := p.gateway
		i := slices.Index(g.parts, p)
		if i < 0 {
			continue
		}
		g.parts = slices.Delete(g.parts, i, i+1)
		if g.last == p {
			g.last = nil
		}
		if n := len(p.rows); n > 0 && g.released.Less(p.rows[n-1].end()) {
			g.released = p.rows[n-1].end()
		}
		if g.tailed && !g.dirty {
			h.soil(g) // its tail holds what is in the block now
		}
		h.forget(p)
		h.closing -= p.bytes
	}
	signal(h.stir)
}

// endOf returns the position of the end of a batch: nothing of it is after that.
func endOf(seq uint64) schema.Position {
	return schema.Position{Sequence: seq, Ordinal: math.MaxUint32}
}
