package seal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"berth/internal/keyspace"
	"berth/schema"
	"berth/schema/block"
	"berth/schema/catalog"
	"berth/schema/rollup"
)

// When rollups are computed, and how many at a time. A span is computed when blocks for it have stopped coming, or have
// come for long enough; the work of a round is bounded in number and time, so that sealing is not starved.
const (
	spanRest     = time.Minute      // after its end a span is left alone for so long
	markRest     = 10 * time.Second // a span is computed when no block has marked it for so long,
	markPatience = 40 * time.Second // or has first marked it so long ago
	scanEvery    = 10 * time.Second
	scanRest     = 20 // a scan is followed by a rest so many times as long
	scanMost     = 1024
	rollBatch    = 64                    // rollups that are written together
	rollSlice    = 50 * time.Millisecond // time after which a round's computing ends
	rollRest     = 4                     // while there is other work, computing rests so many times as long
	maxRecent    = 1 << 17
)

// rollupRound is what is to be computed, and when.
type rollupRound struct {
	scanAt time.Time
	nextAt time.Time
	keys   []keyspace.RollupKey
	recent map[keyspace.RollupKey]marking  // ended spans that were marked lately
	broken map[keyspace.RollupKey]struct{} // spans with a block that cannot be read, or of too long texts
	passed map[keyspace.RollupKey]struct{} // spans that could not be computed yet, since the scans last came to the end
	more   bool                            // the last scan did not come to the end

	failing bool // the last try failed
}

// marking is when a span was first and last marked since its rollup was computed.
type marking struct{ first, last time.Time }

// marked notes which ended spans blocks have just touched.
func (r *rollupRound) marked(now, wall time.Time, marks []keyspace.Mark) {
	for i := range marks {
		key := marks[i].RollupKey
		if key.Start+key.Span.Length() > wall.UnixNano() {
			continue
		}
		if r.recent == nil || len(r.recent) >= maxRecent {
			r.recent = make(map[keyspace.RollupKey]marking)
		}
		m, ok := r.recent[key]
		if !ok {
			m.first = now
		}
		m.last = now
		r.recent[key] = m
	}
}

// pass notes a span that could not be computed, so that a scan that comes back to it does not miss those after it.
func (r *rollupRound) pass(key keyspace.RollupKey) {
	if r.passed == nil || len(r.passed) >= maxRecent {
		r.passed = make(map[keyspace.RollupKey]struct{})
	}
	r.passed[key] = struct{}{}
}

// resting reports whether more blocks for the span are to be expected soon.
func (r *rollupRound) resting(now time.Time, key keyspace.RollupKey) bool {
	m, ok := r.recent[key]
	return ok && now.Sub(m.last) < markRest && now.Sub(m.first) < markPatience
}

// due returns when there may be something to do.
func (r *rollupRound) due() time.Time {
	if len(r.keys) > 0 {
		return r.nextAt
	}
	return r.scanAt
}

// roll computes some rollups that do not count. It can wait: an error only puts it off. What it computed is in hand
// then, and written before anything else.
func (s *Sealer) roll(ctx context.Context, now time.Time, busy bool) {
	r := &s.rollups
	if now.Before(r.due()) {
		return
	}
	w, err := s.rollSome(ctx, now, busy)
	if err != nil && ctx.Err() == nil {
		if !r.failing {
			s.Logger.Warn("rollups cannot be computed yet", "error", err)
		}
		r.keys, r.scanAt = nil, now.Add(failedRest)
	}
	r.failing = err != nil
	if len(w.changes.Rollups) > 0 {
		s.hand = w
	}
}

// rollSome computes rollups for a while.
func (s *Sealer) rollSome(ctx context.Context, now time.Time, busy bool) (*write, error) {
	r, w := &s.rollups, &write{}
	if len(r.keys) == 0 {
		if err := s.scan(ctx, now); err != nil {
			return w, err
		}
	}
	begun := s.Steady()
	for len(r.keys) > 0 && len(w.changes.Rollups) < rollBatch && s.Steady().Sub(begun) < rollSlice {
		key := r.keys[0]
		rolled, err := s.compute(ctx, key)
		if errors.Is(err, errBroken) {
			s.giveUp(key, err)
		} else if err != nil {
			return w, err
		}
		r.keys = r.keys[1:]
		delete(r.recent, key)
		if rolled == nil {
			r.pass(key)
			continue
		}
		w.changes.Rollups = append(w.changes.Rollups, *rolled)
	}
	r.nextAt = s.Steady()
	if busy {
		r.nextAt = r.nextAt.Add(rollRest * r.nextAt.Sub(begun))
	}
	return w, nil
}

// scan finds spans that have ended and whose rollups do not count.
func (s *Sealer) scan(ctx context.Context, now time.Time) error {
	r := &s.rollups
	if !r.more {
		clear(r.passed)
	}
	begun, wall := s.Steady(), s.Now()
	oldest := int64(0)
	if s.Retention != nil {
		oldest = wall.Add(-s.Retention()).UnixNano()
	}
	err := s.Keyspace.Unrolled(ctx, wall.Add(-spanRest).UnixNano(), func(key keyspace.RollupKey) bool {
		_, broken := r.broken[key]
		_, passed := r.passed[key]
		switch {
		case passed: // it is tried again when the younger ones have had their turn
		case broken || s.Retention != nil && key.Start+key.Span.Length() <= oldest: // its blocks may be gone in part
		case r.resting(now, key):
		case s.Head.Holds(key.Gateway, key.Start, key.Start+key.Span.Length(), schema.Position{}):
			// It will be marked again when these readings become a block; until then readers compute it themselves.
		default:
			r.keys = append(r.keys, key)
		}
		return len(r.keys) < scanMost
	})
	if err != nil {
		return fmt.Errorf("look for rollups to compute: %w", err)
	}
	took := s.Steady().Sub(begun)
	r.scanAt = now.Add(max(scanEvery, scanRest*took))
	r.more = len(r.keys) == scanMost
	if r.more {
		r.scanAt = now
	}
	return nil
}

