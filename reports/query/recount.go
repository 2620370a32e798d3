package query

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"berth/internal/api"
	"berth/internal/keyspace"
	"berth/schema"
	"berth/schema/block"
	"berth/schema/catalog"
	"berth/schema/rollup"
)

// Recount is what a recount of one gateway came to.
type Recount struct {
	Blocks, Tails      uint64 // decoded whole
	Stored, Identities uint64 // readings in them, and those that differ in sensor or time
	Rollups, Moving    uint64 // compared with the readings; and those that could not be
	Latest             uint64 // newest readings compared
}

// margin is how much younger than retention demands readings must be to be compared: they vanish meanwhile.
const margin = time.Hour

// Recount reads everything that is stored of a gateway, decodes every block, and holds rollups and newest readings
// against the readings themselves. It may be asked while all of it is being written: what changed meanwhile is left out
// of the comparison and counted. found is told of each thing that is wrong.
//
// Why a comparison is sound: a rollup is compared if it counts and was the same before and after the blocks of its day
// were read, and if neither the head nor the tail, asked for before, has readings of its span. A block marks its rollups
// before it is there, so one that was written meanwhile has changed them.
func (e *Engine) Recount(ctx context.Context, gateway string, found func(api.Finding)) (Recount, error) {
	r := recount{e: e, gateway: gateway, found: found, newest: map[string]catalog.Latest{}}
	r.to = e.now().Add(latest).UnixNano()
	r.from = e.now().Add(margin - e.settings().Retention).UnixNano()
	before, complete, _, err := e.entryApart(ctx, gateway)
	if err != nil {
		return r.Recount, notThere(err)
	}
	if !complete.Complete {
		r.say(api.FoundIncomplete, "ask again when ingest has read its log", "the newest readings could not be asked for: %s", complete.Reason)
		return r.Recount, nil
	}
	if r.recent, err = e.recent(ctx, gateway, r.from, r.to); err != nil {
		return r.Recount, notThere(err)
	}
	r.readRecent()
	days, err := r.days(ctx)
	if err != nil {
		return r.Recount, err
	}
	for len(days) > 0 {
		if err := r.day(ctx, days[0]); err != nil {
			return r.Recount, err
		}
		if days, err = r.rest(ctx, days); err != nil {
			return r.Recount, err
		}
	}
	after, complete, _, err := e.entryApart(ctx, gateway)
	if err != nil {
		return r.Recount, notThere(err)
	}
	if complete.Complete && r.recent.complete.Complete && !r.damaged {
		r.compareLatest(before, after)
	}
	return r.Recount, nil
}

// latest is further ahead than any reading can be.
const latest = 400 * 24 * time.Hour

// recount is a recount under way.
type recount struct {
	Recount
	e        *Engine
	gateway  string
	found    func(api.Finding)
	from, to int64
	recent   *recent
	contents []*block.Content          // of recent
	newest   map[string]catalog.Latest // by sensor, of the readings

	damaged, damagedDay bool // something of the gateway, or of the day, cannot be read: the rest cannot be compared with it
}

func (r *recount) say(what, next, format string, args ...any) {
	r.found(api.Finding{What: what, Where: r.gateway, Text: fmt.Sprintf(format, args...), Next: next})
}

// notThere returns no error for a gateway that has a key and has never sent.
func notThere(err error) error {
	if schema.Is(err, schema.NotFound) {
		return nil
	}
	return err
}

// spoilt takes an error of the keyspace that says that something is damaged as a finding, and returns any other.
func (r *recount) spoilt(err error) error {
	if !errors.Is(err, keyspace.ErrDamaged) {
		return err
	}
	r.damaged = true
	f := api.Finding{What: api.FoundBlock, Where: "keyspace", Text: schema.Show(err)}
	if e, ok := errors.AsType[*schema.Error](err); ok {
		f.Text, f.Next = e.Text, e.Next
	}
	r.found(f)
	return nil
}

