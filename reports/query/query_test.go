package query

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"berth/internal/api"
	"berth/internal/keyspace"
	"berth/reports/query/querytest"
	"berth/schema"
	"berth/schema/block"
	"berth/schema/catalog"
	"berth/schema/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Whatever happened to a history on its way (crashes, late and repeated readings, rollups that are stale), every answer
// is that of a brute-force model.
func TestAnswersEqualTheModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t)
		w.Events = querytest.History(rt)
		w.Settle(rt)
		w.checkReadings(rt)
		w.checkExport(rt)
		w.checkLatest(rt)
		for range 3 {
			w.checkSeries(rt)
		}
		w.checkFleet(rt)
		w.checkDay(rt)
	})
}

// checkFleet: what is answered about all gateways at once is what is answered about each.
func (w *world) checkFleet(t *rapid.T) {
	sensors := []string{"a", "c"}
	alone, err := w.engine.Latest(w.ctx, testGateway)
	if err != nil {
		t.Fatal(err)
	}
	var want []api.GatewayLatest
	for _, r := range alone.Readings {
		if !slices.Contains(sensors, r.Sensor) {
			continue
		}
		if want == nil {
			want = []api.GatewayLatest{{Gateway: testGateway}}
		}
		want[0].Readings = append(want[0].Readings, r)
	}
	got, err := w.engine.FleetLatest(w.ctx, FleetRequest{Sensors: sensors})
	if err != nil || fmt.Sprint(got.Gateways) != fmt.Sprint(want) || got.Next != "" {
		t.Fatalf("%v, %v, want %v", got, err, want)
	}
	q := SeriesRequest{Gateway: testGateway, Sensors: sensors, From: now.AddDate(0, 0, -7), To: now}
	one, err := w.engine.Series(w.ctx, q)
	if err != nil {
		t.Fatal(err)
	}
	fleet, err := w.engine.FleetSeries(w.ctx, FleetRequest{Sensors: sensors}, q)
	if err != nil {
		t.Fatal(err)
	}
	answers := 0
	err = fleet.Walk(w.ctx, func(a *api.SeriesAnswer) error {
		answers++
		if d := cmp.Diff(fmt.Sprintf("%+v", one), fmt.Sprintf("%+v", a)); d != "" {
			t.Fatal(d)
		}
		return nil
	})
	if err != nil || answers != len(want) {
		t.Fatalf("%d answers, %v, want %d", answers, err, len(want))
	}
}

