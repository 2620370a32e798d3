package cassandra

import (
	"context"
	"maps"
	"math"
	"slices"
	"sync"

	"github.com/gocql/gocql"

	"berth/internal/keyspace"
	"berth/schema"
	"berth/schema/cql"
)

// index is what is stored of each gateway: which months may have rollups, which weeks may have blocks, and before which
// time every span is rolled up. The catalog has it before the rows that it speaks of, so that a reader of all times knows
// where to look, and so does the next writer.
type index struct {
	storing sync.Mutex // held while the catalog is changed; before mu

	mu       sync.Mutex // guards what follows
	gateways map[string]*stored
	listed   int // gateways with a row
}

// none is the bound of a gateway that has no marks: everything is rolled up.
const none = int64(math.MaxInt64)

// stored is what is stored of a gateway, and what of it the catalog is known to have.
type stored struct {
	listed, listedKept bool
	from, kept         [2]int64         // by span: every span that starts earlier is rolled up. kept is the catalog's, never above from
	months             map[int]struct{} // all
	monthsKept, weeks  map[int]struct{} // the catalog's, as far as known
	noted              int              // how often marks were noted
	flying             int              // writes of marks under way
}

// by returns the place of a span in an array.
func by(s keyspace.Span) int { return int(s) - 1 }

func (x *index) gateway(name string) *stored {
	g := x.gateways[name]
	if g == nil {
		g = &stored{from: [2]int64{none, none}, kept: [2]int64{none, none}}
		g.months, g.monthsKept, g.weeks = map[int]struct{}{}, map[int]struct{}{}, map[int]struct{}{}
		x.gateways[name] = g
	}
	return g
}

// loadIndex reads the index from the catalog; the weeks are left there.
func loadIndex(ctx context.Context, t *tables) (*index, error) {
	x := &index{gateways: map[string]*stored{}}
	err := t.backend.each(ctx, cql.Buckets, func(ctx context.Context, i int) error {
		rows := t.query(ctx, t.selectStored, t.key, cql.StoredFrom+i).Iter()
		var name string
		var listed bool
		var months []int
		var hours, days *int64
		for rows.Scan(&name, &listed, &months, &hours, &days) {
			x.mu.Lock()
			g := x.gateway(name)
			g.listed, g.listedKept = listed, listed
			if listed {
				x.listed++
			}
			for _, m := range months {
				g.months[m], g.monthsKept[m] = struct{}{}, struct{}{}
			}
			for i, bound := range []*int64{hours, days} {
				if bound != nil {
					g.from[i], g.kept[i] = *bound, *bound
				}
			}
			x.mu.Unlock()
		}
		return rows.Close()
	})
	return x, err
}

func (x *index) gatewaysListed() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.listed
}

// doubt forgets what the catalog has: a node may have lost it.
func (x *index) doubt() {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, g := range x.gateways {
		g.listedKept, g.kept = false, [2]int64{none, none}
		clear(g.weeks)
		clear(g.monthsKept)
	}
}

// news is what the catalog does not have yet of a gateway.
type news struct {
	weeks, months map[int]struct{}
	from          [2]int64 // none: the catalog has it
	listed        bool
}

// note brings the index up to what c is going to store, in the catalog too. The caller calls done when c's marks are
// stored, or are not.
func (w *writer) note(ctx context.Context, c *keyspace.Changes) (done func(), err error) {
	x := w.stored
	x.storing.Lock()
	defer x.storing.Unlock()
	all, done := x.take(c)
	names := slices.Collect(maps.Keys(all))
	err = w.backend.each(ctx, len(names), func(ctx context.Context, i int) error {
		n := all[names[i]]
		bound := [2]any{gocql.UnsetValue, gocql.UnsetValue}
		for s, from := range n.from {
			if from != none {
				bound[s] = from
			}
		}
		listed := any(gocql.UnsetValue)
		if n.listed {
			listed = true
		}
		weeks, months := slices.Collect(maps.Keys(n.weeks)), slices.Collect(maps.Keys(n.months))
		return w.query(ctx, w.updateStored, weeks, months, bound[0], bound[1], listed,
			w.key, cql.StoredFrom+cql.Bucket(names[i]), names[i]).Exec()
	})
	if err == nil {
		x.have(all)
	}
	return done, err
}

