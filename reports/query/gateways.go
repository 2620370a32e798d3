package query

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"berth/internal/api"
	"berth/internal/headapi"
	"berth/schema"
	"berth/schema/catalog"
)

// Choice is of gateways that are in one of the groups, of which none means any, and have all of the tags, each a name, or a
// name=value. The zero Choice is of all.
type Choice struct {
	Groups []string
	Tags   []string
}

// All reports whether it is of all gateways.
func (c Choice) All() bool { return len(c.Groups) == 0 && len(c.Tags) == 0 }

// has reports whether a gateway is of a choice.
func (e *Engine) has(c Choice, gateway string) bool {
	return c.All() || e.grouping(gateway).In(c.Groups, c.Tags)
}

// outline is what lists sort gateways by, an entry without attributes and newest readings, and all that is known of it, as it came.
type outline struct {
	catalog.Entry
	row, head []byte // encoded; nil: the one knows nothing of it
	tailless  bool   // its row has no tail
	kept      bool   // what is known of it is not here: it is to be read
}

// outlines returns those of the first gateways after a name, of the head, the catalog and the keys together, and what the head said
// first. What of the catalog cannot be read is left out, and named.
func (e *Engine) outlines(ctx context.Context, q headapi.GatewaysRequest, damaged *damage) ([]outline, headapi.Header, api.Complete, error) {
	var all []outline
	header, complete := e.ask(ctx, headapi.Gateways, q, func(data []byte) error {
		entry, err := catalog.Outline(data)
		all = append(all, outline{Entry: entry, head: data})
		return err
	})
	all = slices.DeleteFunc(all, func(o outline) bool { return o.Gateway == "" }) // it could not be read: the head did not answer
	rows, err := e.store.Gateways(ctx, q.After, q.Limit)
	if err := damaged.take(err); err != nil {
		return nil, header, complete, fmt.Errorf("list gateways: %w", err)
	}
	all = slices.Grow(all, len(rows))
	for i := range rows {
		row := outline{row: rows[i].Entry, tailless: rows[i].Tailless}
		if row.Entry, err = catalog.Outline(row.row); err != nil {
			damaged.add(err, "the entry of gateway %q in the catalog cannot be read", rows[i].Name)
			row = outline{}
		}
		row.Gateway = rows[i].Name
		all = append(all, row)
	}
	keys := e.keys()
	next, _ := slices.BinarySearch(keys, q.After+"\x00")
	for _, name := range keys[next:min(len(keys), next+q.Limit)] {
		all = append(all, outline{Entry: catalog.Entry{Gateway: name}})
	}
	slices.SortFunc(all, func(a, b outline) int { return strings.Compare(a.Gateway, b.Gateway) })
	all = unite(all)
	return all[:min(len(all), q.Limit)], header, complete, nil
}

// unite makes one outline of those of one gateway, which follow each other.
func unite(all []outline) []outline {
	n := 0
	for i := range all {
		if n == 0 || all[n-1].Gateway != all[i].Gateway {
			all[n] = all[i]
			n++
			continue
		}
		one, other := &all[n-1], all[i]
		if other.row != nil {
			*one, other = other, *one // what the head says is joined into it
		}
		join(&one.Entry, &other.Entry)
		if other.head != nil {
			one.head = other.head
		}
	}
	clear(all[n:])
	return all[:n]
}

// whole reads all that is known of a gateway. What cannot be read is left out, and named.
func (o *outline) whole(damaged *damage) *catalog.Entry { return o.some(nil, damaged) }

// some is whole, but without attributes and with the newest readings of those sensors only that are wanted. nil: it is whole.
func (o *outline) some(want func(sensor []byte) bool, damaged *damage) *catalog.Entry {
	var row, head *catalog.Entry
	var err error
	if o.row != nil {
		if row, err = catalog.DecodeSome(o.row, want); err != nil {
			damaged.add(err, "the entry of gateway %q in the catalog cannot be read", o.Gateway)
		}
	}
	if o.head != nil {
		if head, err = catalog.DecodeSome(o.head, want); err != nil {
			damaged.add(err, "what ingest says of gateway %q cannot be read", o.Gateway)
		}
	}
	if entry := join(row, head); entry != nil {
		return entry
	}
	return &catalog.Entry{Gateway: o.Gateway}
}

// entries returns all that is known of the first gateways after a name, and what the head said first.
func (e *Engine) entries(ctx context.Context, q headapi.GatewaysRequest) ([]*catalog.Entry, headapi.Header, api.Complete, error) {
	damaged := damage{engine: e}
	all, header, complete, err := e.outlines(ctx, q, &damaged)
	entries := make([]*catalog.Entry, len(all))
	for i := range all {
		entries[i] = all[i].whole(&damaged)
	}
	return entries, header, damaged.apply(complete), err
}

// join merges what the head knows of a gateway, which may be nothing, into its row's entry.
func join(row, head *catalog.Entry) *catalog.Entry {
	switch {
	case head == nil:
		return row
	case row == nil:
		return head
	}
	if row.FirstSeen == 0 || head.FirstSeen != 0 && head.FirstSeen < row.FirstSeen {
		row.FirstSeen = head.FirstSeen
	}
	row.LastSeen = max(row.LastSeen, head.LastSeen)
	if head.Interval != 0 {
		row.Interval = head.Interval
	}
	row.Arrived = row.Arrived.Join(head.Arrived, func(a, b uint64) uint64 { return max(a, b) }) // the head counts on from the row once it has read it
	if len(head.Attributes) > 0 {
		row.Attributes = head.Attributes
	}
	for _, l := range head.Latest {
		row.Observe(l.Sensor, l.Time, l.Value, l.Position)
	}
	return row
}

