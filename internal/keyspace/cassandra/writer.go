package cassandra

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/gocql/gocql"

	"berth/internal/keyspace"
	"berth/schema"
	"berth/schema/cql"
)

const (
	// maxRow is the most that a gateway's row may have, in bytes: Cassandra takes half a segment of its commit log, which
	// is 16 MiB unless set otherwise, and as much in one frame.
	maxRow = 15 << 20
	// takeTries is how often the keyspace is taken over when others do so at the same time.
	takeTries = 5
)

// writer writes a keyspace. It reads it like any other reader.
type writer struct {
	*reader
	token  string // this writer's name in the own row
	before string // whose name it replaced
	stored *index

	writing sync.RWMutex // held for reading by each act of writing; Close waits for them. Before the others
	asking  sync.Mutex   // held by Durable; before mu

	mu       sync.Mutex // guards what follows
	keep     retention
	stamp    int64
	receipt  keyspace.Receipt
	durable  keyspace.Receipt
	pending  []pending
	superior error // why nothing is reported durable any more
}

var _ keyspace.Writer = (*writer)(nil)

// newWriter takes the keyspace over and reads what its writer needs to know.
func newWriter(ctx context.Context, t *tables) (*writer, error) {
	host, err := os.Hostname()
	if err != nil {
		host = "a host without a name"
	}
	w := &writer{
		receipt: keyspace.Opened, durable: keyspace.Opened, // unless there was a writer before
		reader: &reader{tables: t}, token: fmt.Sprintf("%s, process %d (%s), %s", host, os.Getpid(), filepath.Base(os.Args[0]), rand.Text()),
	}
	breaks := t.backend.nodes.breaks.Load()
	if err := w.take(ctx); err != nil {
		return nil, err
	}
	if w.before != "" { // what it wrote last is as durable as what this one would have written now
		w.durable, w.pending = 0, []pending{{receipt: keyspace.Opened, written: time.Now(), breaks: breaks}}
	}
	if _, err := t.backend.nodes.look(ctx, t); err != nil {
		return nil, t.failed(ctx, "open", err)
	}
	if w.stored, err = loadIndex(ctx, t); err != nil {
		return nil, t.failed(ctx, "open", err)
	}
	err = t.query(ctx, t.selectRetention, t.key, cql.OwnBucket).Scan(&w.keep.blocks, &w.keep.rollups)
	if err != nil {
		return nil, t.failed(ctx, "open", err)
	}
	return w, nil
}

// take writes this writer's name into the keyspace's own row, before anything is read.
func (w *writer) take(ctx context.Context) error {
	_, before, err := w.own(ctx)
	if err != nil {
		return err
	}
	for range takeTries {
		var known any // null, unless somebody has been there
		if before != "" {
			known = before
		}
		found := map[string]any{}
		ok, err := w.query(ctx, w.updateWriter, w.token, w.key, cql.OwnBucket, known).RetryPolicy(nil).Idempotent(false).MapScanCAS(found)
		if err != nil {
			return w.failed(ctx, "take over", err)
		}
		if ok {
			w.before = before
			return nil
		}
		before, _ = found["writer"].(string)
		if before == w.token {
			return nil // an answer that got lost had done it
		}
	}
	return schema.Errorf(schema.Conflict, "keyspace %s is taken over again and again, by %s", w.name, before).WithNext("stop that process first")
}

// Close ends the writer. Others may take the keyspace from then on.
func (w *writer) Close() error {
	w.writing.Lock()
	defer w.writing.Unlock()
	if w.closed.Swap(true) {
		return nil
	}
	w.backend.release(w.full)
	return nil
}

// act begins an act of writing; the caller ends it with writing.RUnlock when it returns nil.
func (w *writer) act(ctx context.Context) error {
	w.writing.RLock()
	err := w.begin(ctx)
	if err == nil {
		w.mu.Lock()
		err = w.superior
		w.mu.Unlock()
	}
	if err != nil {
		w.writing.RUnlock()
	}
	return err
}

// Write stores the changes. Data, Entry and Tail are kept until they are durable, and must not change until then.
func (w *writer) Write(ctx context.Context, c *keyspace.Changes) (keyspace.Receipt, error) {
	if err := check(c); err != nil {
		return 0, err
	}
	if err := w.act(ctx); err != nil {
		return 0, err
	}
	defer w.writing.RUnlock()
	p := pending{breaks: w.backend.nodes.breaks.Load(), stamp: w.stamps(c), changes: keyspace.Changes{
		Marks: slices.Clone(c.Marks), Blocks: firstOfEach(c.Blocks), Gateways: slices.Clone(c.Gateways), Rollups: slices.Clone(c.Rollups),
	}}
	if err := w.store(ctx, &p.changes, p.stamp); err != nil {
		return 0, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.receipt++
	p.receipt, p.written = w.receipt, time.Now()
	w.pending = append(w.pending, p)
	return w.receipt, nil
}

// check returns an Invalid error when c holds what can never be stored.
func check(c *keyspace.Changes) error {
	if err := c.Check(); err != nil {
		return err
	}
	for i := range c.Gateways {
		if g := &c.Gateways[i]; len(g.Entry)+len(g.Tail) > maxRow {
			return schema.Errorf(schema.Invalid, "the row of gateway %q is larger than %d bytes", g.Name, maxRow)
		}
	}
	return nil
}

// firstOfEach returns the blocks without those whose key came before: equal keys mean equal readings.
func firstOfEach(blocks []keyspace.Block) []keyspace.Block {
	seen := make(map[keyspace.BlockKey]struct{}, len(blocks))
	all := make([]keyspace.Block, 0, len(blocks))
	for _, b := range blocks {
		if _, ok := seen[b.BlockKey]; !ok {
			seen[b.BlockKey] = struct{}{}
			all = append(all, b)
		}
	}
	return all
}

// stamps returns the first of as many stamps as c has cells that are overwritten; later ones are higher, also those of
// the next process.
func (w *writer) stamps(c *keyspace.Changes) int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	first := max(w.stamp+1, time.Now().UnixMicro())
	w.stamp = first + int64(len(c.Gateways)+len(c.Rollups))
	return first
}

