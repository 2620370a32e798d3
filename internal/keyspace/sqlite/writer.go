package sqlite

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	ddl "berth/schema/sql"

	"berth/internal/keyspace"
)

const (
	// openMonths is how many months' files stay open for writing.
	openMonths = 4
	// transactionBytes is about how much one transaction writes, so that neither it nor its log grows with a Write.
	transactionBytes = 4 << 20
	// quietTime is how long nothing is written before the write-ahead logs are emptied.
	quietTime = 20 * time.Second
)

// writer writes a keyspace's files, under its lock. It reads them like any other reader.
type writer struct {
	*reader
	dir string
	log *slog.Logger

	mu      sync.Mutex // guards what follows, and every act of writing
	lock    *writerLock
	catalog *writeFile
	months  map[month]*writeFile
	uses    uint64
	receipt keyspace.Receipt
	quiet   *time.Timer // fires when nothing has been written for a while
	closed  bool
}

var _ keyspace.Writer = (*writer)(nil)

func newWriter(ctx context.Context, name, dir string, l *writerLock, log *slog.Logger) (*writer, error) {
	path := filepath.Join(dir, catalogName)
	catalog, err := openWriteFile(ctx, path, ddl.Catalog(), log)
	if os.IsNotExist(err) {
		return nil, notFound(name)
	}
	if err != nil {
		return nil, err
	}
	w := &writer{
		reader: newReader(name, dir), dir: dir, log: log, lock: l, catalog: catalog, months: map[month]*writeFile{},
		receipt: keyspace.Opened, // a file's log is synced when the file is opened
	}
	w.quiet = time.AfterFunc(quietTime, w.emptyLogs)
	return w, nil
}

// Close closes the files and gives the lock back.
func (w *writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil
	}
	w.closed = true
	w.quiet.Stop()
	errs := []error{w.reader.Close()}
	for _, f := range w.months {
		errs = append(errs, f.close())
	}
	errs = append(errs, w.catalog.close())
	w.lock.release()
	return errors.Join(errs...)
}

// begin takes the writer for one act of writing; the caller unlocks mu when it returns nil.
func (w *writer) begin(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return closedError(w.name)
	}
	return nil
}

// Write stores the changes: the marks in one transaction, the blocks in some for each month, gateways and rollups in
// one. Each is on disk before the next begins.
func (w *writer) Write(ctx context.Context, c *keyspace.Changes) (keyspace.Receipt, error) {
	if err := c.Check(); err != nil {
		return 0, err
	}
	if err := w.begin(ctx); err != nil {
		return 0, err
	}
	defer w.mu.Unlock()
	defer w.quiet.Reset(quietTime)
	free := context.WithoutCancel(ctx)
	if len(c.Marks) > 0 {
		if err := w.catalog.transact(ctx, func() error { return w.writeMarks(free, c) }); err != nil {
			return 0, err
		}
	}
	if err := w.writeBlocks(ctx, c.Blocks); err != nil {
		return 0, err
	}
	if len(c.Gateways)+len(c.Rollups) > 0 {
		if err := w.catalog.transact(ctx, func() error { return w.writeRows(free, c) }); err != nil {
			return 0, err
		}
	}
	w.receipt++
	return w.receipt, nil
}

// emptyLogs gives back the disk of free pages, and of the write-ahead logs, which SQLite leaves as large as they were once.
func (w *writer) emptyLogs() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return
	}
	worth := int64(worthEmptying)
	if w.catalog.shrink() {
		worth = 0
	}
	empty := w.catalog.emptyLog(worth)
	for _, f := range w.months {
		empty = f.emptyLog(worthEmptying) && empty
	}
	if !empty { // a reader was in the way
		w.quiet.Reset(quietTime)
	}
}

// Durable returns the newest receipt: Write syncs.
func (w *writer) Durable(ctx context.Context) (keyspace.Receipt, error) {
	if err := w.begin(ctx); err != nil {
		return 0, err
	}
	defer w.mu.Unlock()
	return w.receipt, nil
}

