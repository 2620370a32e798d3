package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"sync"

	"berth/internal/keyspace"
	"berth/schema"
)

const (
	selectGateway = `
SELECT g.sequence, g.ordinal, g.entry, g.tail FROM names n JOIN gateways g ON g.id = n.id WHERE n.name = ?`

	selectGateways = `
SELECT n.name, g.sequence, g.ordinal, g.entry, g.tail IS NULL FROM names n CROSS JOIN gateways g ON g.id = n.id
WHERE n.name > ? ORDER BY n.name LIMIT ?`
)

// listRows is how many rows of gateways or rollups one read transaction takes at most.
const listRows = 256

// selectRollups has its limit in its text: SQLite prepares a statement anew whenever a limit is bound.
var selectRollups = `
SELECT start, computed_sequence, computed_ordinal, stale_sequence, stale_ordinal, data FROM rollups
WHERE gateway = ? AND span = ? AND start >= ? AND start < ? ORDER BY start LIMIT ` + strconv.Itoa(listRows)

// Gateway returns a gateway's row with its tail.
func (r *reader) Gateway(ctx context.Context, name string) (keyspace.Gateway, error) {
	f, err := r.files.catalog(ctx)
	if err != nil {
		return keyspace.Gateway{}, err
	}
	defer r.files.leave(f)
	g := keyspace.Gateway{Name: name}
	err = f.row(ctx, selectGateway, name).Scan(&g.Position.Sequence, &g.Position.Ordinal, &g.Entry, &g.Tail)
	if errors.Is(err, sql.ErrNoRows) {
		return keyspace.Gateway{}, schema.Errorf(schema.NotFound, "there is no gateway %q", name)
	}
	if err != nil {
		return keyspace.Gateway{}, fileError("read", f.path, err)
	}
	return g, nil
}

// Gateways returns up to limit rows, in byte order of names.
func (r *reader) Gateways(ctx context.Context, after string, limit int) ([]keyspace.Gateway, error) {
	f, err := r.files.catalog(ctx)
	if err != nil {
		return nil, err
	}
	defer r.files.leave(f)
	var all []keyspace.Gateway
	for len(all) < limit {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		want := min(limit-len(all), listRows)
		before := len(all)
		if all, err = f.gateways(ctx, all, after, want); err != nil {
			return nil, fileError("read", f.path, err)
		}
		if len(all)-before < want {
			break
		}
		after = all[len(all)-1].Name
	}
	return all, nil
}

func (r *readFile) gateways(ctx context.Context, all []keyspace.Gateway, after string, limit int) ([]keyspace.Gateway, error) {
	rows, err := r.query(ctx, selectGateways, after, limit)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // only read; Err has what went wrong
	for rows.Next() {
		var g keyspace.Gateway
		var sequence, ordinal int64 // other types go by way of a text
		if err := rows.Scan(&g.Name, &sequence, &ordinal, &g.Entry, &g.Tailless); err != nil {
			return nil, err
		}
		g.Position = position(sequence, ordinal)
		all = append(all, g)
	}
	return all, rows.Err()
}

// Rollups yields a gateway's rollups, page by page.
func (r *reader) Rollups(
	ctx context.Context, gateway string, span keyspace.Span, from, to int64, yield func(keyspace.Rollup) error,
) error {
	f, err := r.files.catalog(ctx)
	if err != nil {
		return err
	}
	defer r.files.leave(f)
	id, err := f.gatewayID(ctx, gateway)
	if id == 0 {
		return err
	}
	p := getRollupPage(keyspace.RollupKey{Gateway: gateway, Span: span})
	defer p.put()
	for from < to {
		if err := ctx.Err(); err != nil {
			return err
		}
		more, err := p.read(ctx, f, id, from, to)
		if err != nil {
			return fileError("read", f.path, err)
		}
		for i := range p.rollups {
			if err := yield(p.rollups[i]); err != nil {
				return err
			}
		}
		if !more {
			break
		}
		from = p.rollups[len(p.rollups)-1].Start + 1
	}
	return nil
}

// rollupPage is what one read transaction has read of a gateway's rollups.
type rollupPage struct {
	key     keyspace.RollupKey
	rollups []keyspace.Rollup
	ends    []int // of what is stored of each rollup in stored
	stored  []byte
	data    []byte // of all rollups; they point into it

	row  [5]int64 // that is being read
	raw  sql.RawBytes
	into []any // the row's places: its numbers and raw
}

// rollupPages are kept between calls: their buffers are what Data of yielded rollups lies in.
var rollupPages sync.Pool

func getRollupPage(key keyspace.RollupKey) *rollupPage {
	p, ok := rollupPages.Get().(*rollupPage)
	if !ok {
		p = &rollupPage{}
		for i := range p.row {
			p.into = append(p.into, &p.row[i])
		}
		p.into = append(p.into, &p.raw)
	}
	p.key = key
	return p
}

// put keeps the page for another call, unless some large rollup has made it large.
func (p *rollupPage) put() {
	if cap(p.data)+cap(p.stored) <= 8*pageBytes {
		rollupPages.Put(p)
	}
}

// read fills the page; it reports whether there may be more rollups after it.
func (p *rollupPage) read(ctx context.Context, f *readFile, gateway, from, to int64) (more bool, err error) {
	if err := p.readStored(ctx, f, gateway, from, to); err != nil {
		return false, err
	}
	if err := p.makeWhole(ctx, f); err != nil {
		return false, err
	}
	return len(p.rollups) == listRows || len(p.stored) >= pageBytes, nil
}

// makeWhole makes the rollups' data of what is stored of them.
func (p *rollupPage) makeWhole(ctx context.Context, f *readFile) (err error) {
	p.data = p.data[:0]
	begin := 0
	for i, end := range p.ends {
		if p.data, err = f.whole(ctx, p.data, p.stored[begin:end]); err != nil {
			return err
		}
		p.ends[i], begin = len(p.data), end
	}
	begin = 0
	for i, end := range p.ends { // the data has stopped moving
		if end > begin {
			p.rollups[i].Data = p.data[begin:end:end]
		}
		begin = end
	}
	return nil
}

// readStored reads rows as they are stored.
func (p *rollupPage) readStored(ctx context.Context, f *readFile, gateway, from, to int64) error {
	p.rollups, p.ends, p.stored = p.rollups[:0], p.ends[:0], p.stored[:0]
	rows, err := f.query(ctx, selectRollups, gateway, int64(p.key.Span), from, to)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }() // only read; Err has what went wrong
	for len(p.stored) < pageBytes && rows.Next() {
		if err := rows.Scan(p.into...); err != nil {
			return err
		}
		k := &p.row
		r := keyspace.Rollup{RollupKey: p.key, Computed: position(k[1], k[2]), Stale: position(k[3], k[4])}
		r.Start = k[0]
		p.rollups = append(p.rollups, r)
		p.stored = append(p.stored, p.raw...)
		p.ends = append(p.ends, len(p.stored))
	}
	return rows.Err()
}