const (
	nextRow   = "what its tail held is set aside when the gateway sends again: provisioner aside ls <provider>"
	nextBlock = "restore the keyspace's file from a backup, or accept the loss: all other blocks are read as before"
	nextLost  = "look for what removed or changed blocks; restore the keyspace from a backup"
)

// readRecent decodes the head's parts and the tail.
func (r *recount) readRecent() {
	for _, what := range r.recent.damage.named {
		r.damaged = true
		r.say(api.FoundRow, nextRow, "%s", what)
	}
	for _, reader := range r.recent.readers {
		c, err := reader.Content()
		if err != nil {
			r.damaged = true
			r.say(api.FoundRow, nextRow, "a block of the tail or the head cannot be read: %s", schema.Show(err))
			continue
		}
		r.Tails++
		r.Stored += uint64(c.Readings())
		r.contents = append(r.contents, c)
	}
}

// days returns the days that rollups or recent readings say there is something of, in order.
func (r *recount) days(ctx context.Context) ([]int64, error) {
	var days []int64
	for _, reader := range r.recent.readers {
		days = append(days, schema.Start(reader.First(), schema.DaySpan), schema.Start(reader.Last(), schema.DaySpan))
	}
	err := r.e.store.Rollups(ctx, r.gateway, keyspace.Day, schema.Start(r.from, schema.DaySpan), r.to, func(row keyspace.Rollup) error {
		days = append(days, row.Start)
		return nil
	})
	if err := r.spoilt(err); err != nil {
		return nil, fmt.Errorf("list the days of gateway %s: %w", r.gateway, err)
	}
	slices.Sort(days)
	days = slices.Compact(days)
	if len(days) == 0 {
		days = []int64{schema.Start(r.from, schema.DaySpan)} // blocks alone may be there
	}
	return days, nil
}

// rest returns the days after the first, and before them one that has blocks though no rollup says so.
func (r *recount) rest(ctx context.Context, days []int64) ([]int64, error) {
	from, to := days[0]+schema.DaySpan, r.to
	if len(days) > 1 {
		to = days[1]
	}
	if from >= to {
		return days[1:], nil
	}
	errFirst, next := errors.New("found"), int64(0)
	err := r.e.store.Blocks(ctx, r.gateway, from, to, func(b keyspace.Block) error {
		if b.First < from { // it begins in the day before
			return nil
		}
		next = schema.Start(b.First, schema.DaySpan)
		return errFirst
	})
	switch {
	case errors.Is(err, errFirst):
		return append([]int64{next}, days[1:]...), nil
	case r.spoilt(err) != nil:
		return nil, fmt.Errorf("look for blocks of gateway %s: %w", r.gateway, err)
	}
	return days[1:], nil
}

// rolled are the rollups of a day, by span and start.
type rolled map[keyspace.RollupKey]keyspace.Rollup

func (r *recount) rollups(ctx context.Context, day int64) (rolled, error) {
	all := rolled{}
	for _, span := range []keyspace.Span{keyspace.Hour, keyspace.Day} {
		err := r.e.store.Rollups(ctx, r.gateway, span, day, day+schema.DaySpan, func(row keyspace.Rollup) error {
			row.Data = slices.Clone(row.Data)
			all[row.RollupKey] = row
			return nil
		})
		if err := r.spoilt(err); err != nil {
			return nil, fmt.Errorf("read the rollups of gateway %s: %w", r.gateway, err)
		}
	}
	return all, nil
}

