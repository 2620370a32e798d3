package keyspacetest

import (
	"context"
	"math"

	"berth/internal/keyspace"
	"berth/schema"
)

func testLifecycle(t tb, s *space) {
	ctx := t.Context()
	w := s.writer(t)
	write(t, w, put(block("g", 0, 5, at(1, 0), at(1, 5))))
	must(t, w.Close())
	must(t, s.Create(ctx, s.name))
	r := s.reader(t)
	if n := len(blocks(t, r, "g", 0, 10)); n != 1 {
		t.Fatalf("creating a keyspace that is there left %d of 1 block", n)
	}
	must(t, s.Drop(ctx, s.name))
	must(t, s.Drop(ctx, s.name))
	isCode(t, "a reader of what was dropped", r.Blocks(ctx, "g", 0, 10, nil), schema.NotFound, s.name)
	_, err := r.Gateway(ctx, "g")
	isCode(t, "a row of what was dropped", err, schema.NotFound)
	_, err = s.Writer(ctx, s.name)
	isCode(t, "a writer of what was dropped", err, schema.NotFound, s.name)
	_, err = s.Reader(ctx, s.name)
	isCode(t, "opening a reader of what was dropped", err, schema.NotFound, s.name)
	must(t, s.Create(ctx, s.name))
	w = s.writer(t)
	if n := len(blocks(t, w, "g", 0, 10)); n != 0 {
		t.Errorf("a keyspace made anew holds %d blocks of the one dropped", n)
	}
	p, err := w.Position(ctx)
	must(t, err)
	same(t, "position of a keyspace made anew", p, schema.Position{})
	if n := len(blocks(t, r, "g", 0, 10)); n != 0 {
		t.Errorf("a reader from before sees %d blocks of the keyspace dropped", n)
	}
}

func testNames(t tb, s *space) {
	ctx := t.Context()
	for _, name := range []string{"", ".", "..", "a/b", "../up", "A1", "a", "a b", "a.db", "über", "x\x00y", "1a", "/etc"} {
		isCode(t, "create "+name, s.Create(ctx, name), schema.Invalid)
		isCode(t, "drop "+name, s.Drop(ctx, name), schema.Invalid)
		_, err := s.Writer(ctx, name)
		isCode(t, "write "+name, err, schema.Invalid)
		_, err = s.Reader(ctx, name)
		isCode(t, "read "+name, err, schema.Invalid)
	}
}

func testOneWriter(t tb, s *space) {
	w := s.writer(t)
	_, err := s.Writer(t.Context(), s.name)
	isCode(t, "a second writer", err, schema.Conflict, s.name)
	isCode(t, "dropping under a writer", s.Drop(t.Context(), s.name), schema.Conflict, s.name)
	write(t, w, put(block("g", 0, 5, at(1, 0), at(1, 5))))
	s.reader(t)
	must(t, w.Close())
	must(t, w.Close())
	s.writer(t)
}

func testClosed(t tb, s *space) {
	ctx := t.Context()
	w := s.writer(t)
	r := s.reader(t)
	write(t, w, put(block("g", 0, 5, at(1, 0), at(1, 5))))
	blocks(t, r, "g", 0, 10)
	must(t, w.Close())
	must(t, r.Close())
	must(t, r.Close())
	never := func(keyspace.Block) error { t.Error("a closed reader yielded a block"); return nil }
	for what, r := range map[string]keyspace.Reader{"reader": r, "writer": w} {
		isCode(t, what+" closed: blocks", r.Blocks(ctx, "g", 0, 10, never), schema.Unavailable)
		_, err := r.Gateway(ctx, "g")
		isCode(t, what+" closed: gateway", err, schema.Unavailable)
		_, err = r.Gateways(ctx, "", 10)
		isCode(t, what+" closed: gateways", err, schema.Unavailable)
		isCode(t, what+" closed: rollups", r.Rollups(ctx, "g", keyspace.Hour, 0, 10, nil), schema.Unavailable)
		_, err = r.FleetRows(ctx, []string{"g"})
		isCode(t, what+" closed: rows of a fleet", err, schema.Unavailable)
		isCode(t, what+" closed: rollups of a fleet", r.FleetRollups(ctx, []string{"g"}, keyspace.Hour, 0, 10, nil), schema.Unavailable)
		_, err = r.Position(ctx)
		isCode(t, what+" closed: position", err, schema.Unavailable)
	}
	_, err := w.Write(ctx, put(block("g", 0, 5, at(1, 0), at(1, 5))))
	isCode(t, "write to a closed writer", err, schema.Unavailable)
	_, err = w.Durable(ctx)
	isCode(t, "durable of a closed writer", err, schema.Unavailable)
	isCode(t, "unrolled of a closed writer", w.Unrolled(ctx, 0, nil), schema.Unavailable)
	isCode(t, "expire of a closed writer", w.Expire(ctx, 0, 0), schema.Unavailable)
	_, err = w.Stats(ctx)
	isCode(t, "stats of a closed writer", err, schema.Unavailable)
	_, err = w.Size(ctx)
	isCode(t, "size of a closed writer", err, schema.Unavailable)
}

