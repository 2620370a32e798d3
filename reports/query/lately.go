package query

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"berth/internal/api"
	"berth/internal/headapi"
	"berth/internal/keyspace"
	"berth/schema"
	"berth/schema/catalog"
)

const (
	// latelyFresh is how long outlines that were read are brought up to date by what the head says has changed, before all are read
	// again.
	latelyFresh = 10 * time.Minute
	// latelyKept is how long they are kept when nobody asks; for so long too it is not tried again when they cannot be.
	latelyKept = time.Minute
	// mostLately is of how many gateways outlines are kept; they take about 150 bytes each.
	mostLately = 50_000
)

// lately are the outlines of all gateways as a list found them, so that one that is asked for again and again, sorted or filtered,
// costs the keyspace little. The head is asked each time for what has changed since, so nothing is shown late.
type lately struct {
	mu    sync.Mutex // guards what follows
	now   *found
	until time.Time // without now: when it is worth another try
	end   *time.Timer
}

// found is what was found. It does not change once it is kept.
type found struct {
	change int64     // what has changed since is asked for with it
	at     time.Time // when all were read
	all    []catalog.Entry
}

// get returns what is kept, nil for nothing, and whether reading all is worth a try.
func (l *lately) get(now time.Time) (kept *found, worth bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.now != nil && now.Sub(l.now.at) < latelyFresh {
		return l.now, true
	}
	return nil, !now.Before(l.until)
}

// keep keeps what was found, unless what is kept is newer, until nobody has asked for a while.
func (l *lately) keep(f *found) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.now == nil || l.now.change < f.change || l.now.at.Before(f.at) {
		l.now = f
	}
	if l.end != nil {
		l.end.Stop()
	}
	l.end = time.AfterFunc(latelyKept, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.now = nil
	})
}

// rest has nothing kept for a while.
func (l *lately) rest(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now, l.until = nil, now.Add(latelyKept)
}

// lately returns the outlines of all gateways, in order of their names, and how far they are complete; not ok when they cannot be
// kept: there are too many, something is damaged, or ingest does not tell what changes.
func (e *Engine) lately(ctx context.Context) (all []outline, complete api.Complete, ok bool, err error) {
	now := e.now()
	kept, worth := e.recently.get(now)
	if kept != nil {
		kept, complete, worth = e.changed(ctx, kept)
	}
	if kept == nil && worth {
		if kept, complete, err = e.findAll(ctx, now); err != nil {
			return nil, complete, false, err
		}
	}
	if kept == nil {
		e.recently.rest(now)
		return nil, complete, false, nil
	}
	e.recently.keep(kept)
	keys := e.keys()
	all = make([]outline, 0, len(kept.all)+len(keys))
	for i := range kept.all {
		for ; len(keys) > 0 && keys[0] <= kept.all[i].Gateway; keys = keys[1:] {
			if keys[0] < kept.all[i].Gateway {
				all = append(all, outline{Entry: catalog.Entry{Gateway: keys[0]}, kept: true})
			}
		}
		all = append(all, outline{Entry: kept.all[i], kept: true})
	}
	for _, name := range keys {
		all = append(all, outline{Entry: catalog.Entry{Gateway: name}, kept: true})
	}
	return all, complete, true, nil
}

// findAll reads all outlines, nil when they cannot be kept.
func (e *Engine) findAll(ctx context.Context, now time.Time) (*found, api.Complete, error) {
	f, all := &found{at: now}, api.Complete{Complete: true}
	damaged := damage{engine: e}
	for after := ""; ; {
		some, header, complete, err := e.outlines(ctx, headapi.GatewaysRequest{After: after, Limit: MostGateways}, &damaged)
		if err != nil {
			return nil, complete, err
		}
		if f.change == 0 {
			f.change = header.Change // of the first answer: what changed since is told once more
		}
		if header.Change == 0 || damaged.count > 0 || len(f.all)+len(some) > mostLately {
			return nil, complete, nil
		}
		if !complete.Complete {
			all = complete
		}
		for i := range some {
			after = some[i].Gateway
			if some[i].row != nil || some[i].head != nil { // else it has a key alone, and keys may change
				f.all = append(f.all, some[i].Entry)
			}
		}
		if len(some) < MostGateways {
			return f, all, nil
		}
	}
}