// compute returns the rollup of a span from all its blocks, nil when it cannot be computed now.
func (s *Sealer) compute(ctx context.Context, key keyspace.RollupKey) (*keyspace.Rollup, error) {
	from, to := key.Start, key.Start+key.Span.Length()
	var readers []*block.Reader
	err := s.Keyspace.Blocks(ctx, key.Gateway, from, to, func(b keyspace.Block) error {
		r, err := block.Open(slices.Clone(b.Data))
		if err != nil {
			return broken(err)
		}
		readers = append(readers, r)
		return nil
	})
	if errors.Is(err, keyspace.ErrDamaged) { // what could be read of it is not all there was
		return nil, broken(err)
	}
	if err != nil {
		return nil, fmt.Errorf("read blocks: %w", err)
	}
	var upTo schema.Position
	for _, r := range readers {
		if upTo.Less(r.To()) {
			upTo = r.To()
		}
	}
	stale, err := s.stale(ctx, key)
	if err != nil {
		return nil, err
	}
	if upTo.Less(stale) {
		if ok, err := s.settled(ctx, key, stale); err != nil || !ok {
			return nil, err
		}
		upTo = stale
	}
	stats, err := statsOf(readers, from, to)
	if err != nil {
		return nil, broken(err)
	}
	data := rollup.Encode(nil, stats)
	if len(data) > keyspace.MaxData {
		return nil, broken(fmt.Errorf("its %d bytes are more than a keyspace takes: the texts of its sensors are too long", len(data)))
	}
	return &keyspace.Rollup{RollupKey: key, Computed: upTo, Data: data}, nil
}

// errBroken is why a rollup can never be computed, or never be stored.
var errBroken = errors.New("it will never count")

func broken(err error) error { return fmt.Errorf("%w: %w", errBroken, err) }

// giveUp gives a span up: readers go to its blocks, and say so themselves when they meet one that cannot be read.
func (s *Sealer) giveUp(key keyspace.RollupKey, err error) {
	if s.rollups.broken == nil || len(s.rollups.broken) >= maxRecent {
		s.rollups.broken = make(map[keyspace.RollupKey]struct{})
	}
	s.rollups.broken[key] = struct{}{}
	s.Logger.Error("a rollup cannot be computed", "gateway", key.Gateway, "start", time.Unix(0, key.Start).UTC(), "error", err)
}

// stale returns up to which position the span is marked.
func (s *Sealer) stale(ctx context.Context, key keyspace.RollupKey) (stale schema.Position, err error) {
	err = s.Keyspace.Rollups(ctx, key.Gateway, key.Span, key.Start, key.Start+1, func(r keyspace.Rollup) error {
		stale = r.Stale
		return nil
	})
	if err != nil {
		return stale, fmt.Errorf("read mark: %w", err)
	}
	return stale, nil
}

// settled reports whether all readings of the span up to a position are in its blocks, though none of these reaches the
// position: a crash came between a mark and its block, and what the log gave again came in other blocks. That is so when
// the head has followed up to there, and neither it nor the gateway's tail holds any of them.
func (s *Sealer) settled(ctx context.Context, key keyspace.RollupKey, upTo schema.Position) (bool, error) {
	if s.Head.Work().Follow < upTo.Sequence {
		return false, nil
	}
	if !s.Head.Loaded(key.Gateway) {
		if err := s.load(ctx, key.Gateway); err != nil {
			return false, err
		}
	}
	if s.Head.Holds(key.Gateway, key.Start, key.Start+key.Span.Length(), upTo) {
		return false, nil
	}
	row, err := s.Keyspace.Gateway(ctx, key.Gateway)
	if schema.Is(err, schema.NotFound) || err == nil && len(row.Tail) == 0 {
		return true, nil
	} else if err != nil {
		return false, fmt.Errorf("read row of gateway %q: %w", key.Gateway, err)
	}
	blocks, err := catalog.DecodeTail(row.Tail)
	if err != nil {
		return false, broken(err)
	}
	for _, data := range blocks {
		r, err := block.Open(data)
		if err != nil {
			return false, broken(err)
		}
		if schema.Start(r.First(), schema.DaySpan) == schema.Start(key.Start, schema.DaySpan) && !upTo.Less(r.From()) {
			return false, nil
		}
	}
	return true, nil
}

// statsOf merges the blocks' readings in [from, to) and sums them up.
func statsOf(readers []*block.Reader, from, to int64) ([]rollup.Stat, error) {
	sources := make([]block.Source, len(readers))
	for i, r := range readers {
		sources[i] = r
	}
	var stats []rollup.Stat
	err := block.MergeSome(sources, from, to, func(series []block.Series) {
		stats = append(stats, rollup.Compute(series)...)
	})
	if err != nil {
		return nil, fmt.Errorf("merge blocks: %w", err)
	}
	return stats, nil
}