// day recounts one day.
func (r *recount) day(ctx context.Context, day int64) error {
	before, err := r.rollups(ctx, day)
	if err != nil {
		return err
	}
	r.damagedDay = false
	sources, err := r.blocks(ctx, day)
	if err != nil {
		return err
	}
	after, err := r.rollups(ctx, day)
	if err != nil {
		return err
	}
	from := max(day, r.from)
	stats := map[keyspace.RollupKey][]rollup.Stat{}
	err = block.MergeSome(sources, from, day+schema.DaySpan, func(series []block.Series) {
		r.count(series)
		key := keyspace.RollupKey{Gateway: r.gateway, Span: keyspace.Day, Start: day}
		stats[key] = append(stats[key], rollup.Compute(series)...)
		key.Span = keyspace.Hour
		for ; key.Start < day+schema.DaySpan; key.Start += schema.HourSpan {
			stats[key] = append(stats[key], rollup.Compute(within(series, key.Start, key.Start+schema.HourSpan))...)
		}
	})
	if err != nil {
		return fmt.Errorf("merge the blocks of gateway %s: %w", r.gateway, err)
	}
	for key, row := range before {
		same := after[key].Computed == row.Computed && after[key].Stale == row.Stale && bytes.Equal(after[key].Data, row.Data)
		switch {
		case key.Start < r.from || r.damagedDay:
		case !same || !row.Counts() || r.open(key):
			r.Moving++
		default:
			r.Rollups++
			r.compareRollup(&row, stats[key])
		}
	}
	return nil
}

// open reports whether the head or the tail has readings of a rollup's span.
func (r *recount) open(key keyspace.RollupKey) bool {
	return slices.ContainsFunc(r.recent.readers, func(reader *block.Reader) bool {
		return reader.First() < key.Start+key.Span.Length() && reader.Last() >= key.Start
	})
}

// blocks decodes the blocks of a day, and returns them with what is recent.
func (r *recount) blocks(ctx context.Context, day int64) (sources []block.Source, err error) {
	err = r.e.store.Blocks(ctx, r.gateway, day, day+schema.DaySpan, func(b keyspace.Block) error {
		if schema.Start(b.First, schema.DaySpan) != day { // another day's, which may hold readings of this one by its key alone
			return nil
		}
		c, err := r.decode(&b)
		if err != nil {
			r.damaged, r.damagedDay = true, true
			r.say(api.FoundBlock, nextBlock, "the block of %s to %s, positions %s to %s, cannot be trusted: %s",
				stamp(b.First), stamp(b.Last), b.From, b.To, schema.Show(err))
			return nil
		}
		r.Blocks++
		r.Stored += uint64(c.Readings())
		sources = append(sources, c)
		return nil
	})
	if errors.Is(err, keyspace.ErrDamaged) {
		r.damagedDay = true
	}
	if err := r.spoilt(err); err != nil {
		return nil, fmt.Errorf("read the blocks of gateway %s: %w", r.gateway, err)
	}
	for _, c := range r.contents {
		sources = append(sources, c)
	}
	return sources, nil
}

func stamp(t int64) string { return time.Unix(0, t).UTC().Format(time.RFC3339) }

// decode decodes a whole block, and holds it against its key.
func (r *recount) decode(b *keyspace.Block) (*block.Content, error) {
	reader, err := block.Open(slices.Clone(b.Data))
	if err != nil {
		return nil, err
	}
	c, err := reader.Content()
	if err != nil {
		return nil, err
	}
	first, last := c.Span()
	if c.Gateway != b.Gateway || first != b.First || last != b.Last || c.From != b.From || c.To != b.To {
		return nil, schema.Errorf(schema.Invalid, "it holds gateway %q, %s to %s, positions %s to %s", c.Gateway, stamp(first), stamp(last), c.From, c.To)
	}
	return c, nil
}

// within returns the part of series in [from, to).
func within(series []block.Series, from, to int64) []block.Series {
	out := make([]block.Series, len(series))
	for i, s := range series {
		a, _ := slices.BinarySearch(s.Times, from)
		b, _ := slices.BinarySearch(s.Times, to)
		out[i] = block.Series{Sensor: s.Sensor, Times: s.Times[a:b], Kinds: s.Kinds[a:b], Bits: s.Bits[a:b], Texts: s.Texts}
	}
	return out
}

