package head

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	"berth/internal/headapi"
	"berth/schema"
	"berth/schema/block"
	"berth/schema/catalog"
)

// maxGateways bounds an answer of head.gateways.
const maxGateways = 1000

// An Answer takes a request and gives its answer chunk by chunk. A chunk is good until reply returns.
type Answer = func(ctx context.Context, request []byte, reply func(chunk []byte) error) error

// Answers returns the answers to the questions of headapi that the head alone can give, by subject.
func (h *Head) Answers() map[string]Answer {
	return map[string]Answer{
		headapi.Parts:    answer(h, h.answerParts),
		headapi.Fleet:    answer(h, h.answerFleet),
		headapi.Latest:   answer(h, h.answerLatest),
		headapi.Since:    answer(h, h.answerSince),
		headapi.Gateways: answer(h, h.answerGateways),
	}
}

// answer reads the request as JSON, and waits a little until a live head has followed what was committed before the
// question, so that whoever saw an acknowledgement finds its readings.
func answer[Q any](h *Head, fn func(q *Q, until uint64, reply func([]byte) error) error) Answer {
	return func(ctx context.Context, request []byte, reply func([]byte) error) error {
		q := new(Q)
		if err := json.Unmarshal(request, q); err != nil {
			return fmt.Errorf("read question: %w", schema.Errorf(schema.Invalid, "the question is no JSON of its kind: %v", err))
		}
		return fn(q, h.awaitCommitted(ctx), reply)
	}
}

// patienceForHead is how long an answer waits for the head to follow.
const patienceForHead = time.Second

// awaitCommitted returns the newest sequence that was committed when it was called, when a live head has followed it.
func (h *Head) awaitCommitted(ctx context.Context) (until uint64) {
	if h.confirmed == nil {
		return 0
	}
	ctx, cancel := context.WithTimeout(ctx, patienceForHead)
	defer cancel()
	until = h.confirmed()
	for {
		h.mu.Lock()
		if !h.live || h.followed >= until {
			h.mu.Unlock()
			return until
		}
		if h.moved == nil {
			h.moved = make(chan struct{})
		}
		moved := h.moved
		h.mu.Unlock()
		select {
		case <-moved:
		case <-ctx.Done():
			return until
		}
	}
}

// header describes the head as it is to somebody who asked when until was committed; the caller holds the lock.
func (h *Head) header(until uint64) headapi.Header {
	header := headapi.Header{Followed: h.followed, Committed: max(h.committed, until), UpTo: h.upTo}
	header.Complete = h.live && header.Followed >= header.Committed
	switch behind := header.Committed - header.Followed; {
	case header.Complete:
	case h.live:
		header.Reason = fmt.Sprintf("the head has %d messages of the log still to take", behind)
	default:
		header.Reason = fmt.Sprintf("%s: %d of its messages are still to be read", h.reason, behind)
	}
	return header
}

func replyHeader(header *headapi.Header, reply func([]byte) error) error {
	data, err := json.Marshal(header)
	if err != nil {
		return fmt.Errorf("write answer: %w", err)
	}
	return reply(data)
}

func (h *Head) answerParts(q *headapi.PartsRequest, until uint64, reply func([]byte) error) error {
	return h.replyParts([]string{q.Gateway}, q.From, q.To, until, reply)
}

func (h *Head) answerFleet(q *headapi.FleetRequest, until uint64, reply func([]byte) error) error {
	if len(q.Gateways) > headapi.MostFleet {
		return schema.Errorf(schema.Invalid, "%d gateways are more than %d", len(q.Gateways), headapi.MostFleet)
	}
	return h.replyParts(q.Gateways, q.From, q.To, until, reply)
}

// touches reports whether the part may have readings in [from, to).
func (p *part) touches(from, to int64) bool {
	return p.day < to && from < p.day+schema.DaySpan
}

// replyParts gives the parts of some gateways that touch [from, to), as they are at one moment.
func (h *Head) replyParts(gateways []string, from, to int64, until uint64, reply func([]byte) error) error {
	var views []view
	h.mu.Lock()
	header := h.header(until)
	for _, name := range gateways {
		g := h.gateways[name]
		if g == nil {
			continue
		}
		for _, p := range g.parts {
			if p.touches(from, to) {
				views = append(views, p.view())
			}
		}
	}
	h.mu.Unlock()
	if err := replyHeader(&header, reply); err != nil {
		return err
	}
	return replyViews(views, nil, reply)
}

func (h *Head) answerSince(q *headapi.SinceRequest, until uint64, reply func([]byte) error) error {
	var after schema.Position
	if q.After != "" {
		var err error
		if after, err = headapi.ParsePosition(q.After); err != nil {
			return err
		}
	}
	var views []view
	h.mu.Lock()
	header := h.header(until)
	header.Position = headapi.FormatPosition(endOf(h.followed))
	switch g := h.gateways[q.Gateway]; {
	case q.After == "":
	case g == nil:
		header.Missed = after.Less(h.dropped)
	default:
		header.Missed = after.Less(g.released)
		for _, p := range g.parts {
			header.Missed = header.Missed || after.Less(p.baseTo)
			v := p.view()
			views = append(views, v.after(after))
		}
	}
	h.mu.Unlock()
	if err := replyHeader(&header, reply); err != nil {
		return err
	}
	return replyViews(views, q.Sensors, reply)
}

