package seal_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"berth/internal/keyspace"
	"berth/schema"
	"berth/schema/block"
)

// store is a keyspace in memory whose writes become durable only when told, as a backend's without a sync for each
// write; crash forgets those that have not.
type store struct {
	keyspace.Fleet // nil, but for Gateways: nobody who seals asks several at once

	mu       sync.Mutex
	writes   []keyspace.Changes // since the beginning, a kind each, so that a crash can come between two kinds
	opened   int                // the number of writes when it was opened last
	receipts []int              // the number of writes at each receipt since then
	durable  int                // writes that are durable
	lag      bool               // writes are not durable by themselves
	fail     func(c *keyspace.Changes) error
	expired  [2]int64 // before when blocks and rollups were last dropped; nothing is

	seen  map[keyspace.BlockKey][]byte // every block ever written, also those that a crash has forgotten
	clash []keyspace.BlockKey          // keys that named different readings

	blocks   map[keyspace.BlockKey]keyspace.Block
	gateways map[string]keyspace.Gateway
	rollups  map[keyspace.RollupKey]keyspace.Rollup
}

var _ keyspace.Writer = (*store)(nil)

func newStore() *store {
	s := &store{seen: make(map[keyspace.BlockKey][]byte)}
	s.replay()
	return s
}

// replay applies all writes to an empty keyspace.
func (s *store) replay() {
	s.blocks = make(map[keyspace.BlockKey]keyspace.Block)
	s.gateways = make(map[string]keyspace.Gateway)
	s.rollups = make(map[keyspace.RollupKey]keyspace.Rollup)
	for i := range s.writes {
		s.apply(&s.writes[i])
	}
}

func (s *store) apply(c *keyspace.Changes) {
	for _, m := range c.Marks {
		r := s.rollups[m.RollupKey]
		r.RollupKey = m.RollupKey
		if r.Stale.Less(m.Stale) {
			r.Stale = m.Stale
		}
		s.rollups[m.RollupKey] = r
	}
	for _, b := range c.Blocks {
		if old, ok := s.seen[b.BlockKey]; ok && !sameReadings(old, b.Data) {
			s.clash = append(s.clash, b.BlockKey)
		}
		s.seen[b.BlockKey] = b.Data
		s.blocks[b.BlockKey] = b
	}
	for _, g := range c.Gateways {
		if !g.Position.Less(s.gateways[g.Name].Position) {
			s.gateways[g.Name] = g
		}
	}
	for _, r := range c.Rollups {
		old := s.rollups[r.RollupKey]
		if !r.Computed.Less(old.Computed) {
			r.Stale = old.Stale
			s.rollups[r.RollupKey] = r
		}
	}
}

// sameReadings reports whether two encoded blocks hold the same readings.
func sameReadings(a, b []byte) bool {
	var contents [2]*block.Content
	for i, data := range [][]byte{a, b} {
		r, err := block.Open(data)
		if err != nil {
			return false
		}
		if contents[i], err = r.Content(); err != nil {
			return false
		}
	}
	encodedA, errA := block.Encode(nil, contents[0])
	encodedB, errB := block.Encode(nil, contents[1])
	return errA == nil && errB == nil && bytes.Equal(encodedA, encodedB)
}

// crash forgets what is not durable, but of each Write the first kinds of change that kept says; nil keeps all.
func (s *store) crash(kept func() int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := s.durable; kept != nil && i < len(s.writes); {
		end := (i/4 + 1) * 4
		for n := i%4 + kept(); i < end; i++ {
			if i%4 >= n {
				s.writes[i] = keyspace.Changes{}
			}
		}
	}
	s.durable = len(s.writes)
	s.reopen()
	s.replay()
}

// reopen gives the keyspace to another process.
func (s *store) reopen() { s.opened, s.receipts = len(s.writes), nil }

// outage forgets what is not durable, but for what this process has written: it writes that again.
func (s *store) outage() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := s.durable; i < s.opened; i++ {
		s.writes[i] = keyspace.Changes{}
	}
	s.durable = len(s.writes)
	s.replay()
}

// sync makes the first n of the writes that are not durable so; n < 0 all.
func (s *store) sync(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n < 0 {
		n = len(s.writes)
	}
	s.durable = min(s.durable+n, len(s.writes))
}

func (s *store) Write(_ context.Context, c *keyspace.Changes) (keyspace.Receipt, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		if err := s.fail(c); err != nil {
			return 0, err
		}
	}
	clone := func(data []byte) []byte { return slices.Clone(data) }
	kinds := []keyspace.Changes{{Marks: slices.Clone(c.Marks)}, {}, {}, {}}
	for _, b := range c.Blocks {
		b.Data = clone(b.Data)
		kinds[1].Blocks = append(kinds[1].Blocks, b)
	}
	for _, g := range c.Gateways {
		g.Entry, g.Tail = clone(g.Entry), clone(g.Tail)
		kinds[2].Gateways = append(kinds[2].Gateways, g)
	}
	for _, r := range c.Rollups {
		r.Data = clone(r.Data)
		kinds[3].Rollups = append(kinds[3].Rollups, r)
	}
	for i := range kinds {
		s.writes = append(s.writes, kinds[i])
		s.apply(&kinds[i])
	}
	if !s.lag {
		s.durable = len(s.writes)
	}
	s.receipts = append(s.receipts, len(s.writes))
	return keyspace.Opened + keyspace.Receipt(len(s.receipts)), nil
}

