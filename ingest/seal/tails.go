package seal

import (
	"context"
	"time"

	"berth/ingest/head"
)

// tailRound is a round of tails: the rows of all gateways that were behind when it began are written, in pieces; then
// the log can go up to where the head was.
type tailRound struct {
	running bool
	names   []string
	upTo    uint64 // followed when it began
	begun   time.Time
	ended   time.Time // of the round before
	due     time.Time
	took    time.Duration // the round before
}

// arm begins a round when one is due and there is something to write, or to trim.
func (t *tailRound) arm(now time.Time, work *head.Work, h *head.Head) {
	early := work.Grown >= logBehind && !now.Before(t.ended.Add(time.Second))
	switch {
	case t.running || !early && now.Before(t.due):
	case work.Dirty == 0 && work.Follow == t.upTo:
		t.due = now.Add(tailsEvery)
	default:
		t.begun = now
		t.start(h)
	}
}

func (t *tailRound) start(h *head.Head) {
	t.running = true
	t.names, t.upTo = h.TakeDirty()
}

// end notes the end of a round and when the next is due: rounds that take long are far apart.
func (t *tailRound) end(now time.Time) {
	t.running, t.names, t.ended, t.took = false, nil, now, now.Sub(t.begun)
	t.due = now.Add(max(tailsEvery, tailsRest*t.took))
}

// rested reports whether a round may begin in a hurry.
func (t *tailRound) rested(now time.Time) bool {
	return !t.running && now.Sub(t.ended) >= max(hurryRest, t.took)
}

// sealTails writes the next rows of the round, and at its end has the log trimmed.
func (s *Sealer) sealTails(ctx context.Context) error {
	t := &s.tails
	names := t.names[:min(tailBatch, len(t.names))]
	for _, name := range names {
		if s.Head.Loaded(name) {
			continue
		}
		if err := s.load(ctx, name); err != nil {
			return err
		}
	}
	w := &write{}
	for _, name := range names {
		if row := s.Head.Snapshot(name); row != nil {
			w.rows = append(w.rows, row)
			w.parts = append(w.parts, row.Parts...)
		}
	}
	t.names = t.names[len(names):]
	s.hand = w
	if err := s.put(ctx); err != nil {
		return err
	}
	return s.endTails(ctx)
}

// endTails ends the round when all its rows are written: the log can go when they are durable.
func (s *Sealer) endTails(ctx context.Context) error {
	if t := &s.tails; t.running && len(t.names) == 0 {
		s.pending = append(s.pending, written{receipt: s.last, trim: t.upTo})
		t.end(s.Steady())
	}
	return s.settle(ctx)
}