// take notes what c is going to store, and returns what of it the catalog does not have.
func (x *index) take(c *keyspace.Changes) (all map[string]*news, done func()) {
	x.mu.Lock()
	defer x.mu.Unlock()
	all = map[string]*news{}
	of := func(name string) *news {
		n := all[name]
		if n == nil {
			n = &news{weeks: map[int]struct{}{}, months: map[int]struct{}{}, from: [2]int64{none, none}}
			all[name] = n
		}
		return n
	}
	month := func(g *stored, key *keyspace.RollupKey) {
		m := monthOf(key.Start)
		g.months[m] = struct{}{}
		if _, ok := g.monthsKept[m]; !ok {
			of(key.Gateway).months[m] = struct{}{}
		}
	}
	var marked []*stored
	for i := range c.Marks {
		key := &c.Marks[i].RollupKey
		g, s := x.gateway(key.Gateway), by(key.Span)
		g.noted++
		g.flying++
		marked = append(marked, g)
		month(g, key)
		g.from[s] = min(g.from[s], key.Start)
		if g.from[s] < g.kept[s] {
			of(key.Gateway).from[s] = g.from[s]
		}
	}
	for i := range c.Rollups {
		month(x.gateway(c.Rollups[i].Gateway), &c.Rollups[i].RollupKey)
	}
	for i := range c.Blocks {
		week := weekOf(c.Blocks[i].First)
		if _, ok := x.gateway(c.Blocks[i].Gateway).weeks[week]; !ok {
			of(c.Blocks[i].Gateway).weeks[week] = struct{}{}
		}
	}
	for i := range c.Gateways {
		g := x.gateway(c.Gateways[i].Name)
		if !g.listed {
			g.listed = true
			x.listed++
		}
		if !g.listedKept {
			of(c.Gateways[i].Name).listed = true
		}
	}
	return all, func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		for _, g := range marked {
			g.flying--
		}
	}
}

// have notes that the catalog has the news.
func (x *index) have(all map[string]*news) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for name, n := range all {
		g := x.gateways[name]
		g.listedKept = g.listedKept || n.listed
		maps.Copy(g.monthsKept, n.months)
		maps.Copy(g.weeks, n.weeks)
		for s, from := range n.from {
			if from != none {
				g.kept[s] = from
			}
		}
	}
}

// raise brings the catalog's bounds up to the index's where they are a day behind, so that the next writer need not look
// at much that is rolled up. It can wait: an error puts it off.
func (w *writer) raise(ctx context.Context) error {
	x := w.stored
	x.storing.Lock()
	defer x.storing.Unlock()
	behind := map[string][2]any{}
	x.mu.Lock()
	for name, g := range x.gateways {
		var bound [2]any
		late := false
		for s := range g.kept {
			bound[s] = gocql.UnsetValue
			if g.kept[s] != none && g.from[s] != none && g.from[s]-schema.DaySpan >= g.kept[s] {
				bound[s], late = g.from[s], true
				g.kept[s] = g.from[s] // also if it is not known whether that was stored
			}
		}
		if late {
			behind[name] = bound
		}
		if len(behind) == raiseMost {
			break
		}
	}
	x.mu.Unlock()
	names := slices.Collect(maps.Keys(behind))
	return w.backend.each(ctx, len(names), func(ctx context.Context, i int) error {
		bound := behind[names[i]]
		return w.query(ctx, w.raiseBounds, bound[0], bound[1], w.key, cql.StoredFrom+cql.Bucket(names[i]), names[i]).Exec()
	})
}
