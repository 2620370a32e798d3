package query

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"berth/internal/api"
	"berth/internal/keyspace"
	"berth/reports/query/querytest"
	"berth/schema"
	"berth/schema/block"
	"berth/schema/catalog"
	"berth/schema/rollup"
)

// rottenStore is a keyspace of which some bytes are not what was written.
type rottenStore struct {
	keyspace.Writer
	block, rollup   func(first int64) bool
	tail, entry     bool
	page            bool // it says itself that something is damaged
	gateways, rolls bool // the same for the rows of gateways and the rollups
}

func flipped(data []byte) []byte {
	data = slices.Clone(data)
	if len(data) > 0 {
		data[len(data)/2] ^= 1
	}
	return data
}

var errPage = schema.Errorf(schema.Internal, "p1/2026-03.db is damaged").WithCause(keyspace.ErrDamaged)

func (s *rottenStore) Blocks(ctx context.Context, gateway string, from, to int64, yield func(keyspace.Block) error) error {
	err := s.Writer.Blocks(ctx, gateway, from, to, func(b keyspace.Block) error {
		if s.block != nil && s.block(b.First) {
			b.Data = flipped(b.Data)
		}
		return yield(b)
	})
	if err == nil && s.page {
		err = fmt.Errorf("read: %w", errPage)
	}
	return err
}

func (s *rottenStore) Gateway(ctx context.Context, name string) (keyspace.Gateway, error) {
	if s.gateways {
		return keyspace.Gateway{}, errPage
	}
	g, err := s.Writer.Gateway(ctx, name)
	return s.rot(g), err
}

func (s *rottenStore) Gateways(ctx context.Context, after string, limit int) ([]keyspace.Gateway, error) {
	if s.gateways {
		return nil, errPage
	}
	all, err := s.Writer.Gateways(ctx, after, limit)
	for i := range all {
		all[i] = s.rot(all[i])
	}
	return all, err
}

func (s *rottenStore) rot(g keyspace.Gateway) keyspace.Gateway {
	if s.tail {
		g.Tail = flipped(g.Tail)
	}
	if s.entry {
		g.Entry = flipped(g.Entry)
	}
	return g
}

func (s *rottenStore) Rollups(ctx context.Context, gateway string, span keyspace.Span, from, to int64, yield func(keyspace.Rollup) error) error {
	err := s.Writer.Rollups(ctx, gateway, span, from, to, func(r keyspace.Rollup) error {
		if s.rollup != nil && s.rollup(r.Start) {
			r.Data = flipped(r.Data)
		}
		return yield(r)
	})
	if err == nil && s.rolls {
		err = errPage
	}
	return err
}

func (s *rottenStore) FleetRows(ctx context.Context, names []string) ([]keyspace.Gateway, error) {
	if s.gateways {
		return nil, errPage
	}
	all, err := s.Writer.FleetRows(ctx, names)
	for i := range all {
		all[i] = s.rot(all[i])
	}
	return all, err
}

// FleetRollups yields what is to be read before it says what is damaged: nothing of it may count twice.
func (s *rottenStore) FleetRollups(
	ctx context.Context, names []string, span keyspace.Span, from, to int64, yield func(keyspace.RollupKey, []byte) error,
) error {
	err := s.Writer.FleetRollups(ctx, names, span, from, to, func(key keyspace.RollupKey, data []byte) error {
		if s.rollup != nil && s.rollup(key.Start) {
			data = flipped(data)
		}
		return yield(key, data)
	})
	if err == nil && s.rolls {
		err = errPage
	}
	return err
}

