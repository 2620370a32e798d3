package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"sync"
	"time"

	"berth/internal/keyspace"
	"berth/schema"
)

const selectGatewayID = `SELECT id FROM names WHERE name = ?`

// selectBlocks reads the blocks of a gateway and day in order of their keys, from after a key. The key's tree leads,
// and gives the order; CROSS JOIN keeps it so. The limit is in the text: SQLite prepares a statement anew whenever one is bound.
var selectBlocks = `
SELECT b.first, b.last, b.from_sequence, b.from_ordinal, b.to_sequence, b.to_ordinal, b.part, d.data
FROM blocks b CROSS JOIN data d ON d.id = b.id
WHERE b.day = ? AND b.gateway = ? AND b.first < ? AND b.last >= ?
  AND (b.first, b.from_sequence, b.from_ordinal, b.to_sequence, b.to_ordinal, b.part) > (?, ?, ?, ?, ?, ?)
ORDER BY b.first, b.from_sequence, b.from_ordinal, b.to_sequence, b.to_ordinal, b.part
LIMIT ` + strconv.Itoa(pageRows)

// selectKey reads the key of the block that selectBlocks reads first, and not its data.
const selectKey = `
SELECT b.first, b.last, b.from_sequence, b.from_ordinal, b.to_sequence, b.to_ordinal, b.part FROM blocks b
WHERE b.day = ? AND b.gateway = ? AND b.first < ? AND b.last >= ?
  AND (b.first, b.from_sequence, b.from_ordinal, b.to_sequence, b.to_ordinal, b.part) > (?, ?, ?, ?, ?, ?)
ORDER BY b.first, b.from_sequence, b.from_ordinal, b.to_sequence, b.to_ordinal, b.part
LIMIT 1`

// gatewayID returns the gateway's number in a month's file, 0 when it has no blocks there.
func (r *readFile) gatewayID(ctx context.Context, name string) (id int64, err error) {
	err = r.row(ctx, selectGatewayID, name).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, fileError("read", r.path, err)
	}
	return id, nil
}

// query is a question for blocks, and how far it has come: the day, and the key after which to go on in it.
type query struct {
	gateway  string
	from, to int64

	day   int64
	after keyspace.BlockKey // First counts from the day's begin here
}

// begin goes to the begin of a day.
func (q *query) begin(day int64) {
	q.day = day
	q.after = keyspace.BlockKey{First: -1}
}

// bounds returns what a block's first time must be below, and its last time not below, in nanoseconds since the day
// began.
func (q *query) bounds() (firstBelow, lastFrom int64) {
	firstBelow, lastFrom = schema.DaySpan, 0
	if day, since := inDay(q.to - 1); day == q.day {
		firstBelow = since + 1
	}
	if day, since := inDay(q.from); day == q.day {
		lastFrom = since
	}
	return firstBelow, lastFrom
}

// page is what one read transaction has read.
type page struct {
	blocks []keyspace.Block
	ends   []int // of each block's data in data
	data   []byte

	key  [7]int64 // of the row being read
	raw  sql.RawBytes
	into []any // the row's places: the key's and raw
}

// pages are kept between calls: their buffers are what Data of yielded blocks lies in.
var pages sync.Pool

func getPage() *page {
	if p, ok := pages.Get().(*page); ok {
		return p
	}
	p := &page{}
	for i := range p.key {
		p.into = append(p.into, &p.key[i])
	}
	p.into = append(p.into, &p.raw)
	return p
}

// put keeps the page for another call, unless some large block has made it large.
func (p *page) put() {
	if cap(p.data) <= 4*pageBytes {
		pages.Put(p)
	}
}

// position returns the position that two columns hold.
func position(sequence, ordinal int64) schema.Position {
	return schema.Position{Sequence: uint64(sequence), Ordinal: uint32(ordinal)}
}

// arguments returns those of selectKey and selectBlocks.
func (q *query) arguments(gateway int64) []any {
	firstBelow, lastFrom := q.bounds()
	a := &q.after
	return []any{
		q.day, gateway, firstBelow, lastFrom,
		a.First, int64(a.From.Sequence), a.From.Ordinal, int64(a.To.Sequence), a.To.Ordinal, a.Part,
	}
}

// read fills the page with what comes next in q's day, and moves q on: to the last block read, or to the next day when
// there are no more. After an error the page holds what was read before it.
func (p *page) read(ctx context.Context, f *readFile, gateway int64, q *query) error {
	p.blocks, p.ends, p.data = p.blocks[:0], p.ends[:0], p.data[:0]
	rows, err := f.query(ctx, selectBlocks, q.arguments(gateway)...)
	if err != nil {
		return fileError("read", f.path, err)
	}
	more, err := p.scan(rows, q)
	if cerr := rows.Close(); err == nil {
		err = cerr
	}
	begin := 0
	for i := range p.blocks {
		p.blocks[i].Data = p.data[begin:p.ends[i]:p.ends[i]]
		begin = p.ends[i]
	}
	if err != nil {
		return fileError("read", f.path, err)
	}
	if !more {
		q.begin(q.day + 1)
	}
	return nil
}

// skip moves q on behind the next block, which cannot be read, or to the next day when not even its key can be. It
// returns the error that says what is missed.
func (p *page) skip(ctx context.Context, f *readFile, gateway int64, q *query) error {
	day := q.day
	err := f.row(ctx, selectKey, q.arguments(gateway)...).Scan(p.into[:len(p.key)]...)
	if err != nil && !errors.Is(err, sql.ErrNoRows) { // no row: the trees do not say the same
		err = fileError("read", f.path, err)
		if !errors.Is(err, keyspace.ErrDamaged) {
			return err
		}
	}
	if err != nil {
		q.begin(day + 1)
		return damagedPart(f.path, "blocks of gateway %q on %s", q.gateway, time.Unix(day*daySeconds, 0).UTC().Format(time.DateOnly))
	}
	b := p.block(q)
	q.after = b.BlockKey
	q.after.First = p.key[0]
	return damagedPart(f.path, "the block of gateway %q from %s to %s", q.gateway,
		time.Unix(0, b.First).UTC().Format(time.RFC3339), time.Unix(0, b.Last).UTC().Format(time.RFC3339))
}

// block returns the block, without data, whose key was scanned.
func (p *page) block(q *query) keyspace.Block {
	k := &p.key
	return keyspace.Block{
		BlockKey: keyspace.BlockKey{
			Gateway: q.gateway, First: k[0] + q.day*schema.DaySpan, From: position(k[2], k[3]), To: position(k[4], k[5]), Part: uint16(k[6]),
		},
		Last: k[1] + q.day*schema.DaySpan,
	}
}

// scan reads rows until there are no more or the page is full; it reports whether there may be more.
func (p *page) scan(rows *sql.Rows, q *query) (more bool, err error) {
	for rows.Next() {
		if err := rows.Scan(p.into...); err != nil {
			return false, err
		}
		b := p.block(q)
		q.after = b.BlockKey
		q.after.First = p.key[0]
		p.blocks = append(p.blocks, b)
		p.data = append(p.data, p.raw...)
		p.ends = append(p.ends, len(p.data))
		if len(p.data) >= pageBytes {
			return true, nil
		}
	}
	return len(p.blocks) == pageRows, rows.Err()
}