// changed returns what was found with all that has changed since; nil when the head cannot tell, and then whether reading all is worth
// a try.
func (e *Engine) changed(ctx context.Context, f *found) (now *found, complete api.Complete, worth bool) {
	var changed []catalog.Entry
	next := &found{at: f.at, all: f.all}
	for after, more := "", true; more; {
		n := 0
		header, said := e.ask(ctx, headapi.Gateways, headapi.GatewaysRequest{After: after, Limit: MostGateways, Since: f.change}, func(data []byte) error {
			entry, err := catalog.Outline(data)
			changed, after = append(changed, entry), entry.Gateway
			n++
			return err
		})
		if header.Change == 0 || header.Missed {
			return nil, said, header.Missed
		}
		if next.change == 0 {
			next.change = header.Change
		}
		complete, more = said, n == MostGateways
	}
	if len(changed) == 0 {
		return next, complete, true
	}
	if next.all = mergeOutlines(f.all, changed); len(next.all) > mostLately {
		return nil, complete, false
	}
	return next, complete, true
}

// mergeOutlines joins what has changed into what was found, both in order of names, in new memory.
func mergeOutlines(all, changed []catalog.Entry) []catalog.Entry {
	slices.SortFunc(changed, func(a, b catalog.Entry) int { return strings.Compare(a.Gateway, b.Gateway) })
	out := make([]catalog.Entry, 0, len(all)+len(changed))
	for i := range changed {
		c := &changed[i]
		at, has := slices.BinarySearchFunc(all, c.Gateway, func(e catalog.Entry, name string) int { return cmp.Compare(e.Gateway, name) })
		out, all = append(out, all[:at]...), all[at:]
		if has {
			row := all[0]
			out, all = append(out, *join(&row, c)), all[1:]
		} else {
			out = append(out, *c)
		}
	}
	return append(out, all...)
}

// wholes reads all that is known of those listed.
func (e *Engine) wholes(ctx context.Context, list []listed, damaged *damage) ([]*catalog.Entry, api.Complete, error) {
	entries, complete := make([]*catalog.Entry, len(list)), api.Complete{Complete: true}
	var names []string
	for i := range list {
		if list[i].outline.kept {
			names = append(names, list[i].name)
		} else {
			entries[i] = list[i].outline.whole(damaged)
		}
	}
	if len(names) == 0 {
		return entries, complete, nil
	}
	slices.Sort(names)
	by := make(map[string]*outline, len(names))
	for _, name := range names {
		by[name] = &outline{Entry: catalog.Entry{Gateway: name}}
	}
	_, complete = e.ask(ctx, headapi.Gateways, headapi.GatewaysRequest{Limit: len(names), Names: names}, func(data []byte) error {
		entry, err := catalog.Outline(data)
		if o := by[entry.Gateway]; o != nil {
			o.head = data
		}
		return err
	})
	rows, err := e.store.FleetRows(ctx, names)
	if errors.Is(err, keyspace.ErrDamaged) {
		rows, err = e.eachRow(ctx, names, damaged)
	}
	if err != nil {
		return nil, complete, fmt.Errorf("read the rows of %d gateways: %w", len(names), err)
	}
	for i := range rows {
		by[rows[i].Name].row = rows[i].Entry
	}
	for i := range list {
		if entries[i] == nil {
			entries[i] = by[list[i].name].whole(damaged)
		}
	}
	return entries, complete, nil
}

// eachRow reads the rows that can be read, one by one.
func (e *Engine) eachRow(ctx context.Context, names []string, damaged *damage) (rows []keyspace.Gateway, err error) {
	for _, name := range names {
		row, err := e.store.Gateway(ctx, name)
		switch {
		case err == nil:
			rows = append(rows, row)
		case schema.Is(err, schema.NotFound):
		case damaged.take(err) != nil:
			return nil, err
		}
	}
	return rows, nil
}