func testContext(t tb, s *space) {
	w := s.writer(t)
	c := put(block("g", 0, 5, at(1, 0), at(1, 5)), block("g", 10, 15, at(2, 0), at(2, 5)))
	c.Gateways = []keyspace.Gateway{{Name: "g", Position: at(2, 5)}}
	c.Marks = []keyspace.Mark{{RollupKey: keyspace.RollupKey{Gateway: "g", Span: keyspace.Hour}, Stale: at(1, 0)}}
	write(t, w, c)

	ended, end := context.WithCancel(t.Context())
	end()
	_, err := w.Write(ended, c)
	isError(t, "write", err, context.Canceled)
	isError(t, "blocks", w.Blocks(ended, "g", 0, 10, func(keyspace.Block) error { return nil }), context.Canceled)
	_, err = w.Gateway(ended, "g")
	isError(t, "gateway", err, context.Canceled)
	_, err = w.Gateways(ended, "", 10)
	isError(t, "gateways", err, context.Canceled)
	isError(t, "rollups", w.Rollups(ended, "g", keyspace.Hour, 0, 10, func(keyspace.Rollup) error { return nil }), context.Canceled)
	_, err = w.FleetRows(ended, []string{"g"})
	isError(t, "rows of a fleet", err, context.Canceled)
	isError(t, "rollups of a fleet", w.FleetRollups(ended, []string{"g"}, keyspace.Hour, 0, 10, nil), context.Canceled)
	_, err = w.Position(ended)
	isError(t, "position", err, context.Canceled)
	_, err = w.Size(ended)
	isError(t, "size", err, context.Canceled)
	isError(t, "unrolled", w.Unrolled(ended, math.MaxInt64, func(keyspace.RollupKey) bool { return true }), context.Canceled)
	isError(t, "expire", w.Expire(ended, 0, 0), context.Canceled)
	_, err = s.Writer(ended, s.name)
	isError(t, "open a writer", err, context.Canceled)
	_, err = s.Reader(ended, s.name)
	isError(t, "open a reader", err, context.Canceled)
	isError(t, "create", s.Create(ended, s.name), context.Canceled)
	isError(t, "drop", s.Drop(ended, s.name), context.Canceled)

	during, stop := context.WithCancel(t.Context())
	seen := 0
	err = w.Blocks(during, "g", 0, 5*schema.DaySpan, func(keyspace.Block) error { seen++; stop(); return during.Err() })
	isError(t, "blocks whose context ends meanwhile", err, context.Canceled)
	if seen != 1 {
		t.Errorf("%d blocks were yielded, want 1: the first ended it", seen)
	}
	if n := len(blocks(t, w, "g", 0, 20)); n != 2 {
		t.Errorf("%d blocks afterwards, want 2", n)
	}
	write(t, w, c)
}