// replyViews gives an encoded block of each view that holds something; of the named sensors only, if any are named.
func replyViews(views []view, sensors []string, reply func([]byte) error) error {
	var a assembler
	for i := range views {
		v := &views[i]
		if len(v.rows) == 0 && v.base == nil {
			continue
		}
		data, c, err := a.encode(v)
		if err != nil {
			return err
		}
		if len(sensors) > 0 {
			kept := *c
			kept.Columns = slices.DeleteFunc(slices.Clone(c.Columns), func(c block.Column) bool {
				return !slices.Contains(sensors, c.Sensor)
			})
			if len(kept.Columns) == 0 {
				continue
			}
			if data, err = block.Encode(nil, &kept); err != nil {
				return fmt.Errorf("encode block of gateway %q: %w", v.gateway, err)
			}
		}
		if err := reply(data); err != nil {
			return err
		}
	}
	return nil
}

func (h *Head) answerLatest(q *headapi.LatestRequest, until uint64, reply func([]byte) error) error {
	var data []byte
	h.mu.Lock()
	header := h.header(until)
	if g := h.gateways[q.Gateway]; g != nil {
		data = g.encodeEntry()
	}
	h.mu.Unlock()
	if err := replyHeader(&header, reply); err != nil || data == nil {
		return err
	}
	return reply(data)
}

// encodeEntry returns the gateway's entry with what its lanes keep.
func (g *gateway) encodeEntry() []byte {
	e := g.entry
	e.Latest = slices.Clone(e.Latest)
	for _, l := range g.lanes {
		if l.fresh {
			l.fold(&e)
		}
	}
	return catalog.EncodeEntry(nil, &e)
}

// encodeOutline returns the gateway's entry without attributes and newest readings.
func (g *gateway) encodeOutline() []byte {
	e := g.entry
	e.Attributes, e.Latest = nil, nil
	return catalog.EncodeEntry(nil, &e)
}

func (h *Head) answerGateways(q *headapi.GatewaysRequest, until uint64, reply func([]byte) error) error {
	if len(q.Names) > headapi.MostFleet {
		return schema.Errorf(schema.Invalid, "%d gateways are more than %d", len(q.Names), headapi.MostFleet)
	}
	limit := min(max(q.Limit, 1), maxGateways)
	var names, within []string
	h.mu.Lock()
	header := h.header(until)
	header.Missed = q.Since != 0 && (q.Since <= h.untold || q.Since > h.change)
	h.change++
	header.Change = h.change
	for g := range h.asked(q) {
		if g.name <= q.After || header.Missed {
			continue
		}
		if q.Since == 0 && (g.dirty || g.stored.Less(g.newest)) || q.Since != 0 && g.changed >= q.Since {
			names = append(names, g.name)
		}
		if q.From < q.To && slices.ContainsFunc(g.parts, func(p *part) bool { return p.touches(q.From, q.To) }) {
			within = append(within, g.name)
		}
	}
	h.mu.Unlock()
	slices.Sort(names)
	names = names[:min(limit, len(names))]
	if q.From < q.To {
		slices.Sort(within)
		header.Parts = &headapi.Names{Names: within[:min(limit, len(within))], Whole: len(within) <= limit}
	}
	if err := replyHeader(&header, reply); err != nil {
		return err
	}
	for len(names) > 0 {
		var entries [][]byte
		var left bool
		if entries, names, left = h.someEntries(names, q.Since != 0); left && q.Since != 0 { // the keyspace is not read after it
			return schema.Errorf(schema.Unavailable, "a gateway that has changed left the head meanwhile").WithNext("ask for all")
		}
		for _, e := range entries {
			if err := reply(e); err != nil {
				return err
			}
		}
	}
	return nil
}

// asked yields the gateways that a question names, or all when it names none; the caller holds the lock.
func (h *Head) asked(q *headapi.GatewaysRequest) iter.Seq[*gateway] {
	if len(q.Names) == 0 {
		return maps.Values(h.gateways)
	}
	return func(yield func(*gateway) bool) {
		for _, name := range q.Names {
			if g := h.gateways[name]; g != nil && !yield(g) {
				return
			}
		}
	}
}

// entryBytes is about how much of entries is encoded at once: Follow, and with it acknowledging, waits for so long.
const entryBytes = 64 << 10

// someEntries returns the entries of the first of the gateways, or their outlines, the names of the rest, and whether one has left the
// head since it was named: its row holds as much, and the keyspace is read after the head.
func (h *Head) someEntries(names []string, outlines bool) (entries [][]byte, rest []string, left bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for size := 0; len(names) > 0 && size < entryBytes; names = names[1:] {
		g := h.gateways[names[0]]
		if g == nil {
			left = true
			continue
		}
		var e []byte
		if outlines {
			e = g.encodeOutline()
		} else {
			e = g.encodeEntry()
		}
		entries = append(entries, e)
		size += len(e)
	}
	return entries, names, left
}

// Sensors returns the sensors that the head knows of a gateway, and whether it knows all of them: that it has read the
// gateway's row.
func (h *Head) Sensors(name string) (sensors []string, all bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	g := h.gateways[name]
	if g == nil {
		return nil, false
	}
	for i := range g.entry.Latest {
		sensors = append(sensors, g.entry.Latest[i].Sensor)
	}
	for _, l := range g.lanes {
		sensors = append(sensors, l.shape.Sensors...)
	}
	slices.Sort(sensors)
	return slices.Compact(sensors), g.loaded
}
