package query

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"berth/internal/api"
	"berth/internal/keyspace"
	"berth/schema"
	"berth/schema/catalog"
)

// changing is a world whose gateways change between questions.
type changing struct {
	*world
	keys []string
	seq  uint64
}

func newChanging(t testing.TB) *changing {
	w := &changing{world: newWorld(t)}
	w.engine.keys = func() []string { return w.keys }
	w.restart()
	return w
}

// restart has the head know nothing but what is newer than its row.
func (w *changing) restart() {
	c := &w.Head.Changes
	c.Now += 1000
	c.Untold, c.Clean, c.Of = c.Now, nil, nil
	for _, e := range w.Head.Entries {
		c.Note(e.Gateway)
	}
}

// take returns what the head knows of a gateway, and has it know nothing.
func (w *changing) take(name string) *catalog.Entry {
	for _, list := range []*[]*catalog.Entry{&w.Head.Entries, &w.Head.Changes.Clean} {
		if i := slices.IndexFunc(*list, func(e *catalog.Entry) bool { return e.Gateway == name }); i >= 0 {
			e := (*list)[i]
			*list = slices.Delete(slices.Clone(*list), i, i+1)
			return e
		}
	}
	return nil
}

// send has a gateway send some readings, so long ago.
func (w *changing) send(name string, ago time.Duration, readings uint64) {
	e := w.take(name)
	if e == nil {
		e = &catalog.Entry{Gateway: name, FirstSeen: now.Add(-ago).UnixNano()}
	}
	at := now.Add(-ago).UnixNano()
	e.LastSeen, e.Interval = max(e.LastSeen, at), int64(time.Minute)
	e.Arrived.Add(e.LastSeen, readings)
	w.seq++
	e.Observe(fmt.Sprint("s", readings), at, schema.FloatValue(1), schema.Position{Sequence: w.seq})
	w.Head.Entries = append(slices.Clone(w.Head.Entries), e)
	w.Head.Changes.Note(name)
}

// store writes a gateway's row. The head keeps it in mind.
func (w *changing) store(t *rapid.T, name string) {
	if !slices.ContainsFunc(w.Head.Entries, func(e *catalog.Entry) bool { return e.Gateway == name }) {
		return
	}
	e := w.take(name)
	if stored, err := w.Store.Gateway(w.ctx, name); err == nil {
		row, err := catalog.DecodeEntry(stored.Entry)
		if err != nil {
			t.Fatal(err)
		}
		e = join(row, e)
	}
	row := keyspace.Gateway{Name: name, Position: schema.Position{Sequence: w.seq, Ordinal: 1}, Entry: catalog.EncodeEntry(nil, e)}
	if _, err := w.Store.Write(w.ctx, &keyspace.Changes{Gateways: []keyspace.Gateway{row}}); err != nil {
		t.Fatal(err)
	}
	w.Head.Changes.Clean = append(slices.Clone(w.Head.Changes.Clean), e)
}

// drop has the head forget a gateway whose row is as new.
func (w *changing) drop(name string) {
	c := &w.Head.Changes
	if slices.ContainsFunc(c.Clean, func(e *catalog.Entry) bool { return e.Gateway == name }) {
		w.take(name)
		c.Untold = max(c.Untold, c.Of[name])
	}
}

func TestListsAreRightAtOnceAfterAChange(t *testing.T) {
	w := newChanging(t)
	rapid.Check(t, func(t *rapid.T) {
		w.restart()
		w.engine.recently = lately{} // the clock stands still
		for range rapid.IntRange(1, 16).Draw(t, "changes") {
			name := rapid.SampledFrom([]string{"a", "b", "c", "d", "e"}).Draw(t, "gateway")
			switch rapid.IntRange(0, 9).Draw(t, "change") {
			case 0, 1, 2:
				w.send(name, rapid.SampledFrom([]time.Duration{0, time.Minute, time.Hour}).Draw(t, "ago"), rapid.Uint64Range(0, 5).Draw(t, "readings"))
			case 3, 4:
				w.store(t, name)
			case 5:
				w.drop(name)
			case 6:
				w.keys = [][]string{nil, {"a"}, {"c", "x"}, {"y"}}[rapid.IntRange(0, 3).Draw(t, "keys")]
			case 7:
				if rapid.IntRange(0, 3).Draw(t, "restart") == 0 {
					w.restart()
				}
			default:
				w.Head.Away = rapid.IntRange(0, 9).Draw(t, "away") == 0
			}
			w.compare(t)
		}
		w.Head.Away = false
	})
}

