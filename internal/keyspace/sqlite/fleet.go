package sqlite

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"berth/internal/keyspace"
)

const (
	// fleetNames is of how many gateways one statement asks.
	fleetNames = 16
	// fleetRows is how many rollups one read transaction takes at most of them: a month of days of each.
	fleetRows = 512
)

// The names' tree is walked from the first gateway to the last, which gives the order; those between that were not asked about are
// passed over. The unary plus keeps SQLite from looking each of them up, and sorting then.
var (
	ofFleet = ` IN (?` + strings.Repeat(", ?", fleetNames-1) + `)`

	selectFleetIDs = `
SELECT n.name, n.id FROM names n WHERE n.name >= ? AND n.name <= ? AND +n.name` + ofFleet

	selectFleetRows = `
SELECT n.name, g.sequence, g.ordinal, g.entry, g.tail FROM names n CROSS JOIN gateways g ON g.id = n.id
WHERE n.name >= ? AND n.name <= ? AND +n.name` + ofFleet + ` ORDER BY n.name`

	selectFleetRollups = `
SELECT r.gateway, r.start,
  CASE WHEN (r.computed_sequence, r.computed_ordinal) >= (r.stale_sequence, r.stale_ordinal) THEN r.data END
FROM names n CROSS JOIN rollups r ON r.gateway = n.id
WHERE n.name >= ? AND n.name <= ? AND +n.id` + ofFleet + ` AND r.span = ? AND r.start >= iif(n.name = ?, ?, ?) AND r.start < ?
ORDER BY n.name, r.start LIMIT ` + strconv.Itoa(fleetRows)
)

// fleetArguments returns the names' bounds and what ofFleet is given: the last of its one or more members is repeated.
func fleetArguments[T any](first, last string, of []T) []any {
	args := []any{first, last}
	for i := range fleetNames {
		args = append(args, of[min(i, len(of)-1)])
	}
	return args
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
	rows, err := r.query(ctx, selectFleetRows, fleetArguments(names[0], names[len(names)-1], names)...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // only read; Err has what went wrong
	for rows.Next() {
		var g keyspace.Gateway
		if err := rows.Scan(&g.Name, &g.Position.Sequence, &g.Position.Ordinal, &g.Entry, &g.Tail); err != nil {
			return nil, err
		}
		all = append(all, g)
	}
	return all, rows.Err()
}

// fleetIDs returns the gateways' numbers, and their names by them.
func (r *readFile) fleetIDs(ctx context.Context, names []string) (ids []int64, byID map[int64]string, err error) {
	rows, err := r.query(ctx, selectFleetIDs, fleetArguments(names[0], names[len(names)-1], names)...)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = rows.Close() }() // only read; Err has what went wrong
	byID = make(map[int64]string, len(names))
	for rows.Next() {
		var name string
		var id int64
		if err := rows.Scan(&name, &id); err != nil {
			return nil, nil, err
		}
		ids, byID[id] = append(ids, id), name
	}
	return ids, byID, rows.Err()
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
	ids, byID, err := r.fleetIDs(ctx, names)
	if err != nil {
		return fileError("read", r.path, err)
	}
	p := getRollupPage(keyspace.RollupKey{Span: span})
	defer p.put()
	next := keyspace.RollupKey{Gateway: names[0], Start: from}
	for more := len(ids) > 0; more; {
		if err := ctx.Err(); err != nil {
			return err
		}
		args := append(fleetArguments(next.Gateway, names[len(names)-1], ids), int64(span), next.Gateway, next.Start, from, to)
		if more, err = p.readFleet(ctx, r, byID, args); err != nil {
			return fileError("read", r.path, err)
		}
		for i := range p.rollups {
			if err := yield(p.rollups[i].RollupKey, p.rollups[i].Data); err != nil {
				return err
			}
		}
		if more {
			next = p.rollups[len(p.rollups)-1].RollupKey
			next.Start++
		}
	}
	return nil
}

// readFleet fills the page with rollups of several gateways; it reports whether there may be more after it.
func (p *rollupPage) readFleet(ctx context.Context, f *readFile, byID map[int64]string, args []any) (more bool, err error) {
	if err := p.readFleetStored(ctx, f, byID, args); err != nil {
		return false, err
	}
	if err := p.makeWhole(ctx, f); err != nil {
		return false, err
	}
	return len(p.rollups) == fleetRows || len(p.stored) >= pageBytes, nil
}

// readFleetStored reads rows as they are stored.
func (p *rollupPage) readFleetStored(ctx context.Context, f *readFile, byID map[int64]string, args []any) error {
	p.rollups, p.ends, p.stored = p.rollups[:0], p.ends[:0], p.stored[:0]
	rows, err := f.query(ctx, selectFleetRollups, args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }() // only read; Err has what went wrong
	into := []any{&p.row[0], &p.row[1], &p.raw}
	for len(p.stored) < pageBytes && rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		key := keyspace.RollupKey{Gateway: byID[p.row[0]], Span: p.key.Span, Start: p.row[1]}
		p.rollups = append(p.rollups, keyspace.Rollup{RollupKey: key})
		p.stored = append(p.stored, p.raw...)
		p.ends = append(p.ends, len(p.stored))
	}
	return rows.Err()
}