func (w *writer) writeMarks(ctx context.Context, c *keyspace.Changes) error {
	for i := range c.Marks {
		m := &c.Marks[i]
		id, err := w.catalog.id(ctx, m.Gateway)
		if err != nil {
			return err
		}
		_, err = w.catalog.do(ctx, upsertMark, id, int64(m.Span), m.Start, int64(m.Stale.Sequence), m.Stale.Ordinal)
		if err != nil {
			return err
		}
	}
	return w.catalog.raise(ctx, (&keyspace.Changes{Marks: c.Marks}).Highest())
}

// writeRows writes gateways and rollups, and the highest position of all changes: the blocks' too, so that it is known
// also without their months' files.
func (w *writer) writeRows(ctx context.Context, c *keyspace.Changes) error {
	for i := range c.Gateways {
		g := &c.Gateways[i]
		id, err := w.catalog.id(ctx, g.Name)
		if err != nil {
			return err
		}
		if len(g.Tail) == 0 {
			if _, err := w.catalog.do(ctx, deleteGateway, id, int64(g.Position.Sequence), g.Position.Ordinal); err != nil {
				return err
			}
		}
		_, err = w.catalog.do(ctx, upsertGateway, id, int64(g.Position.Sequence), g.Position.Ordinal, orNull(g.Entry), orNull(g.Tail))
		if err != nil {
			return err
		}
	}
	for i := range c.Rollups {
		r := &c.Rollups[i]
		id, err := w.catalog.id(ctx, r.Gateway)
		if err != nil {
			return err
		}
		data, err := w.catalog.behead(ctx, r.Data)
		if err != nil {
			return err
		}
		_, err = w.catalog.do(ctx, upsertRollup, id, int64(r.Span), r.Start, int64(r.Computed.Sequence), r.Computed.Ordinal, data)
		if err != nil {
			return err
		}
	}
	return w.catalog.raise(ctx, c.Highest())
}

// orNull returns nil for no bytes, which SQLite stores as NULL.
func orNull(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	return b
}

// writeBlocks writes the blocks month by month, in their order, in transactions of bounded size.
func (w *writer) writeBlocks(ctx context.Context, blocks []keyspace.Block) error {
	type placed struct {
		month month
		block *keyspace.Block
	}
	all := make([]placed, len(blocks))
	for i := range blocks {
		all[i] = placed{monthOf(blocks[i].First), &blocks[i]}
	}
	slices.SortStableFunc(all, func(a, b placed) int { return cmp.Compare(a.month, b.month) })
	var some []*keyspace.Block
	size := 0
	for i, p := range all {
		some = append(some, p.block)
		size += len(p.block.Data)
		if i+1 < len(all) && all[i+1].month == p.month && size < transactionBytes {
			continue
		}
		err := w.writeMonth(ctx, p.month, some)
		if errors.Is(err, keyspace.ErrDamaged) {
			if err = w.setAside(p.month, err); err == nil {
				err = w.writeMonth(ctx, p.month, some)
			}
		}
		if err != nil {
			return err
		}
		some, size = some[:0], 0
	}
	return nil
}

// writeMonth writes blocks of one month in one transaction.
func (w *writer) writeMonth(ctx context.Context, m month, blocks []*keyspace.Block) error {
	f, err := w.monthFile(ctx, m)
	if err != nil {
		return err
	}
	return f.transact(ctx, func() error { return f.writeBlocks(ctx, blocks) })
}

// mostAside is how many files of a month may be set aside.
const mostAside = 100

