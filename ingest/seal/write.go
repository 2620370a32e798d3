package seal

import (
	"context"
	"fmt"
	"runtime"

	"berth/ingest/head"
	"berth/internal/keyspace"
	"berth/schema"
	"berth/schema/record"
)

// write is one keyspace.Changes and what it is made of.
type write struct {
	parts   []head.Part
	rows    []*head.Snapshot
	encoded int // how many of the parts, then of the rows, are in changes
	changes keyspace.Changes
}

// written is a write that waits to be durable, or the end of a round of tails.
type written struct {
	receipt keyspace.Receipt
	parts   []head.Part
	rows    []keyspace.Gateway
	trim    uint64
}

// put writes what is in hand.
func (s *Sealer) put(ctx context.Context) error {
	w := s.hand
	if err := s.fill(ctx, w); err != nil {
		return err
	}
	c := &w.changes
	if len(c.Blocks)+len(c.Gateways)+len(c.Rollups) == 0 {
		s.Head.Release(w.parts)
		s.hand = nil
		return nil
	}
	receipt, err := s.Keyspace.Write(ctx, c)
	if schema.Is(err, schema.Invalid) {
		receipt, err = s.putSingly(ctx, w)
	}
	if err != nil {
		return fmt.Errorf("write to keyspace: %w", err)
	}
	s.counts.add(c)
	s.rollups.marked(s.Steady(), s.Now(), c.Marks)
	s.last = max(s.last, receipt)
	s.pending = append(s.pending, written{receipt: s.last, parts: w.parts, rows: c.Gateways})
	s.hand = nil
	return nil
}

// fill makes blocks of the parts in hand, after the rows of their gateways have been read, and rows of the snapshots. It
// goes on where an error ended it before.
func (s *Sealer) fill(ctx context.Context, w *write) error {
	for _, name := range s.Head.Unloaded(w.parts) {
		if err := s.load(ctx, name); err != nil {
			return err
		}
	}
	for ; w.encoded < len(w.parts); w.encoded++ {
		yield()
		p := w.parts[w.encoded]
		block, marks, ok, err := s.encoder.Block(p)
		switch {
		case err != nil:
			r := &Refused{Gateway: p.Gateway(), What: "block", Form: record.FormMessage, Readings: p.Readings(), Data: p.Message(), Why: err}
			if err := s.aside(ctx, r); err != nil {
				return err
			}
		case ok:
			w.changes.Blocks = append(w.changes.Blocks, block)
			w.changes.Marks = append(w.changes.Marks, marks...)
		}
	}
	for ; w.encoded < len(w.parts)+len(w.rows); w.encoded++ {
		yield()
		row := w.rows[w.encoded-len(w.parts)]
		tail, refused := s.encoder.Tail(row)
		for _, r := range refused {
			if err := s.aside(ctx, &Refused{Gateway: row.Name, What: "tail", Form: record.FormMessage, Readings: r.Readings, Data: r.Message, Why: r.Why}); err != nil {
				return err
			}
		}
		w.changes.Gateways = append(w.changes.Gateways, keyspace.Gateway{Name: row.Name, Position: row.Position, Entry: row.Entry, Tail: tail})
	}
	return nil
}

// yield lets goroutines run that are ready, before more is encoded. The scheduler by itself would take the processor from
// the sealer after 10 ms only, and the way of a frame to its acknowledgement has five steps, each of which would wait that
// long for it while both processors seal, collect garbage or decode.
func yield() { runtime.Gosched() }

// load reads a gateway's row into the head.
func (s *Sealer) load(ctx context.Context, name string) error {
	row, err := s.Keyspace.Gateway(ctx, name)
	switch {
	case schema.Is(err, schema.NotFound):
		return s.Head.Load(name, nil, nil)
	case err != nil:
		return fmt.Errorf("read row of gateway %q: %w", name, err)
	}
	return s.Head.Load(name, &row, func(why error) error {
		return s.aside(ctx, &Refused{Gateway: name, What: "row", Form: record.FormTail, Data: row.Tail, Why: why})
	})
}

func (s *Sealer) aside(ctx context.Context, r *Refused) error {
	if err := s.Aside(ctx, r); err != nil {
		return fmt.Errorf("set aside %s of gateway %q: %w", r.What, r.Gateway, err)
	}
	s.Logger.Error("the keyspace cannot take this and it was set aside", "what", r.What, "gateway", r.Gateway, "readings", r.Readings, "error", r.Why)
	return nil
}

// putSingly writes what is in hand piece by piece, since the keyspace refused something in it, and sets that aside.
func (s *Sealer) putSingly(ctx context.Context, w *write) (last keyspace.Receipt, err error) {
	c := &w.changes
	for i := range c.Blocks {
		b := &c.Blocks[i]
		one := &keyspace.Changes{Blocks: c.Blocks[i : i+1]}
		for _, m := range c.Marks {
			if m.Gateway == b.Gateway && m.Stale == b.To {
				one.Marks = append(one.Marks, m)
			}
		}
		r := &Refused{Gateway: b.Gateway, What: "block", Form: record.FormBlock, Data: b.Data}
		if last, err = s.putOne(ctx, one, r, last); err != nil {
			return 0, err
		}
	}
	for i := range c.Gateways {
		g := &c.Gateways[i]
		r := &Refused{Gateway: g.Name, What: "row", Form: record.FormTail, Data: g.Tail}
		if last, err = s.putOne(ctx, &keyspace.Changes{Gateways: c.Gateways[i : i+1]}, r, last); err != nil {
			return 0, err
		}
	}
	for i := range c.Rollups {
		r := &Refused{Gateway: c.Rollups[i].Gateway, What: "rollup", Form: record.FormRollup, Data: c.Rollups[i].Data}
		if last, err = s.putOne(ctx, &keyspace.Changes{Rollups: c.Rollups[i : i+1]}, r, last); err != nil {
			return 0, err
		}
	}
	return last, nil
}

func (s *Sealer) putOne(ctx context.Context, c *keyspace.Changes, r *Refused, last keyspace.Receipt) (keyspace.Receipt, error) {
	receipt, err := s.Keyspace.Write(ctx, c)
	if !schema.Is(err, schema.Invalid) {
		return receipt, err
	}
	r.Why = err
	return last, s.aside(ctx, r)
}

// trimError says that the log does not let go of what is stored: the keyspace is not to blame.
type trimError struct{ cause error }

func (e *trimError) Error() string { return "trim the log: " + e.cause.Error() }
func (e *trimError) Unwrap() error { return e.cause }

// settle releases what has become durable, and trims the log.
func (s *Sealer) settle(ctx context.Context) error {
	if len(s.pending) == 0 {
		return nil
	}
	durable, err := s.Keyspace.Durable(ctx)
	if err != nil {
		return fmt.Errorf("ask what is durable: %w", err)
	}
	for len(s.pending) > 0 && s.pending[0].receipt <= durable {
		w := &s.pending[0]
		for i := range w.rows {
			s.Head.Stored(&w.rows[i])
		}
		s.Head.Release(w.parts)
		w.parts, w.rows = nil, nil
		if w.trim > 0 {
			if err := s.Trim(ctx, w.trim); err != nil {
				return &trimError{err}
			}
		}
		s.pending = s.pending[1:]
	}
	if len(s.pending) == 0 {
		s.pending = nil
	}
	return nil
}
