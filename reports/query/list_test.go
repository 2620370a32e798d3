package query

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"berth/internal/api"
	"berth/schema"
	"berth/schema/catalog"
)

// manyGateways are gateways of which many are alike in what lists are sorted by, half of them in the head alone.
func (w *world) manyGateways(t *rapid.T) (all []*catalog.Entry) {
	for i := range rapid.IntRange(0, 40).Draw(t, "gateways") {
		e := &catalog.Entry{Gateway: fmt.Sprintf("%c %d", 'a'+rune(i%3), i), FirstSeen: 1, Interval: int64(time.Minute)}
		e.LastSeen = now.UnixNano() - rapid.SampledFrom([]int64{0, 1, int64(5 * time.Minute), int64(time.Hour)}).Draw(t, "seen")
		e.Arrived.Add(e.LastSeen, rapid.Uint64Range(0, 3).Draw(t, "readings"))
		all = append(all, e)
	}
	return all
}

func TestGatewaysAreSortedInPages(t *testing.T) {
	w := newWorld(t)
	w.engine.kept = func(context.Context) (func(string) uint64, error) {
		return func(sender string) uint64 { return uint64(len(sender)) }, nil
	}
	rapid.Check(t, func(t *rapid.T) {
		w.Head.Entries = w.manyGateways(t)
		q := GatewaysRequest{
			Sort:   rapid.SampledFrom([]string{"", "-"}).Draw(t, "way") + rapid.SampledFrom(api.Orders()).Draw(t, "order"),
			Search: rapid.SampledFrom([]string{"", "A"}).Draw(t, "search"),
			State:  rapid.SampledFrom([]api.State{"", "", api.Online, api.Offline}).Draw(t, "state"),
		}
		whole, err := w.engine.AllGateways(w.ctx, q)
		if err != nil {
			t.Fatal(err)
		}
		up := func(a, b api.Gateway) int {
			key := func(g api.Gateway) int64 {
				switch strings.TrimPrefix(q.Sort, "-") {
				case api.ByState:
					return urgency[g.State]
				case api.ByLastSeen:
					if g.LastSeen == nil {
						return 0
					}
					return g.LastSeen.UnixNano()
				case api.ByRate:
					return int64(g.Rate)
				case api.ByRejects:
					return int64(*g.Rejects)
				}
				return 0
			}
			return int(min(max(key(a)-key(b), -1), 1))
		}
		want := slices.Clone(whole.Gateways)
		slices.SortFunc(want, func(a, b api.Gateway) int { return strings.Compare(a.Name, b.Name) })
		if strings.HasPrefix(q.Sort, "-") {
			if q.Sort == "-"+api.ByName {
				slices.Reverse(want)
			}
			slices.SortStableFunc(want, func(a, b api.Gateway) int { return up(b, a) })
		} else {
			slices.SortStableFunc(want, up)
		}
		if d := cmp.Diff(want, whole.Gateways); d != "" {
			t.Fatalf("%+v is out of order (-want +got):\n%s", q, d)
		}
		count := 0
		for _, e := range append(w.Head.Entries, &catalog.Entry{Gateway: "quiet"}) {
			if strings.Contains(e.Gateway, strings.ToLower(q.Search)) && (q.State == "" || q.State == stateOf(now, e)) {
				count++
			}
		}
		if count != len(whole.Gateways) {
			t.Fatalf("%+v lists %d of %d", q, len(whole.Gateways), count)
		}
		q.Limit = rapid.IntRange(1, 9).Draw(t, "limit")
		var pages []api.Gateway
		for {
			page, err := w.engine.Gateways(w.ctx, q)
			if err != nil {
				t.Fatal(err)
			}
			if len(page.Gateways) != q.Limit && page.Next != "" {
				t.Fatalf("a page of %d, not %d, is not the last", len(page.Gateways), q.Limit)
			}
			if pages = append(pages, page.Gateways...); page.Next == "" {
				break
			}
			q.After = page.Next
		}
		if d := cmp.Diff(want, pages, cmpopts.EquateEmpty()); d != "" {
			t.Fatalf("the pages of %+v (-want +got):\n%s", q, d)
		}
	})
}

// TestWhatNeedsSomebodyComesFirst: sorted by state, a gateway that is offline is before one that is late, and so on.
func TestWhatNeedsSomebodyComesFirst(t *testing.T) {
	w := newWorld(t)
	seen := func(name string, ago time.Duration) *catalog.Entry {
		return &catalog.Entry{Gateway: name, FirstSeen: 1, LastSeen: now.Add(-ago).UnixNano(), Interval: int64(time.Minute)}
	}
	w.Head.Entries = []*catalog.Entry{seen("a", 0), seen("b", 5*time.Minute), seen("c", time.Hour)}
	for sort, want := range map[string][]string{"state": {"c", "b", "a", "quiet"}, "-state": {"quiet", "a", "b", "c"}} {
		page, err := w.engine.Gateways(w.ctx, GatewaysRequest{Sort: sort})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, g := range page.Gateways {
			got = append(got, g.Name)
		}
		if !slices.Equal(got, want) || page.Gateways[slices.Index(got, "b")].State != api.Late || page.Gateways[slices.Index(got, "c")].State != api.Offline {
			t.Errorf("by %s: %+v, want %v", sort, page.Gateways, want)
		}
	}
}

func TestListsRefuseWhatCannotBeAsked(t *testing.T) {
	w := newWorld(t)
	for name, q := range map[string]GatewaysRequest{
		"order": {Sort: "colour"}, "state": {State: "tired"}, "limit": {Limit: MostGateways + 1},
		"cursor": {Sort: "rate", After: "alpha"}, "cursor's number": {Sort: "-last_seen", After: "x alpha"},
	} {
		if _, err := w.engine.Gateways(w.ctx, q); !schema.Is(err, schema.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What the head counts goes on from what the row says; a restarted one counts from nothing until it has read the row.
func TestRatesAreOfHeadAndRow(t *testing.T) {
	w := newWorld(t)
	at := now.UnixNano()
	count := func(readings uint64) (a catalog.Arrived) { a.Add(at, readings); return a }
	w.putRow(t, &catalog.Entry{Gateway: "a", FirstSeen: 1, LastSeen: at, Arrived: count(100)}, &catalog.Entry{Gateway: "b", FirstSeen: 1, LastSeen: at, Arrived: count(50)}, &catalog.Entry{Gateway: "c"})
	w.Head.Entries = []*catalog.Entry{
		{Gateway: "a", FirstSeen: 1, LastSeen: at, Arrived: count(103)},
		{Gateway: "b", FirstSeen: 1, LastSeen: at, Arrived: count(2)},
		{Gateway: "c", FirstSeen: at, LastSeen: at, Arrived: count(1)}, // of whom the row says nothing
	}
	page, err := w.engine.Gateways(w.ctx, GatewaysRequest{Sort: "-rate"})
	if err != nil || len(page.Gateways) != 4 || page.Gateways[0].Rate != 103 || page.Gateways[1].Rate != 50 || page.Gateways[3].Rate != 0 || page.Gateways[0].Rejects != nil {
		t.Fatalf("%+v, %v", page, err)
	}
	if c := page.Gateways[2]; c.Name != "c" || c.FirstSeen == nil || !c.FirstSeen.Equal(now) {
		t.Errorf("%+v was first seen at %v", c, c.FirstSeen)
	}
}
