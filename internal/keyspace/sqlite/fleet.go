package sqlite

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"berth/internal/keyspace"
	"berth/schema"
)

const (
	// fleetNames is of how many gateways one statement asks.
	fleetNames = 16
	// fleetRows is how many rollups one read transaction takes at most of them: a month of days of each.
	fleetRows = 512
)

// Those asked about are a table of numbers, from 0, and names, NULL where there are fewer. SQLite makes it row by row as it looks
// each of them up, one after the other: CROSS JOIN keeps it so, and that gives the order.
var (
	ofFleet = `WITH asked(n, name) AS (VALUES ` + fleetValues() + `)`

	selectFleetRows = ofFleet + `
SELECT n, g.sequence, g.ordinal, g.entry, g.tail
FROM asked CROSS JOIN names m ON m.name = asked.name CROSS JOIN gateways g ON g.id = m.id`

	// A start is a multiple of an hour, so the number, which is less, goes with it: a column costs as much as finding the row.
	selectFleetRollups = ofFleet + `
SELECT r.start + n, CASE WHEN (r.computed_sequence, r.computed_ordinal) >= (r.stale_sequence, r.stale_ordinal) THEN r.data END
FROM asked CROSS JOIN names m ON m.name = asked.name CROSS JOIN rollups r ON r.gateway = m.id
WHERE r.span = ? AND r.start >= iif(n = 0, ?, ?) AND r.start < ?
LIMIT ` + strconv.Itoa(fleetRows)
)

func fleetValues() string {
	rows := make([]string, fleetNames)
	for n := range rows {
		rows[n] = "(" + strconv.Itoa(n) + ", ?)"
	}
	return strings.Join(rows, ", ")
}

// fleetArguments returns what ofFleet is given for up to fleetNames names, and then more.
func fleetArguments(names []string, more ...any) []any {
	args := make([]any, fleetNames, fleetNames+len(more))
	for n, name := range names {
		args[n] = name
	}
	return append(args, more...)
}

// FleetRows returns the gateways' rows with their tails.
func (r *reader) FleetRows(ctx context.Context, names []string) ([]keyspace.Gateway, error) {
	f, err := r.files.catalog(ctx)
	if err != nil {
		return nil, err
	}
	defer r.files.leave(f)
	var all []keyspace.Gateway
	for some := range slices.Chunk(names, fleetNames) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if all, err = f.fleetRows(ctx, all, some); err != nil {
			return nil, fileError("read", f.path, err)
		}
	}
	return all, nil
}

func (r *readFile) fleetRows(ctx context.Context, all []keyspace.Gateway, names []string) ([]keyspace.Gateway, error) {
	rows, err := r.query(ctx, selectFleetRows, fleetArguments(names)...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // only read; Err has what went wrong
	for rows.Next() {
		var n, sequence, ordinal int64
		var entry, tail []byte
		if err := rows.Scan(&n, &sequence, &ordinal, &entry, &tail); err != nil {
			return nil, err
		}
		all = append(all, keyspace.Gateway{Name: names[n], Position: position(sequence, ordinal), Entry: entry, Tail: tail})
	}
	return all, rows.Err()
}

// FleetRollups yields the gateways' rollups, page by page.
func (r *reader) FleetRollups(
	ctx context.Context, names []string, span keyspace.Span, from, to int64, yield func(keyspace.RollupKey, []byte) error,
) error {
	f, err := r.files.catalog(ctx)
	if err != nil {
		return err
	}
	defer r.files.leave(f)
	if from >= to {
		return nil
	}
	for some := range slices.Chunk(names, fleetNames) {
		if err := f.fleetRollups(ctx, some, span, from, to, yield); err != nil {
			return err
		}
	}
	return nil
}

// fleetRollups yields the rollups of up to fleetNames gateways.
func (r *readFile) fleetRollups(
	ctx context.Context, names []string, span keyspace.Span, from, to int64, yield func(keyspace.RollupKey, []byte) error,
) error {
	p := getRollupPage(keyspace.RollupKey{Span: span})
	defer p.put()
	next := from // of the first of the names
	for more := true; more; {
		if err := ctx.Err(); err != nil {
			return err
		}
		var err error
		if more, err = p.readFleet(ctx, r, names, fleetArguments(names, int64(span), next, from, to)); err != nil {
			return fileError("read", r.path, err)
		}
		for i := range p.rollups {
			if err := yield(p.rollups[i].RollupKey, p.rollups[i].Data); err != nil {
				return err
			}
		}
		if more {
			last := &p.rollups[len(p.rollups)-1]
			names, next = names[slices.Index(names, last.Gateway):], last.Start+1
		}
	}
	return nil
}

// readFleet fills the page with rollups of several gateways; it reports whether there may be more after it.
func (p *rollupPage) readFleet(ctx context.Context, f *readFile, names []string, args []any) (more bool, err error) {
	if err := p.readFleetStored(ctx, f, names, args); err != nil {
		return false, err
	}
	if err := p.makeWhole(ctx, f); err != nil {
		return false, err
	}
	return len(p.rollups) == fleetRows || len(p.stored) >= pageBytes, nil
}

// readFleetStored reads rows as they are stored.
func (p *rollupPage) readFleetStored(ctx context.Context, f *readFile, names []string, args []any) error {
	p.rollups, p.ends, p.stored = p.rollups[:0], p.ends[:0], p.stored[:0]
	rows, err := f.query(ctx, selectFleetRollups, args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }() // only read; Err has what went wrong
	into := []any{&p.row[0], &p.raw}
	for len(p.stored) < pageBytes && rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		start := schema.Start(p.row[0], p.key.Span.Length())
		n := p.row[0] - start
		if n >= int64(len(names)) {
			return damagedPart(f.path, "a rollup that starts at %d", start)
		}
		key := keyspace.RollupKey{Gateway: names[n], Span: p.key.Span, Start: start}
		p.rollups = append(p.rollups, keyspace.Rollup{RollupKey: key})
		p.stored = append(p.stored, p.raw...)
		p.ends = append(p.ends, len(p.stored))
	}
	return rows.Err()
}
