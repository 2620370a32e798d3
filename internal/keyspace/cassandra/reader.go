package cassandra

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"github.com/gocql/gocql"

	"berth/internal/keyspace"
	"berth/schema"
	"berth/schema/cql"
)

const (
	// blocksPage is how many blocks come in one answer of a node; they have kilobytes, and seldom up to a megabyte.
	blocksPage = 64
	// rollupsPage is the same for rollups.
	rollupsPage = 256
	// askedDirectly is how many partitions a reader asks without looking first which there are.
	askedDirectly = 8
)

// reader reads a keyspace.
type reader struct {
	*tables
	closed atomic.Bool
}

var _ keyspace.Reader = (*reader)(nil)

// Close ends the reader.
func (r *reader) Close() error {
	r.closed.Store(true)
	return nil
}

// begin says whether the reader may be asked.
func (r *reader) begin(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("use keyspace %s: %w", r.name, err)
	}
	if r.closed.Load() {
		return schema.Errorf(schema.Unavailable, "keyspace %s is closed", r.name)
	}
	return nil
}

// weekOf returns the week of a time.
func weekOf(t int64) int {
	d := keyspace.DayOf(t)
	if d < 0 {
		d -= 6
	}
	return int(d / 7)
}

// monthOf returns the month of a time.
func monthOf(t int64) int {
	at := time.Unix(0, t).UTC()
	return (at.Year()-1970)*12 + int(at.Month()) - 1
}

// dayStart returns the begin of the day of a time, or the first time that there is.
func dayStart(t int64) int64 {
	into := t % schema.DaySpan
	if into < 0 {
		into += schema.DaySpan
	}
	if t < math.MinInt64+into {
		return math.MinInt64
	}
	return t - into
}

// partitions returns which of the partitions from first to last to ask, in order: all when they are few, else those that
// the catalog knows of the gateway.
func (r *reader) partitions(ctx context.Context, list, gateway string, first, last int) ([]int, error) {
	var all []int
	if last-first < askedDirectly {
		for p := first; p <= last; p++ {
			all = append(all, p)
		}
		return all, nil
	}
	err := r.query(ctx, list, r.key, cql.StoredFrom+cql.Bucket(gateway), gateway).Scan(&all)
	if errors.Is(err, gocql.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, r.failed(ctx, "read", err)
	}
	slices.Sort(all)
	return slices.DeleteFunc(all, func(p int) bool { return p < first || p > last }), nil
}

// blockRow is a block as a row.
type blockRow struct {
	keyspace.Block
	written int64 // when, by the clock of the writer
}

func (b *blockRow) scan(rows *gocql.Iter) bool {
	return rows.Scan(&b.First, &b.From.Sequence, &b.From.Ordinal, &b.To.Sequence, &b.To.Ordinal, &b.Part, &b.Last, &b.written, &b.Data)
}

// Blocks yields a gateway's blocks, week by week. Of rows with one key the first written counts.
func (r *reader) Blocks(ctx context.Context, gateway string, from, to int64, yield func(keyspace.Block) error) error {
	if err := r.begin(ctx); err != nil || from >= to {
		return err
	}
	weeks, err := r.partitions(ctx, r.selectWeeks, gateway, weekOf(from), weekOf(to-1))
	if err != nil {
		return err
	}
	found := false
	for _, week := range weeks {
		rows := r.query(ctx, r.selectBlocks, r.key, gateway, week, dayStart(from), to).PageSize(blocksPage).Iter()
		b, next := &blockRow{}, &blockRow{} // no block crosses a day, so from is compared with Last below
		b.Gateway, next.Gateway = gateway, gateway
		for more := b.scan(rows); more; {
			for more = next.scan(rows); more && next.BlockKey == b.BlockKey; more = next.scan(rows) {
				if next.written < b.written {
					b, next = next, b
				}
			}
			if found = true; b.Last >= from {
				if err := yield(b.Block); err != nil {
					_ = rows.Close() // yield's error says why it ended
					return err
				}
			}
			b, next = next, b
		}
		if err := rows.Close(); err != nil {
			return r.failed(ctx, "read", err)
		}
	}
	return r.there(ctx, found)
}

// Rollups yields a gateway's rollups, month by month.
func (r *reader) Rollups(
	ctx context.Context, gateway string, span keyspace.Span, from, to int64, yield func(keyspace.Rollup) error,
) error {
	if err := r.begin(ctx); err != nil || from >= to {
		return err
	}
	months, err := r.partitions(ctx, r.selectMonths, gateway, monthOf(from), monthOf(to-1))
	if err != nil {
		return err
	}
	var stale, data []byte
	found := false
	for _, month := range months {
		rows := r.query(ctx, r.selectRollups, r.key, gateway, int8(span), month, from, to).PageSize(rollupsPage).Iter()
		for {
			one := keyspace.Rollup{RollupKey: keyspace.RollupKey{Gateway: gateway, Span: span}}
			if !rows.Scan(&one.Start, &stale, &data) {
				break
			}
			found = true
			var problem [2]error
			one.Stale, problem[0] = cql.ParseStale(stale)
			one.Computed, one.Data, problem[1] = cql.ParseCell(data)
			err := errors.Join(problem[:]...)
			if err == nil {
				err = yield(one)
			}
			if err != nil {
				_ = rows.Close() // err says why it ended
				return err
			}
		}
		if err := rows.Close(); err != nil {
			return r.failed(ctx, "read", err)
		}
	}
	return r.there(ctx, found)
}

// Gateway returns a gateway's row with its tail.
func (r *reader) Gateway(ctx context.Context, name string) (keyspace.Gateway, error) {
	g := keyspace.Gateway{Name: name}
	if err := r.begin(ctx); err != nil {
		return g, err
	}
	var entry, tail []byte
	err := r.query(ctx, r.selectRow, r.key, cql.Bucket(name), name).Scan(&entry, &tail)
	if err != nil && !errors.Is(err, gocql.ErrNotFound) {
		return g, r.failed(ctx, "read", err)
	}
	if len(entry) == 0 {
		return g, schema.Errorf(schema.NotFound, "there is no gateway %q", name)
	}
	if g.Position, g.Entry, err = cql.ParseCell(entry); err != nil {
		return g, err
	}
	_, g.Tail, err = cql.ParseCell(tail)
	return g, err
}

// Position returns the highest position that the keyspace knows.
func (r *reader) Position(ctx context.Context) (schema.Position, error) {
	if err := r.begin(ctx); err != nil {
		return schema.Position{}, err
	}
	entry, _, err := r.own(ctx)
	if err != nil {
		return schema.Position{}, err
	}
	p, _, err := cql.ParseCell(entry)
	if err == nil {
		err = r.there(ctx, len(entry) > 0)
	}
	return p, err
}

// own returns what the keyspace's own row says: the cell of its highest position, and who writes.
func (t *tables) own(ctx context.Context) (entry []byte, writer string, err error) {
	err = t.query(ctx, t.selectOwn, t.key, cql.OwnBucket).Scan(&entry, &writer)
	if err != nil && !errors.Is(err, gocql.ErrNotFound) {
		return nil, "", t.failed(ctx, "read", err)
	}
	return entry, writer, nil
}