func (s *store) Durable(context.Context) (keyspace.Receipt, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.durable < s.opened {
		return 0, nil
	}
	n := 0
	for n < len(s.receipts) && s.receipts[n] <= s.durable {
		n++
	}
	return keyspace.Opened + keyspace.Receipt(n), nil
}

func (s *store) Blocks(_ context.Context, gateway string, from, to int64, yield func(keyspace.Block) error) error {
	s.mu.Lock()
	var found []keyspace.Block
	for _, b := range s.blocks {
		if b.Gateway == gateway && b.First < to && b.Last >= from {
			found = append(found, b)
		}
	}
	s.mu.Unlock()
	slices.SortFunc(found, func(a, b keyspace.Block) int { return int(a.First - b.First) })
	for _, b := range found {
		if err := yield(b); err != nil {
			return err
		}
	}
	return nil
}

func (s *store) Gateway(_ context.Context, name string) (keyspace.Gateway, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g, ok := s.gateways[name]
	if !ok {
		return g, schema.Errorf(schema.NotFound, "no gateway %q", name)
	}
	return g, nil
}

func (s *store) Gateways(_ context.Context, after string, limit int) ([]keyspace.Gateway, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []keyspace.Gateway
	for _, g := range s.gateways {
		if g.Name > after {
			g.Tail = nil
			found = append(found, g)
		}
	}
	slices.SortFunc(found, func(a, b keyspace.Gateway) int { return strings.Compare(a.Name, b.Name) })
	return found[:min(limit, len(found))], nil
}

func (s *store) Rollups(_ context.Context, gateway string, span keyspace.Span, from, to int64, yield func(keyspace.Rollup) error) error {
	s.mu.Lock()
	var found []keyspace.Rollup
	if to == from+1 { // one, as sealing asks, and often
		if r, ok := s.rollups[keyspace.RollupKey{Gateway: gateway, Span: span, Start: from}]; ok {
			found = append(found, r)
		}
	} else {
		for _, r := range s.rollups {
			if r.Gateway == gateway && r.Span == span && r.Start >= from && r.Start < to {
				found = append(found, r)
			}
		}
	}
	s.mu.Unlock()
	slices.SortFunc(found, func(a, b keyspace.Rollup) int { return int(a.Start - b.Start) })
	for _, r := range found {
		if err := yield(r); err != nil {
			return err
		}
	}
	return nil
}

func (s *store) Position(context.Context) (schema.Position, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var p schema.Position
	for _, b := range s.blocks {
		p = later(p, b.To)
	}
	for _, g := range s.gateways {
		p = later(p, g.Position)
	}
	for _, r := range s.rollups {
		p = later(later(p, r.Computed), r.Stale)
	}
	return p, nil
}

func later(a, b schema.Position) schema.Position {
	if a.Less(b) {
		return b
	}
	return a
}

func (s *store) Unrolled(_ context.Context, endBefore int64, yield func(keyspace.RollupKey) bool) error {
	s.mu.Lock()
	var keys []keyspace.RollupKey
	for k, r := range s.rollups {
		if r.Computed.Less(r.Stale) && k.Start+k.Span.Length() <= endBefore {
			keys = append(keys, k)
		}
	}
	s.mu.Unlock()
	slices.SortFunc(keys, func(a, b keyspace.RollupKey) int {
		return cmp.Or(cmp.Compare(a.Span, b.Span), cmp.Compare(a.Start, b.Start), strings.Compare(a.Gateway, b.Gateway))
	})
	for _, k := range keys {
		if !yield(k) {
			break
		}
	}
	return nil
}

func (s *store) Expire(_ context.Context, blocks, rollups int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expired = [2]int64{blocks, rollups}
	return nil
}

func (s *store) Size(context.Context) (int64, error)           { return 0, nil }
func (s *store) Stats(context.Context) (keyspace.Stats, error) { return keyspace.Stats{}, nil }
func (s *store) Close() error                                  { return nil }

// messages is a log in memory.
type messages struct {
	mu    sync.Mutex
	first uint64
	data  [][]byte
}

var errNoLog = errors.New("the log is away")

func (l *messages) claim(above uint64, data []byte) (seq uint64) {
	if _, last := l.bounds(); last < above || l.first == 0 {
		l.first, l.data = above+1, nil
	}
	return l.append(data)
}

func (l *messages) append(data []byte) (seq uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.first == 0 {
		l.first = 1
	}
	l.data = append(l.data, slices.Clone(data))
	return l.first + uint64(len(l.data)) - 1
}

func (l *messages) bounds() (first, last uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.first, l.first + uint64(len(l.data)) - 1
}

func (l *messages) read(ctx context.Context, from, upTo uint64, fn func(uint64, []byte) error) error {
	for seq := from; seq <= upTo; seq++ {
		l.mu.Lock()
		if seq < l.first {
			l.mu.Unlock()
			continue
		}
		if seq >= l.first+uint64(len(l.data)) {
			l.mu.Unlock()
			return errNoLog
		}
		data := l.data[seq-l.first]
		l.mu.Unlock()
		if err := errors.Join(ctx.Err(), fn(seq, data)); err != nil {
			return err
		}
	}
	return nil
}

// trim removes everything up to a sequence but the last message.
func (l *messages) trim(_ context.Context, upTo uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := int(min(upTo+1, l.first+uint64(len(l.data))-1) - min(l.first, upTo+1))
	if n > 0 {
		l.data = l.data[n:]
		l.first += uint64(n)
	}
	return nil
}