// setAside gives the month's file, which is damaged, another name, so that a new one takes what comes: one rotten page
// must not hold up everything after it. What can be read of the old one still is.
func (w *writer) setAside(m month, why error) error {
	_ = w.closeMonth(m) // it is damaged
	path := m.path(w.dir)
	for n := 1; n <= mostAside; n++ {
		aside := filepath.Join(w.dir, m.asideFile(n))
		if _, err := os.Lstat(aside); err == nil {
			continue
		}
		if err := os.Rename(path, aside); err != nil {
			return fileError("set aside", path, err)
		}
		for _, end := range logEnds { // the log belongs to the file; most often closing has emptied it
			if err := os.Rename(path+end, aside+end); err != nil && !os.IsNotExist(err) {
				return fileError("set aside", path, err)
			}
		}
		if err := syncFolders(w.dir); err != nil {
			return fileError("set aside", path, err)
		}
		w.log.Error("a month's file is damaged and was set aside; what can be read of it still is, and a new file takes what comes",
			"file", aside, "error", why)
		return nil
	}
	return why
}

// writeBlocks writes blocks of the file's month. Those whose key is there are there.
func (f *writeFile) writeBlocks(ctx context.Context, blocks []*keyspace.Block) error {
	free := context.WithoutCancel(ctx)
	if f.nextID == 0 {
		if err := f.statements[selectNextID].QueryRowContext(free).Scan(&f.nextID); err != nil {
			return err
		}
	}
	var highest keyspace.Changes
	for _, b := range blocks {
		if err := ctx.Err(); err != nil {
			return err
		}
		id, err := f.id(free, b.Gateway)
		if err != nil {
			return err
		}
		day, first := inDay(b.First)
		_, last := inDay(b.Last)
		res, err := f.do(free, insertBlock, day, id, first, int64(b.From.Sequence), b.From.Ordinal,
			int64(b.To.Sequence), b.To.Ordinal, b.Part, last, f.nextID)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			if err != nil {
				return err
			}
			continue
		}
		if _, err := f.do(free, insertData, f.nextID, b.Data); err != nil {
			return err
		}
		stored := 0
		if err := f.statements[selectStored].QueryRowContext(free, b.Gateway, day, first, first, f.nextID).Scan(&stored); err != nil {
			return err
		}
		if stored != 1 {
			return damagedPart(f.path, "a block that was just written")
		}
		f.nextID++
		highest.Blocks = append(highest.Blocks, keyspace.Block{BlockKey: b.BlockKey})
	}
	return f.raise(free, highest.Highest())
}

// monthFile returns the month's file, open for writing, making it when there is none.
func (w *writer) monthFile(ctx context.Context, m month) (*writeFile, error) {
	w.uses++
	path := m.path(w.dir)
	info, err := os.Stat(path)
	if f := w.months[m]; f != nil {
		if err == nil && os.SameFile(info, f.info) {
			f.used = w.uses
			return f, nil
		}
		w.log.Warn("a month's file was removed or replaced by another hand", "file", path)
		if err := w.closeMonth(m); err != nil {
			return nil, err
		}
	}
	if os.IsNotExist(err) {
		if _, err := os.Stat(filepath.Join(w.dir, catalogName)); err != nil {
			return nil, notFound(w.name)
		}
		if err := create(context.WithoutCancel(ctx), path, ddl.Blocks()); err != nil {
			return nil, err
		}
	}
	if len(w.months) >= openMonths {
		oldest := m
		for o, f := range w.months {
			if oldest == m || f.used < w.months[oldest].used {
				oldest = o
			}
		}
		if err := w.closeMonth(oldest); err != nil {
			return nil, err
		}
	}
	f, err := openWriteFile(ctx, path, ddl.Blocks(), w.log)
	if err != nil {
		return nil, fileError("open", path, err)
	}
	f.used = w.uses
	w.months[m] = f
	return f, nil
}

// closeMonth closes the month's file, if it is open for writing.
func (w *writer) closeMonth(m month) error {
	f := w.months[m]
	if f == nil {
		return nil
	}
	delete(w.months, m)
	if err := f.close(); err != nil {
		return fileError("close", f.path, err)
	}
	return nil
}