// TestDamageIsNamedAndTheRestAnswered: three days of a block each, with rollups, and a tail of today; then something rots.
func TestDamageIsNamedAndTheRestAnswered(t *testing.T) {
	today := schema.Start(now.UnixNano(), schema.DaySpan)
	at := func(back int) int64 { return today - int64(back)*schema.DaySpan + int64(time.Hour) }
	second := func(t int64) bool { return schema.Start(t, schema.DaySpan) == today-2*schema.DaySpan }
	for _, c := range []struct {
		name    string
		rot     rottenStore
		missing []int64  // times of readings
		charted []uint64 // readings of each day of a chart of rollups
		named   string   // in the reason; empty: the answers are complete
		listed  bool     // the list of gateways, and latest, are not complete either
	}{
		{name: "nothing", charted: []uint64{1, 1, 1, 1}},
		{name: "a block", rot: rottenStore{block: second}, missing: []int64{at(2)}, charted: []uint64{1, 1, 1, 1}, named: `the block of gateway "g1" from 2026-03-08T01:00:00Z`},
		{name: "a block and its rollup", rot: rottenStore{block: second, rollup: second}, missing: []int64{at(2)}, charted: []uint64{1, 0, 1, 1}, named: `the block of gateway "g1" from 2026-03-08`},
		{name: "a rollup", rot: rottenStore{rollup: second}, charted: []uint64{1, 1, 1, 1}},
		{name: "all rollups", rot: rottenStore{rolls: true}, charted: []uint64{1, 1, 1, 1}},
		{name: "the tail", rot: rottenStore{tail: true}, missing: []int64{at(0)}, charted: []uint64{1, 1, 1, 0}, named: `tail of gateway "g1"`},
		{name: "the entry", rot: rottenStore{entry: true}, charted: []uint64{1, 1, 1, 1}, named: `entry of gateway "g1"`, listed: true},
		{name: "a page of a month", rot: rottenStore{page: true}, charted: []uint64{1, 1, 1, 1}, named: "2026-03.db is damaged"},
		{name: "a page of the catalog", rot: rottenStore{gateways: true}, missing: []int64{at(0)}, charted: []uint64{1, 1, 1, 0}, named: "is damaged", listed: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.threeDaysAndATail(t, at)
			c.rot.Writer = w.Store
			w.engine.store = &c.rot
			var want, got []int64
			for back := 3; back >= 0; back-- {
				if !slices.Contains(c.missing, at(back)) {
					want = append(want, at(back))
				}
			}
			answer, err := w.engine.Readings(w.ctx, ReadingsRequest{Gateway: testGateway, From: now.AddDate(0, 0, -5), To: now})
			if err != nil {
				t.Fatal(err)
			}
			err = answer.Walk(w.ctx, func(_ string, at int64, _ schema.Value) error { got = append(got, at); return nil })
			if err != nil || !slices.Equal(want, got) {
				t.Errorf("readings at %v, want %v (error %v)", got, want, err)
			}
			says(t, "readings", answer.Complete, c.named)
			if (answer.Damaged > 0) != (c.named != "") {
				t.Errorf("%d places are counted", answer.Damaged)
			}
			chart, err := w.engine.Series(w.ctx, SeriesRequest{Gateway: testGateway, Sensors: []string{"a"}, From: now.AddDate(0, 0, -4), To: now, Points: 8})
			if err != nil {
				t.Fatal(err)
			}
			counts := make([]uint64, 4)
			for i, ms := range chart.Series[0].Time {
				counts[3-(today/1e6-ms)/(24*3600e3)] = chart.Series[0].Count[i]
			}
			if d := cmp.Diff(c.charted, counts); d != "" {
				t.Errorf("the chart counts (-want +got):\n%s", d)
			}
			if !chart.Complete.Complete {
				says(t, "series", chart.Complete, c.named)
			}
			q := SeriesRequest{Sensors: []string{"a"}, From: chart.From, To: chart.To, Points: 8}
			fleet := &FleetSeries{engine: w.engine, names: []string{testGateway}, series: q}
			err = fleet.Walk(w.ctx, func(one *api.SeriesAnswer) error {
				if d := cmp.Diff(chart, one); d != "" {
					t.Errorf("asked about with its fleet (-alone +fleet):\n%s", d)
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
			list, err := w.engine.Gateways(w.ctx, GatewaysRequest{})
			if err != nil || list.Complete.Complete == c.listed {
				t.Errorf("the list says %+v, %v", list, err)
			}
			latest, err := w.engine.Latest(w.ctx, testGateway)
			if err != nil || latest.Complete.Complete == c.listed {
				t.Errorf("latest says %+v, %v", latest, err)
			}
			if damage, _ := w.engine.Damage(); (damage == "") != (c.name == "nothing") || !strings.Contains(damage, c.named) {
				t.Errorf("the engine has met %q", damage)
			}
		})
	}
}

// says checks that an answer is complete, or says what is missing.
func says(t *testing.T, what string, got api.Complete, named string) {
	t.Helper()
	if got.Complete != (named == "") || !strings.Contains(got.Reason, named) {
		t.Errorf("%s say %+v, want %q", what, got, named)
	}
}

// threeDaysAndATail stores a reading a day: of the first three as blocks with rollups, of the last in the tail.
func (w *world) threeDaysAndATail(t *testing.T, at func(back int) int64) {
	t.Helper()
	var c keyspace.Changes
	for back := 3; back >= 0; back-- {
		w.Events = append(w.Events, event{Sensor: "a", Time: at(back), Value: schema.FloatValue(1)})
		p := querytest.Position(3 - back)
		b := block.NewBuilder(testGateway)
		b.Add("a", at(back), schema.FloatValue(1), p)
		content := b.Content()
		data, err := block.Encode(nil, content)
		if err != nil {
			t.Fatal(err)
		}
		if back == 0 {
			c.Gateways = []keyspace.Gateway{{Name: testGateway, Position: p, Entry: catalog.EncodeEntry(nil, w.Entry(0, 4)), Tail: catalog.EncodeTail(nil, [][]byte{data})}}
			break
		}
		c.Blocks = append(c.Blocks, keyspace.Block{BlockKey: keyspace.BlockKey{Gateway: testGateway, First: at(back), From: p, To: p}, Last: at(back), Data: data})
		series, err := block.Merge([]block.Source{content}, nil, math.MinInt64, math.MaxInt64)
		if err != nil {
			t.Fatal(err)
		}
		for _, span := range []keyspace.Span{keyspace.Hour, keyspace.Day} {
			key := keyspace.RollupKey{Gateway: testGateway, Span: span, Start: schema.Start(at(back), span.Length())}
			c.Marks = append(c.Marks, keyspace.Mark{RollupKey: key, Stale: p})
			c.Rollups = append(c.Rollups, keyspace.Rollup{RollupKey: key, Computed: p, Data: rollup.Encode(nil, rollup.Compute(series))})
		}
	}
	if _, err := w.Store.Write(w.ctx, &c); err != nil {
		t.Fatal(err)
	}
}