// gateway returns an entry as the API answers it, with how many rejects are kept of it.
func (e *Engine) gateway(entry *catalog.Entry, rejects rejects) api.Gateway {
	g := api.Gateway{
		Name:       entry.Gateway,
		Interval:   time.Duration(entry.Interval).Seconds(),
		Sensors:    len(entry.Latest),
		Attributes: map[string]string{},
	}
	said := api.GroupingOf(entry.Gateway, e.grouping(entry.Gateway))
	g.Groups, g.Tags = said.Groups, said.Tags
	for _, a := range entry.Attributes {
		g.Attributes[a.Name] = a.Value
	}
	if entry.LastSeen != 0 {
		g.LastSeen = new(e.Clock().Time(entry.LastSeen))
		g.FirstSeen = new(e.Clock().Time(entry.FirstSeen))
	}
	if ahead := clockAhead(entry); ahead > api.ClockTolerance {
		g.ClockAhead = ahead.Seconds()
	}
	now := e.now()
	g.State, g.Rate = stateOf(now, entry), entry.Arrived.LastHour(now.UnixNano())
	if rejects != nil {
		g.Rejects = new(rejects(entry.Gateway))
	}
	return g
}

func stateOf(now time.Time, entry *catalog.Entry) api.State {
	var last time.Time
	if entry.LastSeen != 0 {
		last = time.Unix(0, entry.LastSeen)
	}
	return api.StateOf(now, last, time.Duration(entry.Interval))
}

// clockAhead returns by how much the newest reading of a gateway was measured after the last of its frames arrived, and so
// after its own did: its clock is ahead of ours by at least that.
func clockAhead(entry *catalog.Entry) time.Duration {
	ahead := time.Duration(0)
	for i := range entry.Latest {
		ahead = max(ahead, time.Duration(entry.Latest[i].Time-entry.LastSeen))
	}
	return ahead
}

// entry returns all that is known of a gateway, or what unknown says.
func (e *Engine) entry(ctx context.Context, gateway string) (*catalog.Entry, api.Complete, error) {
	entry, complete, damaged, err := e.entryApart(ctx, gateway)
	return entry, damaged.apply(complete), err
}

// entryApart is entry, and says apart from each other how far the head's answer is complete and what is damaged.
func (e *Engine) entryApart(ctx context.Context, gateway string) (*catalog.Entry, api.Complete, damage, error) {
	var head *catalog.Entry
	_, complete := e.ask(ctx, headapi.Latest, headapi.LatestRequest{Gateway: gateway}, func(data []byte) error {
		var err error
		head, err = catalog.DecodeEntry(data)
		return err
	})
	damaged := damage{engine: e}
	row, err := e.store.Gateway(ctx, gateway)
	switch {
	case err == nil:
		entry, err := catalog.DecodeEntry(row.Entry)
		if err != nil {
			damaged.add(err, "the entry of gateway %q in the catalog cannot be read", gateway)
			entry = &catalog.Entry{Gateway: gateway}
		} else if !complete.Complete && complete.UpTo == nil {
			complete.UpTo = new(e.Clock().Time(entry.LastSeen))
		}
		return join(entry, head), complete, damaged, nil
	case schema.Is(err, schema.NotFound):
	case damaged.take(err) != nil:
		return nil, complete, damaged, fmt.Errorf("read the row of gateway %s: %w", gateway, err)
	}
	if head != nil {
		return head, complete, damaged, nil
	}
	if _, has := slices.BinarySearch(e.keys(), gateway); has || damaged.count > 0 {
		return &catalog.Entry{Gateway: gateway}, complete, damaged, nil
	}
	return nil, complete, damaged, unknown(gateway, &complete)
}

// unknown is the error for a gateway that nobody knows. Without a complete answer of the head it may be in the log alone:
// then it is Unavailable, else NotFound.
func unknown(gateway string, head *api.Complete) error {
	if !head.Complete {
		return schema.Errorf(schema.Unavailable, "whether there is a gateway %q cannot be told now: %s", gateway, head.Reason).
			WithNext("try again in a moment")
	}
	return schema.Errorf(schema.NotFound, "no gateway is named %q", gateway)
}

// Gateway answers with one gateway, or NotFound.
func (e *Engine) Gateway(ctx context.Context, name string) (*api.Gateway, error) {
	entry, _, err := e.entry(ctx, name)
	if err != nil {
		return nil, err
	}
	return new(e.gateway(entry, e.rejects(ctx))), nil
}

// Sensors answers with the sensors of a gateway, or NotFound.
func (e *Engine) Sensors(ctx context.Context, gateway string) (*api.Sensors, error) {
	entry, complete, err := e.entry(ctx, gateway)
	if err != nil {
		return nil, err
	}
	answer := &api.Sensors{Gateway: gateway, Sensors: make([]api.Sensor, 0, len(entry.Latest)), Complete: complete}
	for _, l := range entry.Latest {
		answer.Sensors = append(answer.Sensors, api.Sensor{Name: l.Sensor, Kind: l.Value.Kind().String()})
	}
	return answer, nil
}

// Latest answers with the reading measured last of each sensor of a gateway, or NotFound.
func (e *Engine) Latest(ctx context.Context, gateway string) (*api.Latest, error) {
	entry, complete, err := e.entry(ctx, gateway)
	if err != nil {
		return nil, err
	}
	answer := &api.Latest{Gateway: gateway, Readings: make([]api.Reading, 0, len(entry.Latest)), Complete: complete}
	oldest, clock := e.oldest(), e.Clock()
	for _, l := range entry.Latest {
		if l.Time >= oldest {
			answer.Readings = append(answer.Readings, clock.Reading(l.Sensor, l.Time, l.Value))
		}
	}
	return answer, nil
}