func testReopen(t tb, s *space) {
	w := s.writer(t)
	key := keyspace.RollupKey{Gateway: "g", Span: keyspace.Day, Start: 0}
	c := &keyspace.Changes{
		Marks:    []keyspace.Mark{{RollupKey: key, Stale: at(7, 1)}},
		Blocks:   []keyspace.Block{block("g", 0, 5, at(7, 0), at(7, 1))},
		Gateways: []keyspace.Gateway{{Name: "g", Position: at(8, 0), Entry: []byte("entry"), Tail: []byte("tail")}},
		Rollups:  []keyspace.Rollup{{RollupKey: key, Computed: at(6, 0), Data: []byte("sums")}},
	}
	write(t, w, c)
	must(t, w.Close())
	w = s.writer(t)
	for what, r := range map[string]keyspace.Reader{"the next writer": w, "a reader": s.reader(t)} {
		same(t, what+"'s blocks", blocks(t, r, "g", 0, 10), c.Blocks)
		g, err := r.Gateway(t.Context(), "g")
		must(t, err)
		same(t, what+"'s gateway", g, c.Gateways[0])
		same(t, what+"'s rollups", rollups(t, r, "g", keyspace.Day, 0, 1),
			[]keyspace.Rollup{{RollupKey: key, Computed: at(6, 0), Stale: at(7, 1), Data: []byte("sums")}})
		p, err := r.Position(t.Context())
		must(t, err)
		same(t, what+"'s position", p, at(8, 0))
	}
	same(t, "unrolled", unrolled(t, w, math.MaxInt64), []keyspace.RollupKey{key})
	write(t, w, c)
	same(t, "blocks after writing all again", blocks(t, w, "g", 0, 10), c.Blocks)
}

func testTwoKeyspaces(t tb, s *space) {
	other := &space{Backend: s.Backend, name: s.name + "b"}
	must(t, s.Drop(t.Context(), other.name))
	must(t, s.Create(t.Context(), other.name))
	w := s.writer(t)
	o, err := s.Writer(t.Context(), other.name)
	must(t, err)
	write(t, w, put(block("g", 0, 5, at(9, 0), at(9, 5))))
	if n := len(blocks(t, o, "g", 0, 10)); n != 0 {
		t.Errorf("a keyspace shows %d blocks of another", n)
	}
	p, err := o.Position(t.Context())
	must(t, err)
	same(t, "position of the other keyspace", p, schema.Position{})
	must(t, o.Close())
	must(t, s.Drop(t.Context(), other.name))
	if n := len(blocks(t, w, "g", 0, 10)); n != 1 {
		t.Errorf("dropping another keyspace left %d of 1 block", n)
	}
}

func testSize(t tb, s *space) {
	w := s.writer(t)
	write(t, w, put(block("g", 0, 5, at(1, 0), at(1, 5))))
	size, err := w.Size(t.Context())
	must(t, err)
	stats, err := w.Stats(t.Context())
	must(t, err)
	if size < 0 || stats.Bytes < size/2 || stats.Bytes > 2*size+1<<20 { // it may be measured anew meanwhile
		t.Errorf("the size is %d bytes, and stats say %d", size, stats.Bytes)
	}
}

func testReceipts(t tb, s *space) {
	w := s.writer(t)
	d, err := w.Durable(t.Context())
	must(t, err)
	same(t, "durable before any write of a new keyspace", d, keyspace.Opened)
	for i := keyspace.Receipt(1); i <= 3; i++ {
		got := write(t, w, put(block("g", int64(i), int64(i), at(uint64(i), 0), at(uint64(i), 0))))
		same(t, "receipt", got, keyspace.Opened+i)
		next, err := w.Durable(t.Context())
		must(t, err)
		if next < d || next > got {
			t.Errorf("durable up to %d after receipt %d, and before up to %d", next, got, d)
		}
		d = next
	}
	same(t, "receipt of no changes", write(t, w, &keyspace.Changes{}), keyspace.Opened+4)
	stats, err := w.Stats(t.Context())
	must(t, err)
	if stats.Bytes < 0 || stats.Gateways != 0 {
		t.Errorf("it occupies %d bytes, and has %d gateways of none", stats.Bytes, stats.Gateways)
	}
}
