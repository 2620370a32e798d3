package query

import (
	"context"
	"fmt"
	"testing"
	"time"

	"berth/internal/api"
	"berth/internal/headapi"
	"berth/internal/keyspace"
	"berth/reports/query/querytest"
	"berth/schema"
	"berth/schema/block"
	"berth/schema/catalog"
)

// mover is a world whose one reading moves on while a question is answered: from the head to the gateway's tail, and
// from there into a block. It counts what the engine asks of the head and of the keyspace, and moves before that.
type mover struct {
	keyspace.Reader
	w     *world
	write func(*keyspace.Changes)
	steps [2]int // before which of the engine's asks the reading moves
	asked int
}

func (m *mover) move() {
	m.asked++
	e := m.w.Events[0]
	b := block.NewBuilder(testGateway)
	b.Add(e.Sensor, e.Time, e.Value, querytest.Position(0))
	data, err := block.Encode(nil, b.Content())
	if err != nil {
		panic(err)
	}
	row := keyspace.Gateway{Name: testGateway, Position: querytest.Position(0), Entry: catalog.EncodeEntry(nil, m.w.Entry(0, 1))}
	if m.asked == m.steps[0] {
		row.Tail = catalog.EncodeTail(nil, [][]byte{data})
		m.write(&keyspace.Changes{Gateways: []keyspace.Gateway{row}})
		m.w.Head.Parts, m.w.Head.Entries = nil, nil // only once the keyspace has it
	}
	if m.asked == m.steps[1] {
		key := keyspace.BlockKey{Gateway: testGateway, First: e.Time, From: querytest.Position(0), To: querytest.Position(0)}
		mark := keyspace.Mark{Stale: querytest.Position(0)}
		mark.RollupKey = keyspace.RollupKey{Gateway: testGateway, Span: keyspace.Hour, Start: schema.Start(e.Time, schema.HourSpan)}
		m.write(&keyspace.Changes{
			Marks: []keyspace.Mark{mark}, Blocks: []keyspace.Block{{BlockKey: key, Last: e.Time, Data: data}},
			Gateways: []keyspace.Gateway{row},
		})
	}
}

// Ask is the head's.
func (m *mover) Ask(ctx context.Context, subject string, request []byte, chunk func([]byte) error) error {
	m.move()
	return m.w.Head.Ask(ctx, subject, request, chunk)
}

// Gateway, Gateways, Blocks and Rollups are the keyspace's.
func (m *mover) Gateway(ctx context.Context, name string) (keyspace.Gateway, error) {
	m.move()
	return m.Reader.Gateway(ctx, name)
}

func (m *mover) Gateways(ctx context.Context, after string, limit int) ([]keyspace.Gateway, error) {
	m.move()
	return m.Reader.Gateways(ctx, after, limit)
}

func (m *mover) Blocks(ctx context.Context, gateway string, from, to int64, yield func(keyspace.Block) error) error {
	m.move()
	return m.Reader.Blocks(ctx, gateway, from, to, yield)
}

func (m *mover) Rollups(
	ctx context.Context, gateway string, span keyspace.Span, from, to int64, yield func(keyspace.Rollup) error,
) error {
	m.move()
	return m.Reader.Rollups(ctx, gateway, span, from, to, yield)
}

// FleetRows and FleetRollups are the keyspace's.
func (m *mover) FleetRows(ctx context.Context, names []string) ([]keyspace.Gateway, error) {
	m.move()
	return m.Reader.FleetRows(ctx, names)
}

func (m *mover) FleetRollups(
	ctx context.Context, names []string, span keyspace.Span, from, to int64, yield func(keyspace.RollupKey, []byte) error,
) error {
	m.move()
	return m.Reader.FleetRollups(ctx, names, span, from, to, yield)
}

// TestNothingFallsBetweenHeadAndKeyspace moves a reading on at every moment of every question.
func TestNothingFallsBetweenHeadAndKeyspace(t *testing.T) {
	questions := map[string]func(ctx context.Context, e *Engine) (found int, err error){
		"readings": func(ctx context.Context, e *Engine) (found int, err error) {
			r, err := e.Readings(ctx, ReadingsRequest{Gateway: testGateway, From: now.Add(-time.Hour), To: now})
			if err != nil {
				return 0, err
			}
			err = r.Walk(ctx, func(string, int64, schema.Value) error { found++; return nil })
			return found, err
		},
		"series of an hour": func(ctx context.Context, e *Engine) (found int, err error) { return counted(ctx, e, time.Hour) },
		"series of a month": func(ctx context.Context, e *Engine) (found int, err error) {
			return counted(ctx, e, 30*24*time.Hour)
		},
		"a fleet's month": func(ctx context.Context, e *Engine) (found int, err error) {
			q := SeriesRequest{From: now.AddDate(0, -1, 0), To: now}
			f, err := e.FleetSeries(ctx, FleetRequest{Sensors: []string{"a"}}, q)
			if err != nil {
				return 0, err
			}
			err = f.Walk(ctx, func(a *api.SeriesAnswer) error { found += countOf(a); return nil })
			return found, err
		},
		"latest": func(ctx context.Context, e *Engine) (found int, err error) {
			l, err := e.Latest(ctx, testGateway)
			if err != nil {
				return 0, err
			}
			return len(l.Readings), nil
		},
		"gateways": func(ctx context.Context, e *Engine) (found int, err error) {
			page, err := e.Gateways(ctx, GatewaysRequest{Search: testGateway})
			if err != nil {
				return 0, err
			}
			return len(page.Gateways), nil
		},
	}
	for name, ask := range questions {
		for first := 1; first <= 5; first++ {
			for second := first; second <= 6; second++ {
				t.Run(fmt.Sprintf("%s/%d-%d", name, first, second), func(t *testing.T) {
					m := newMover(t, [2]int{first, second})
					if found, err := ask(t.Context(), m.w.engine); err != nil || found != 1 {
						t.Errorf("found %d, %v", found, err)
					}
				})
			}
		}
	}
}

func counted(ctx context.Context, e *Engine, span time.Duration) (found int, err error) {
	answer, err := e.Series(ctx, SeriesRequest{Gateway: testGateway, Sensors: []string{"a"}, From: now.Add(-span), To: now})
	if err != nil {
		return 0, err
	}
	return countOf(answer), nil
}

// countOf returns how many readings an answer about one sensor counts.
func countOf(a *api.SeriesAnswer) (n int) {
	for _, count := range a.Series[0].Count {
		n += int(count)
	}
	return n
}

func newMover(t *testing.T, steps [2]int) *mover {
	t.Helper()
	w := newWorld(t)
	w.Events = []event{{Sensor: "a", Time: now.Add(-time.Minute).UnixNano(), Value: schema.FloatValue(1)}}
	m := &mover{Reader: w.Store, w: w, steps: steps, write: func(c *keyspace.Changes) {
		if _, err := w.Store.Write(context.Background(), c); err != nil {
			t.Fatal(err)
		}
	}}
	b := block.NewBuilder(testGateway)
	b.Add("a", w.Events[0].Time, w.Events[0].Value, querytest.Position(0))
	data, err := block.Encode(nil, b.Content())
	if err != nil {
		t.Fatal(err)
	}
	w.Head.Parts, w.Head.Entries = [][]byte{data}, []*catalog.Entry{w.Entry(0, 1)}
	w.Head.Header = headapi.Header{Complete: true}
	w.engine.store, w.engine.head = m, m
	return m
}