// store writes changes, each kind when the one before is stored: what says where to look for them, the highest position
// and the marks, then blocks, gateways and rollups.
func (w *writer) store(ctx context.Context, c *keyspace.Changes, stamp int64) error {
	done, err := w.note(ctx, c)
	defer done()
	if err == nil {
		err = w.storeMarks(ctx, c)
	}
	if err == nil {
		err = w.storeBlocks(ctx, c.Blocks)
	}
	if err == nil {
		err = w.storeRows(ctx, c.Gateways, stamp)
	}
	if err == nil {
		err = w.storeRollups(ctx, c.Rollups, stamp+int64(len(c.Gateways)))
	}
	if err != nil {
		return w.failed(ctx, "write", err)
	}
	return nil
}

// storeMarks stores the highest position and the marks.
func (w *writer) storeMarks(ctx context.Context, c *keyspace.Changes) error {
	highest := c.Highest()
	if highest.IsZero() {
		return nil
	}
	keep := w.retention()
	return w.backend.each(ctx, 1+len(c.Marks), func(ctx context.Context, i int) error {
		if i == 0 {
			return w.query(ctx, w.insertOwn, w.key, cql.OwnBucket, cql.Cell(highest, 0, nil), cql.WriteTime(highest)).Exec()
		}
		m := &c.Marks[i-1]
		return w.query(ctx, w.insertMark, w.key, m.Gateway, int8(m.Span), monthOf(m.Start), m.Start, cql.Stale(m.Stale),
			keep.rollupTTL(&m.RollupKey), cql.WriteTime(m.Stale)).Exec()
	})
}

func (w *writer) storeBlocks(ctx context.Context, blocks []keyspace.Block) error {
	keep := w.retention()
	return w.backend.each(ctx, len(blocks), func(ctx context.Context, i int) error {
		b := &blocks[i]
		return w.query(ctx, w.insertBlock, w.key, b.Gateway, weekOf(b.First), b.First, b.From.Sequence, int64(b.From.Ordinal),
			b.To.Sequence, int64(b.To.Ordinal), int(b.Part), b.Last, b.Data, ttl(b.Last, keep.blocks)).Exec()
	})
}

func (w *writer) storeRows(ctx context.Context, rows []keyspace.Gateway, stamp int64) error {
	return w.backend.each(ctx, len(rows), func(ctx context.Context, i int) error {
		g := &rows[i]
		entry, tail := cql.Cell(g.Position, stamp+int64(i), g.Entry), cql.Cell(g.Position, stamp+int64(i), g.Tail)
		return w.query(ctx, w.insertRow, w.key, cql.Bucket(g.Name), g.Name, entry, tail, cql.WriteTime(g.Position)).Exec()
	})
}

func (w *writer) storeRollups(ctx context.Context, rollups []keyspace.Rollup, stamp int64) error {
	keep := w.retention()
	return w.backend.each(ctx, len(rollups), func(ctx context.Context, i int) error {
		r := &rollups[i]
		computed, data := cql.Cell(r.Computed, stamp+int64(i), nil), cql.Cell(r.Computed, stamp+int64(i), r.Data)
		return w.query(ctx, w.insertRollup, w.key, r.Gateway, int8(r.Span), monthOf(r.Start), r.Start, computed, data,
			keep.rollupTTL(&r.RollupKey), cql.WriteTime(r.Computed)).Exec()
	})
}

// Size returns what the node that answers has on its disk of the keyspace; of a shared one that is not known, and 0.
func (w *writer) Size(ctx context.Context) (int64, error) {
	if err := w.begin(ctx); err != nil || w.shared {
		return 0, err
	}
	rows := w.query(ctx, "SELECT mebibytes FROM system_views.disk_usage WHERE keyspace_name = ?", w.keyspace).Iter()
	size := int64(0)
	for mebibytes := int64(0); rows.Scan(&mebibytes); {
		size += mebibytes << 20
	}
	if err := rows.Close(); err != nil && !refused(err) {
		return 0, w.failed(ctx, "measure", err)
	}
	return size, nil
}

// Stats returns what Size does, and the number of rows of gateways.
func (w *writer) Stats(ctx context.Context) (keyspace.Stats, error) {
	size, err := w.Size(ctx)
	return keyspace.Stats{Bytes: size, Gateways: w.stored.gatewaysListed()}, err
}

// refused reports whether a node answered that it does not do this for us: it has no such view, or may not show it.
func refused(err error) bool {
	answer, ok := err.(gocql.RequestError) //nolint:errorlint // the driver does not wrap it
	return ok && (answer.Code() == gocql.ErrCodeUnauthorized || answer.Code() == gocql.ErrCodeInvalid)
}
