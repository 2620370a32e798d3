package query

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"berth/internal/api"
	"berth/internal/keyspace"
	"berth/schema"
	"berth/schema/block"
	"berth/schema/catalog"
)

// TestAFleetIsAnsweredAsEachOfIt: of more gateways than are asked about at once, some with readings that only the head has yet,
// each answer is the one that a question about that gateway alone has; and so it is when the head is behind, or away.
func TestAFleetIsAnsweredAsEachOfIt(t *testing.T) {
	const gateways, sensor = 2*atOnce + 3, "readings.sensor03"
	w := fleetWorld(t, gateways, 3)
	for g := range gateways {
		if g%3 == 0 {
			continue
		}
		for i := range 3 { // a part a day: what is stored of it, and what is not
			at := now.UnixNano() - int64(i)*schema.DaySpan
			b := block.NewBuilder(fmt.Sprintf("truck_%04d", g))
			b.Add(sensor, at, schema.FloatValue(1000+float64(g*10+i)), Position(2))
			data, err := block.Encode(nil, b.Content())
			if err != nil {
				t.Fatal(err)
			}
			w.Head.Parts = append(w.Head.Parts, data)
		}
	}
	for _, days := range []int{1, 3} {
		for _, state := range []string{"whole", "behind", "away"} {
			w.Head.Away, w.Head.Header.Complete = state == "away", state == "whole"
			q := SeriesRequest{Sensors: []string{sensor}, From: now.AddDate(0, 0, -days), To: now, Points: 50}
			if state == "behind" {
				q.Values = []string{"max", "count"}
			}
			var asked []string
			f, err := w.engine.FleetSeries(w.ctx, FleetRequest{Sensors: q.Sensors}, q)
			if err != nil {
				t.Fatal(err)
			}
			err = f.Walk(w.ctx, func(a *api.SeriesAnswer) error {
				asked = append(asked, a.Gateway)
				q.Gateway = a.Gateway
				alone, err := w.engine.Series(w.ctx, q)
				if d := cmp.Diff(alone, a); err != nil || d != "" {
					t.Errorf("%d days of %s, the head %s: %v\n%s", days, a.Gateway, state, err, d)
				}
				if s := &a.Series[0]; (s.Min == nil) != (state == "behind") || (s.Mean == nil) != (state == "behind") || s.Max == nil || s.Count == nil {
					t.Errorf("the values of %s, the head %s, are not those that were asked for: %+v", a.Gateway, state, s)
				}
				if a.Complete.Complete != (state == "whole") {
					t.Errorf("with the head %s the answer about %s says that it is complete: %v", state, a.Gateway, a.Complete.Complete)
				}
				return nil
			})
			if err != nil || len(asked) != gateways || !slices.IsSorted(asked) {
				t.Errorf("%v: of %d gateways, %v", err, len(asked), asked)
			}
		}
	}
}

// tail gives a gateway of a fleet a tail with a reading.
func (w *world) tail(t *testing.T, gateway, sensor string, at int64, value float64) {
	t.Helper()
	b := block.NewBuilder(gateway)
	b.Add(sensor, at, schema.FloatValue(value), Position(1))
	data, err := block.Encode(nil, b.Content())
	if err != nil {
		t.Fatal(err)
	}
	row, err := w.Store.Gateway(w.ctx, gateway)
	if err != nil {
		t.Fatal(err)
	}
	row.Position, row.Tail = Position(2), catalog.EncodeTail(nil, [][]byte{data})
	if _, err := w.Store.Write(w.ctx, &keyspace.Changes{Gateways: []keyspace.Gateway{row}}); err != nil {
		t.Fatal(err)
	}
}

// TestTheHeadIsNotAskedForWhatItHasNot: once it has said, whole, that it has no readings of a group's gateways in the range. Their tails
// are read all the same.
func TestTheHeadIsNotAskedForWhatItHasNot(t *testing.T) {
	const gateways = 2 * atOnce
	w := fleetWorld(t, gateways, 3)
	b := block.NewBuilder("truck_0001")
	b.Add("readings.sensor03", now.UnixNano(), schema.FloatValue(1000), Position(2))
	data, err := block.Encode(nil, b.Content())
	if err != nil {
		t.Fatal(err)
	}
	w.Head.Parts = [][]byte{data}
	ask := func(to time.Time) (asked int64, most float64) {
		before := w.Head.Fleets.Load()
		q := SeriesRequest{Sensors: []string{"readings.sensor03"}, From: to.AddDate(0, 0, -3), To: to}
		f, err := w.engine.FleetSeries(w.ctx, FleetRequest{Sensors: q.Sensors}, q)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		err = f.Walk(w.ctx, func(a *api.SeriesAnswer) error {
			n++
			for _, high := range a.Series[0].Max {
				most = max(most, float64(high))
			}
			if a.Complete.Complete != w.Head.Header.Complete {
				t.Errorf("the answer of %s says that it is complete: %v", a.Gateway, a.Complete)
			}
			return nil
		})
		if err != nil || n != gateways {
			t.Errorf("%d answers: %v", n, err)
		}
		return w.Head.Fleets.Load() - before, most
	}
	midnight := time.Unix(0, schema.Start(now.UnixNano(), schema.DaySpan))
	w.tail(t, "truck_0019", "readings.sensor03", midnight.UnixNano()-1, 500)
	if asked, most := ask(midnight); asked != 0 || most != 500 {
		t.Errorf("of days that have ended the head was asked %d times, and the greatest is %g", asked, most)
	}
	if asked, most := ask(now.Add(time.Second)); asked != 1 || most != 1000 {
		t.Errorf("of today the head was asked %d times, not once for the group that has the one gateway, and the greatest is %g", asked, most)
	}
	w.Head.Header.Complete = false
	if asked, _ := ask(midnight); asked != gateways/atOnce {
		t.Errorf("the head was behind, and asked %d times of %d groups", asked, gateways/atOnce)
	}
}
