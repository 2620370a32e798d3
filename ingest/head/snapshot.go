package head

import (
	"errors"
	"fmt"
	"slices"

	"berth/internal/keyspace"
	"berth/schema"
	"berth/schema/catalog"
)

// Snapshot is what is to be written so that a gateway's row holds everything up to Position: first the blocks of Parts,
// then the row.
type Snapshot struct {
	Name     string
	Position schema.Position
	Entry    []byte // encoded
	Parts    []Part // closed: their readings are not in the tail
	tails    []view
}

// TakeDirty begins a round of tails: it returns the gateways whose rows are behind, and the sequence up to which
// everything is stored once they have been written.
func (h *Head) TakeDirty() (names []string, followed uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, g := range h.dirty {
		names = append(names, g.name)
	}
	h.dirty, h.grown = nil, 0
	return names, h.followed
}

// Snapshot returns what is to be written of a loaded gateway, nil if there is no such gateway. Parts that are worth a
// block are closed.
func (h *Head) Snapshot(name string) *Snapshot {
	h.mu.Lock()
	defer h.mu.Unlock()
	g := h.gateways[name]
	if g == nil || !g.loaded {
		return nil
	}
	s := &Snapshot{Name: name, Position: endOf(h.followed)}
	tail := 0
	for _, p := range g.parts {
		if !p.closed {
			tail += p.most()
			if p.ripe() || tail > maxTail {
				h.close(p)
			}
		}
		if p.closed {
			// Also what was written but is not confirmed yet: written again it is the same block, and so it is
			// durable before the row that leaves it out.
			p.taken = true
			s.Parts = append(s.Parts, Part{p})
		} else if len(p.rows) > 0 || p.base != nil {
			s.tails = append(s.tails, p.view())
		}
	}
	h.fold(g)
	s.Entry = encodeRow(&g.entry)
	g.dirty = false
	return s
}

// maxTail bounds the tail of a gateway with small parts of many days, or large ones of names and texts, in bytes: what is
// beyond it becomes blocks. A row that the keyspace can never take would hold up what it alone has.
const maxTail = keyspace.MaxData / 4

// encodeRow encodes the entry for the gateway's row. Of one that is larger than a row can be the longest texts are left
// out: the readings themselves are in blocks and the tail.
func encodeRow(e *catalog.Entry) []byte {
	data := catalog.EncodeEntry(nil, e)
	for most := schema.MaxText; len(data) > keyspace.MaxData && most > 0; data = catalog.EncodeEntry(nil, e) {
		most /= 2
		short := *e
		short.Latest = slices.DeleteFunc(slices.Clone(e.Latest), func(l catalog.Latest) bool {
			return l.Value.Kind() == schema.Text && len(l.Value.Text()) > most
		})
		e = &short
	}
	return data
}

// fold brings the lanes into the gateway's entry, and lets go of lanes that took nothing since the last fold.
func (h *Head) fold(g *gateway) {
	g.lanes = slices.DeleteFunc(g.lanes, func(l *lane) bool {
		if !l.fresh {
			delete(h.lanes, l.shape)
			return true
		}
		l.fold(&g.entry)
		l.fresh = false
		return false
	})
	h.recost(g)
}

// Refused is a part that cannot be encoded, as a message of the log (schema/batch).
type Refused struct {
	Readings int
	Message  []byte
	Why      error
}

// Tail encodes the snapshot's small parts as one tail, nil if there are none, and returns those that cannot be.
func (e *Encoder) Tail(s *Snapshot) (tail []byte, refused []Refused) {
	var blocks [][]byte
	for i := range s.tails {
		v := &s.tails[i]
		data, _, err := e.a.encode(v)
		if err != nil {
			refused = append(refused, Refused{Readings: v.readings(), Message: v.message(), Why: err})
			continue
		}
		blocks = append(blocks, slices.Clone(data))
	}
	if blocks == nil {
		return nil, refused
	}
	return catalog.EncodeTail(nil, blocks), refused
}

// Stored notes that a gateway's row is surely stored.
func (h *Head) Stored(row *keyspace.Gateway) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if g := h.gateways[row.Name]; g != nil && g.stored.Less(row.Position) {
		g.stored, g.tailed = row.Position, row.Tail != nil
	}
}

// Holds reports whether the head has readings of the gateway in [from, to), or any of that day whose position may be
// at or before upTo.
func (h *Head) Holds(name string, from, to int64, upTo schema.Position) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	g := h.gateways[name]
	if g == nil {
		return false
	}
	for _, p := range g.parts {
		if p.day >= to || p.day+schema.DaySpan <= from {
			continue
		}
		if p.base != nil || len(p.rows) > 0 && !upTo.Less(p.rows[0].position()) {
			return true
		}
		if slices.ContainsFunc(p.rows, func(r row) bool { return from <= r.time && r.time < to }) {
			return true
		}
	}
	return false
}

// joined returns the problems with a gateway's row as one error.
func joined(name string, problems []error) error {
	if len(problems) == 0 {
		return nil
	}
	return fmt.Errorf("load gateway %q: %w", name, errors.Join(problems...))
}