// compare asks for a page of a list, and for all from the head and the keyspace alone.
func (w *changing) compare(t *rapid.T) {
	q := GatewaysRequest{
		Sort:  rapid.SampledFrom([]string{"-rate", "last_seen", "state", "-name", "name"}).Draw(t, "order"),
		State: rapid.SampledFrom([]api.State{"", api.Online, api.Never}).Draw(t, "state"),
		Limit: rapid.IntRange(1, 6).Draw(t, "limit"),
	}
	got, err := w.engine.Gateways(w.ctx, q)
	if err != nil {
		t.Fatal(err)
	}
	want, err := w.engine.AllGateways(w.ctx, q)
	if err != nil {
		t.Fatal(err)
	}
	want.Gateways = want.Gateways[:min(len(want.Gateways), q.Limit)]
	if d := cmp.Diff(want, got, cmp.FilterPath(func(p cmp.Path) bool { return p.String() == "Next" }, cmp.Ignore())); d != "" {
		t.Fatalf("the list as it is, and as it was answered (-want +got) to %+v:\n%s", q, d)
	}
}

// A list that is asked for again has the head asked for what has changed alone, however much that is, and no catalog read.
func TestListsAskForWhatHasChanged(t *testing.T) {
	w := newChanging(t)
	const many = MostGateways + 200
	ask := func(want string, rate uint64) {
		t.Helper()
		page, err := w.engine.Gateways(w.ctx, GatewaysRequest{Sort: "-rate", Limit: 2})
		if err != nil || len(page.Gateways) != 2 || page.Gateways[0].Name != want || page.Gateways[0].Rate != rate || !page.Complete.Complete {
			t.Fatalf("%+v, %v; the busiest is %s with %d", page, err, want, rate)
		}
	}
	for i := range many {
		w.send(fmt.Sprintf("gw%04d", i), 0, 1)
	}
	w.send("gw0007", 0, 5)
	ask("gw0007", 6)
	asked := w.Head.Changes.Asked
	if asked != 2 {
		t.Errorf("%d pages of all were asked for, not 2", asked)
	}
	ask("gw0007", 6)
	for i := range many {
		w.send(fmt.Sprintf("gw%04d", i), 0, 1)
	}
	w.send("gw1199", 0, 9)
	ask("gw1199", 11)
	if n := w.Head.Changes.Told; n != many {
		t.Errorf("%d are said to have changed, not %d", n, many)
	}
	if ask("gw1199", 11); w.Head.Changes.Told != many {
		t.Error("what was told is told again")
	}
	if n := w.Head.Changes.Asked; n != asked {
		t.Errorf("%d more pages of all were asked for to tell what has changed", n-asked)
	}
	w.drop("gw1199")
	w.restart()
	ask("gw1199", 11)
	if n := w.Head.Changes.Asked; n == asked {
		t.Error("what the head cannot tell any more was not read")
	}
}

// Outlines are kept of so many gateways at most, and for a while.
func TestKeptOutlinesAreBounded(t *testing.T) {
	w := newChanging(t)
	for i := range 3 {
		w.send(fmt.Sprint("gw", i), 0, 1)
	}
	all, _, ok, err := w.engine.lately(w.ctx)
	if err != nil || !ok || len(all) != 3 {
		t.Fatalf("%d outlines, %v, %v", len(all), ok, err)
	}
	kept, worth := w.engine.recently.get(now.Add(latelyFresh))
	if kept != nil || !worth {
		t.Error("what was found is kept for too long")
	}
	some := make([]catalog.Entry, mostLately)
	for i := range some {
		some[i].Gateway = fmt.Sprintf("aa%06d", i)
	}
	w.engine.recently.keep(&found{change: w.Head.Changes.Now, at: now.Add(time.Second), all: some})
	w.send("gw3", 0, 1)
	if _, _, ok, err := w.engine.lately(w.ctx); ok || err != nil {
		t.Errorf("more are kept than %d: %v", mostLately, err)
	}
	if kept, worth := w.engine.recently.get(now); kept != nil || worth {
		t.Error("it is tried again at once")
	}
	page, err := w.engine.Gateways(w.ctx, GatewaysRequest{Sort: "-name", Limit: 1})
	if err != nil || !strings.HasPrefix(page.Gateways[0].Name, "gw3") {
		t.Errorf("%+v, %v", page, err)
	}
}