func (w *world) checkReadings(t *rapid.T) {
	from := now.Add(-time.Duration(rapid.IntRange(1, 7*24).Draw(t, "hours")) * time.Hour)
	answer, err := w.engine.Readings(w.ctx, ReadingsRequest{Gateway: testGateway, From: from, To: now})
	if err != nil {
		t.Fatal(err)
	}
	if !answer.Complete.Complete {
		t.Fatal("the answer is not complete")
	}
	var got, want []string
	err = answer.Walk(w.ctx, func(sensor string, at int64, v schema.Value) error {
		got = append(got, fmt.Sprint(at, sensor, v.Kind(), v))
		return nil
	})
	if err != nil || answer.Damaged != 0 || !answer.Complete.Complete {
		t.Fatal(answer.Damaged, err)
	}
	for _, e := range w.Truth() {
		if e.Time >= from.UnixNano() {
			want = append(want, fmt.Sprint(e.Time, e.Sensor, e.Value.Kind(), e.Value))
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Fatalf("readings (-want +got):\n%s", d)
	}
}

// checkExport cuts an export anywhere and goes on with it: what comes is exactly the rest.
func (w *world) checkExport(t *rapid.T) {
	walk := func(after *api.Cursor) (all []api.Cursor) {
		x, err := w.engine.Export(w.ctx, ExportRequest{Gateways: []string{testGateway}, From: now.Add(-30 * 24 * time.Hour), To: now.Add(time.Hour), After: after})
		if err != nil {
			t.Fatal(err)
		}
		for _, gateway := range x.Gateways {
			err := x.Walk(w.ctx, gateway, func(sensor string, at int64, _ schema.Value) error {
				all = append(all, api.Cursor{Gateway: gateway, Time: at, Sensor: sensor})
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		if !x.Complete.Complete || x.Damaged != 0 {
			t.Fatal("the export is not complete")
		}
		return all
	}
	all := walk(nil)
	if len(all) != len(w.Truth()) {
		t.Fatalf("an export of %d readings, not %d", len(all), len(w.Truth()))
	}
	at := rapid.IntRange(0, len(all)-1).Draw(t, "cut after")
	if d := cmp.Diff(all[at+1:], walk(&all[at]), cmpopts.EquateEmpty()); d != "" {
		t.Fatal(d)
	}
}

func (w *world) checkLatest(t *rapid.T) {
	answer, err := w.engine.Latest(w.ctx, testGateway)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for _, e := range w.Truth() {
		want[e.Sensor] = fmt.Sprint(e.Time, " ", e.Value.Kind(), " ", e.Value)
	}
	got := map[string]string{}
	for _, r := range answer.Readings {
		got[r.Sensor] = fmt.Sprint(r.Nanos, " ", r.Kind, " ", r.Value)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Fatalf("latest (-want +got):\n%s", d)
	}
}

func (w *world) checkSeries(t *rapid.T) {
	from := now.Add(-time.Duration(rapid.IntRange(1, 7*24*60).Draw(t, "minutes")) * time.Minute)
	points := rapid.IntRange(2, 200).Draw(t, "points")
	answer, err := w.engine.Series(w.ctx, SeriesRequest{Gateway: testGateway, Sensors: []string{"a", "c"}, From: from, To: now, Points: points})
	if err != nil {
		t.Fatal(err)
	}
	step := int64(answer.Step * 1e9)
	begin, end := from.UnixNano(), now.UnixNano()
	if answer.Source != "readings" { // buckets of rollups are whole
		begin, end = schema.Start(begin, step), schema.Start(end-1, step)+step
	}
	for _, s := range answer.Series {
		want := map[int64]*bucket{}
		for _, e := range w.Truth() {
			if e.Sensor != s.Sensor || e.Time < begin || e.Time >= end {
				continue
			}
			at := Millis(e.Time)
			if !s.Raw {
				at = Millis(schema.Start(e.Time, step))
			}
			if want[at] == nil {
				want[at] = &bucket{}
			}
			want[at].count++
			if number, ok := e.Value.Number(); ok {
				want[at].addNumbers(1, number, number, number)
			}
		}
		if len(s.Time) != len(want) || len(s.Time) > points {
			t.Fatalf("%s has %d points of at most %d, want %d (%s, step %v)", s.Sensor, len(s.Time), points, len(want), answer.Source, answer.Step)
		}
		for i, at := range s.Time {
			comparePoint(t, &s, i, want[at])
		}
	}
}

func comparePoint(t *rapid.T, s *api.Series, i int, want *bucket) {
	if want == nil || s.Count[i] != want.count {
		t.Fatalf("%s at %d counts %d, want %+v", s.Sensor, s.Time[i], s.Count[i], want)
	}
	low, high, mean := math.NaN(), math.NaN(), math.NaN()
	if want.numbers > 0 {
		low, high, mean = want.min, want.max, want.sum/float64(want.numbers)
	}
	for _, c := range []struct{ got, want float64 }{{float64(s.Min[i]), low}, {float64(s.Max[i]), high}, {float64(s.Mean[i]), mean}} {
		if math.IsNaN(c.got) != math.IsNaN(c.want) || math.Abs(c.got-c.want) > 1e-9 {
			t.Fatalf("%s at %d is %v/%v/%v, want %v/%v/%v", s.Sensor, s.Time[i], s.Min[i], s.Max[i], s.Mean[i], low, high, mean)
		}
	}
}

func TestWithoutTheHeadAnswersSayUpToWhen(t *testing.T) {
	w := newWorld(t)
	w.Events = []event{{Sensor: "a", Time: now.UnixNano() - int64(time.Minute), Value: schema.FloatValue(1)}}
	entry := w.Entry(0, 1)
	for away, want := range map[bool]schema.Code{false: schema.NotFound, true: schema.Unavailable} { // it may be in the log alone
		w.Head.Away = away
		_, err := w.engine.Series(w.ctx, SeriesRequest{Gateway: testGateway, Sensors: []string{"a"}, From: now.Add(-time.Hour), To: now})
		if !schema.Is(err, want) {
			t.Errorf("a gateway that nobody knows gave %v while the head is away %v, want %s", err, away, want)
		}
		if _, err := w.engine.Latest(w.ctx, testGateway); !schema.Is(err, want) {
			t.Errorf("the latest of a gateway that nobody knows gave %v while the head is away %v, want %s", err, away, want)
		}
	}
	w.Head.Away = true
	w.putRow(t, entry)
	answer, err := w.engine.Series(w.ctx, SeriesRequest{Gateway: testGateway, Sensors: []string{"a"}, From: now.Add(-time.Hour), To: now})
	if err != nil {
		t.Fatal(err)
	}
	if c := answer.Complete; c.Complete || c.Reason == "" || c.UpTo == nil || c.UpTo.UnixNano() != entry.LastSeen {
		t.Errorf("completeness is %+v, want up to %v", c, time.Unix(0, entry.LastSeen))
	}
	list, err := w.engine.Gateways(w.ctx, GatewaysRequest{})
	if err != nil || list.Complete.Complete {
		t.Errorf("the list is complete without the head: %+v, %v", list, err)
	}
}

func (w *world) putRow(t *testing.T, entries ...*catalog.Entry) {
	t.Helper()
	var c keyspace.Changes
	for _, e := range entries {
		c.Gateways = append(c.Gateways, keyspace.Gateway{Name: e.Gateway, Position: querytest.Position(1), Entry: catalog.EncodeEntry(nil, e)})
	}
	if _, err := w.Store.Write(w.ctx, &c); err != nil {
		t.Fatal(err)
	}
}

func TestGatewaysComeInPagesFromEverywhere(t *testing.T) {
	w := newWorld(t)
	seen := func(name string, ago time.Duration) *catalog.Entry {
		return &catalog.Entry{Gateway: name, FirstSeen: 1, LastSeen: now.Add(-ago).UnixNano()}
	}
	w.putRow(t, seen("alpha", 0), seen("beta", time.Hour), seen("Zeta", 10*time.Minute))
	w.Head.Entries = []*catalog.Entry{seen("beta", 0), seen("gamma", 0)}
	type line struct {
		Name  string
		State api.State
	}
	all := func(q GatewaysRequest) (pages [][]line) {
		for {
			page, err := w.engine.Gateways(w.ctx, q)
			if err != nil {
				t.Fatal(err)
			}
			var lines []line
			for _, g := range page.Gateways {
				lines = append(lines, line{g.Name, g.State})
			}
			pages = append(pages, lines)
			if page.Next == "" {
				return pages
			}
			q.After = page.Next
		}
	}
	zeta, alpha, beta, gamma, quiet := line{"Zeta", api.Late}, line{"alpha", api.Online}, line{"beta", api.Online}, line{"gamma", api.Online}, line{"quiet", api.Never}
	for _, c := range []struct {
		q    GatewaysRequest
		want [][]line
	}{
		{GatewaysRequest{}, [][]line{{zeta, alpha, beta, gamma, quiet}}},
		{GatewaysRequest{Limit: 2}, [][]line{{zeta, alpha}, {beta, gamma}, {quiet}}},
		{GatewaysRequest{Limit: 5}, [][]line{{zeta, alpha, beta, gamma, quiet}}},
		{GatewaysRequest{Search: "ET"}, [][]line{{zeta, beta, quiet}}},
		{GatewaysRequest{Search: "a", Limit: 3}, [][]line{{zeta, alpha, beta}, {gamma}}},
		{GatewaysRequest{Search: "nothing"}, [][]line{nil}},
	} {
		if d := cmp.Diff(c.want, all(c.q)); d != "" {
			t.Errorf("%+v (-want +got):\n%s", c.q, d)
		}
	}
}

// A gateway whose newest reading was measured after its last frame arrived has a clock that is ahead; one that is late has
// not, however late it is.
func TestAGatewayWhoseClockIsAheadIsNamed(t *testing.T) {
	w := newWorld(t)
	for ahead, want := range map[time.Duration]float64{
		-48 * time.Hour: 0, 0: 0, api.ClockTolerance: 0, api.ClockTolerance + time.Second: 121, 5 * time.Hour: 18_000,
	} {
		e := &catalog.Entry{Gateway: "clock", FirstSeen: 1, LastSeen: now.Add(-time.Hour).UnixNano()}
		e.Observe("a", e.LastSeen-int64(day), schema.BoolValue(true), querytest.Position(0))
		e.Observe("b", e.LastSeen+int64(ahead), schema.BoolValue(true), querytest.Position(1))
		w.Head.Entries = []*catalog.Entry{e}
		page, err := w.engine.Gateways(w.ctx, GatewaysRequest{Search: "clock"})
		if err != nil || len(page.Gateways) != 1 || page.Gateways[0].ClockAhead != want {
			t.Errorf("a newest reading %v after the last frame: %+v, %v, want %v ahead", ahead, page, err, want)
		}
	}
}

func TestSeriesRefusesWhatCannotBeAsked(t *testing.T) {
	w := newWorld(t)
	good := SeriesRequest{Gateway: testGateway, Sensors: []string{"a"}, From: now.Add(-time.Hour), To: now}
	for name, change := range map[string]func(*SeriesRequest){
		"no sensor":    func(q *SeriesRequest) { q.Sensors = nil },
		"many sensors": func(q *SeriesRequest) { q.Sensors = make([]string, MostSensors+1) },
		"points":       func(q *SeriesRequest) { q.Points = MostPoints + 1 },
		"empty range":  func(q *SeriesRequest) { q.From = q.To },
	} {
		q := good
		change(&q)
		if _, err := w.engine.Series(w.ctx, q); !schema.Is(err, schema.Invalid) {
			t.Errorf("%s gave %v", name, err)
		}
	}
}

// TestBlocksAreTakenByTheirDirectories: of an orderly history, whose blocks overlap only where something came late, every
// series is that of the model too, of buckets that hold blocks whole and of such that do not.
func TestBlocksAreTakenByTheirDirectories(t *testing.T) {
	w := newWorld(t)
	for minute := 7 * 24 * 60; minute > 0; minute -= 5 {
		at := now.UnixNano() - int64(minute)*int64(time.Minute)
		w.Events = append(w.Events, event{Sensor: "a", Time: at, Value: schema.FloatValue(float64(minute*7%991) / 4)})
		if minute%35 == 0 {
			w.Events = append(w.Events, event{Sensor: "c", Time: at, Value: schema.TextValue("ok")})
		}
		if minute%700 == 0 { // a later value for one identity, in a block that overlaps
			w.Events = append(w.Events, event{Sensor: "a", Time: at - int64(2*time.Hour), Value: schema.FloatValue(-5)})
		}
		if minute%1000 == 0 { // and of another kind
			w.Events = append(w.Events, event{Sensor: "a", Time: at - int64(time.Minute), Value: schema.BoolValue(true)})
		}
	}
	w.Keep(t, 9)
	rapid.Check(t, func(rt *rapid.T) { w.checkSeries(rt) })

	c := newChart("b", 0, 100, 10, 10, false)
	c.addColumn(&block.Info{Kind: schema.Bool, Count: 2, Numbers: 2, Sum: 1, Max: 1, FirstTime: 20, LastTime: 29})
	if got := c.series(nil); got.Kind != "bool" || len(got.Count) != 1 || got.Count[0] != 2 || got.Max[0] != 1 {
		t.Errorf("a column of bool in one bucket is the series %+v", got)
	}
}

// TestFleetComesInPages: each gateway with the sensor once, in order, in pages; a walk that is given up ends at once.
func TestFleetComesInPages(t *testing.T) {
	w := newWorld(t)
	const gateways = 25
	var entries []*catalog.Entry
	for i := range gateways {
		e := &catalog.Entry{Gateway: fmt.Sprintf("truck%02d", i), LastSeen: now.UnixNano()}
		sensor := "position"
		if i%5 == 0 {
			sensor = "other"
		}
		e.Observe(sensor, now.UnixNano()-int64(i), schema.FloatValue(float64(i)), schema.Position{Sequence: 1})
		entries = append(entries, e)
	}
	w.putRow(t, entries...)
	q := FleetRequest{Sensors: []string{"position"}, Limit: 7}
	series := SeriesRequest{From: now.Add(-time.Hour), To: now}
	var latest, walked []string
	for page := 0; page == 0 || q.After != ""; page++ {
		answer, err := w.engine.FleetLatest(w.ctx, q)
		if err != nil || page > gateways {
			t.Fatal(page, err)
		}
		for _, g := range answer.Gateways {
			latest = append(latest, g.Gateway)
		}
		fleet, err := w.engine.FleetSeries(w.ctx, q, series)
		if err != nil || fleet.Next != answer.Next {
			t.Fatal(err)
		}
		err = fleet.Walk(w.ctx, func(a *api.SeriesAnswer) error { walked = append(walked, a.Gateway); return nil })
		if err != nil {
			t.Fatal(err)
		}
		q.After = answer.Next
	}
	if len(latest) != 20 || !slices.IsSorted(latest) || !slices.Equal(latest, walked) {
		t.Errorf("%v\n%v", latest, walked)
	}
	fleet, err := w.engine.FleetSeries(w.ctx, FleetRequest{Sensors: []string{"position"}}, series)
	if err != nil {
		t.Fatal(err)
	}
	enough := errors.New("enough")
	if err := fleet.Walk(w.ctx, func(*api.SeriesAnswer) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("given up: %v", err)
	}
	for _, bad := range []FleetRequest{{}, {Sensors: []string{""}}, {Sensors: []string{"a"}, Limit: MostGateways + 1}, {Sensors: make([]string, MostSensors+1)}} {
		if _, err := w.engine.FleetLatest(w.ctx, bad); !schema.Is(err, schema.Invalid) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

func TestStepForKeepsToThePoints(t *testing.T) {
	for _, c := range []struct {
		span   time.Duration
		points int
		least  time.Duration
		want   time.Duration
	}{
		{time.Hour, 800, time.Millisecond, 5 * time.Second},
		{day, 800, time.Millisecond, 2 * time.Minute},
		{30 * day, 800, time.Hour, time.Hour},
		{365 * day, 800, time.Hour, 12 * time.Hour},
		{5 * 365 * day, 800, time.Hour, 5 * day},
		{time.Second, 2, time.Millisecond, 2 * time.Second},
	} {
		if got := StepFor(c.span, c.points, c.least); got != c.want {
			t.Errorf("%v in %d points is cut by %v, want %v", c.span, c.points, got, c.want)
		}
	}
}

func TestReadingsBeyondRetentionAreHidden(t *testing.T) {
	w := newWorld(t)
	old := now.Add(-record.DefaultSettings().Retention)
	builder := block.NewBuilder(testGateway)
	builder.Add("a", old.UnixNano()-1, schema.FloatValue(1), querytest.Position(0))
	builder.Add("a", old.UnixNano(), schema.FloatValue(2), querytest.Position(1))
	data, err := block.Encode(nil, builder.Content())
	if err != nil {
		t.Fatal(err)
	}
	w.Head.Parts = [][]byte{data}
	answer, err := w.engine.Readings(w.ctx, ReadingsRequest{Gateway: testGateway, From: old.Add(-time.Hour), To: now})
	if err != nil {
		t.Fatal(err)
	}
	var got []float64
	if err := answer.Walk(w.ctx, func(_ string, _ int64, v schema.Value) error {
		got = append(got, v.Float())
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]float64{2}, got); d != "" {
		t.Errorf("readings (-want +got):\n%s", d)
	}
	series, err := w.engine.Series(w.ctx, SeriesRequest{Gateway: testGateway, Sensors: []string{"a"}, From: old.Add(-time.Hour), To: old.Add(time.Hour)})
	if err != nil || len(series.Series[0].Time) != 1 || series.Series[0].Max[0] != 2 {
		t.Errorf("the series is %+v, %v", series, err)
	}

	entry := &catalog.Entry{Gateway: testGateway, FirstSeen: 1, LastSeen: now.UnixNano()}
	for i, sensor := range []string{"a", "b"} { // two that have said nothing since
		entry.Observe(sensor, old.UnixNano()+int64(i)-1, schema.FloatValue(1), querytest.Position(i))
	}
	w.Head.Entries = []*catalog.Entry{entry}
	latest, err := w.engine.Latest(w.ctx, testGateway)
	if err != nil || len(latest.Readings) != 1 || latest.Readings[0].Sensor != "b" {
		t.Errorf("the newest readings are %+v, %v", latest, err)
	}
	fleet, err := w.engine.FleetLatest(w.ctx, FleetRequest{Sensors: []string{"a", "b"}})
	if err != nil || len(fleet.Gateways) != 1 || len(fleet.Gateways[0].Readings) != 1 || fleet.Gateways[0].Readings[0].Sensor != "b" {
		t.Errorf("those of the fleet are %+v, %v", fleet, err)
	}
}
