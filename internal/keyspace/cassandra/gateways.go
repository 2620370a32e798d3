package cassandra

import (
	"context"

	"github.com/gocql/gocql"

	"berth/internal/keyspace"
	"berth/schema/cql"
)

// Gateways returns up to limit rows, in byte order of names: each bucket is in that order, so they are merged.
func (r *reader) Gateways(ctx context.Context, after string, limit int) ([]keyspace.Gateway, error) {
	if err := r.begin(ctx); err != nil || limit < 1 {
		return nil, err
	}
	page := max(4, min(2*limit/cql.Buckets, rollupsPage))
	buckets := make([]*bucket, cql.Buckets)
	defer func() {
		for _, b := range buckets {
			if b != nil {
				_ = b.rows.Close() // what went wrong was found when it was read
			}
		}
	}()
	err := r.backend.each(ctx, len(buckets), func(_ context.Context, i int) error {
		buckets[i] = &bucket{rows: r.query(ctx, r.selectRows, r.key, i, after).PageSize(page).Iter()}
		return buckets[i].next()
	})
	if err != nil {
		return nil, r.failed(ctx, "read", err)
	}
	var all []keyspace.Gateway
	for len(all) < limit {
		var first *bucket
		for _, b := range buckets {
			if !b.ended && (first == nil || b.row.Name < first.row.Name) {
				first = b
			}
		}
		if first == nil {
			break
		}
		all = append(all, first.row)
		if err := first.next(); err != nil {
			return nil, r.failed(ctx, "read", err)
		}
	}
	return all, r.there(ctx, len(all) > 0)
}

// bucket is the reading of a bucket's rows.
type bucket struct {
	rows  *gocql.Iter
	row   keyspace.Gateway // read last
	ended bool
}

// next reads the next row. A gateway of which nothing but a cell without a row is there has none.
func (b *bucket) next() error {
	var entry []byte
	for b.rows.Scan(&b.row.Name, &entry) {
		if len(entry) == 0 {
			continue
		}
		var err error
		b.row.Position, b.row.Entry, err = cql.ParseCell(entry)
		return err
	}
	b.ended = true
	return b.rows.Close()
}