// count counts identities and notes the newest reading of each sensor.
func (r *recount) count(series []block.Series) {
	for i := range series {
		s := &series[i]
		n := s.Len()
		r.Identities += uint64(n)
		if n == 0 {
			continue
		}
		if known, ok := r.newest[s.Sensor]; !ok || known.Time < s.Times[n-1] {
			r.newest[s.Sensor] = catalog.Latest{Sensor: s.Sensor, Time: s.Times[n-1], Value: s.Value(n - 1)}
		}
	}
}

// compareRollup holds a rollup that counts against the readings. Equal readings give equal bytes, in one version.
func (r *recount) compareRollup(row *keyspace.Rollup, stats []rollup.Stat) {
	want := rollup.Encode(nil, stats)
	if bytes.Equal(row.Data, want) {
		return
	}
	name := "hour"
	if row.Span == keyspace.Day {
		name = "day"
	}
	kept, err := rollup.Decode(row.Data)
	if err != nil {
		r.say(api.FoundRollup, "charts read the readings instead: nothing is lost", "the %s of %s cannot be read: %s", name, stamp(row.Start), schema.Show(err))
		return
	}
	if bytes.Equal(rollup.Encode(nil, kept), want) {
		return // it was written by a release before this one
	}
	r.say(api.FoundRollup, nextLost, "the %s of %s: %s", name, stamp(row.Start), difference(kept, stats))
}

// difference says in which sensor two rollups differ first, and how.
func difference(kept, counted []rollup.Stat) string {
	byName := map[string]rollup.Stat{}
	for _, s := range counted {
		byName[s.Sensor] = s
	}
	for _, k := range kept {
		c := byName[k.Sensor]
		delete(byName, k.Sensor)
		if k.Count != c.Count {
			return fmt.Sprintf("its rollup counts %d readings of %s, but %d are stored", k.Count, k.Sensor, c.Count)
		}
		if !bytes.Equal(rollup.Encode(nil, []rollup.Stat{k}), rollup.Encode(nil, []rollup.Stat{c})) {
			return fmt.Sprintf("its rollup of %s was computed from other values than are stored", k.Sensor)
		}
	}
	for name, c := range byName {
		return fmt.Sprintf("its rollup knows nothing of %s, of which %d readings are stored", name, c.Count)
	}
	return "its rollup differs from what is stored"
}

// compareLatest holds what the catalog and the head knew before and after the readings were read against them: what was
// the newest before must be among them, and nothing among them may be newer than what is the newest after.
func (r *recount) compareLatest(before, after *catalog.Entry) {
	for _, l := range before.Latest {
		if l.Time < r.from {
			continue
		}
		r.Latest++
		n, ok := r.newest[l.Sensor]
		switch now := latestOf(after, l.Sensor); {
		case !ok || n.Time < l.Time:
			r.say(api.FoundLatest, nextLost, "%s was last measured at %s, but no reading of that time is stored", l.Sensor, stamp(l.Time))
		case now != nil && now.Time == l.Time && now.Value == l.Value && n.Time == l.Time && n.Value != l.Value:
			r.say(api.FoundLatest, nextLost, "%s at %s is stored with another value than the newest one known", l.Sensor, stamp(l.Time))
		}
	}
	for name, n := range r.newest {
		now := latestOf(after, name)
		if now == nil && n.Value.Kind() == schema.Text {
			continue // the longest texts are left out of a row that would be too large
		}
		if now == nil || now.Time < n.Time {
			r.say(api.FoundLatest, "it comes right with the sensor's next reading", "the newest reading of %s, of %s, is not known to be the newest", name, stamp(n.Time))
		}
	}
}

func latestOf(e *catalog.Entry, sensor string) *catalog.Latest {
	i, ok := slices.BinarySearchFunc(e.Latest, sensor, func(l catalog.Latest, sensor string) int { return cmp.Compare(l.Sensor, sensor) })
	if !ok {
		return nil
	}
	return &e.Latest[i]
}
