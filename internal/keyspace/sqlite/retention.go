package sqlite

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"berth/internal/keyspace"
)

const (
	// selectUnrolled asks the index of rollups that do not count, and nothing else.
	selectUnrolled = `
SELECT n.name, r.start, r.gateway FROM rollups r INDEXED BY unrolled CROSS JOIN names n ON n.id = r.gateway
WHERE r.span = ? AND (r.computed_sequence, r.computed_ordinal) < (r.stale_sequence, r.stale_ordinal)
  AND (r.start, r.gateway) > (?, ?) AND r.start <= ?
ORDER BY r.start, r.gateway LIMIT ?`

	selectIDs    = `SELECT id FROM names WHERE id > ? ORDER BY id LIMIT ?`
	selectRowIDs = `SELECT id FROM gateways WHERE id > ? ORDER BY id LIMIT ?`
)

// spans are all there are.
var spans = []keyspace.Span{keyspace.Hour, keyspace.Day}

// Unrolled yields the keys of rollups that do not count, page by page.
func (w *writer) Unrolled(ctx context.Context, endBefore int64, yield func(keyspace.RollupKey) bool) error {
	f, err := w.files.catalog(ctx)
	if err != nil {
		return err
	}
	defer w.files.leave(f)
	for _, span := range spans {
		last := endBefore - span.Length()
		if last > endBefore {
			continue // no span ends that early
		}
		u := unrolled{span: span, start: -1 << 63, last: last}
		for more := true; more; {
			if err := ctx.Err(); err != nil {
				return err
			}
			if more, err = u.read(ctx, f); err != nil {
				return fileError("read", f.path, err)
			}
			for _, k := range u.keys {
				if !yield(k) {
					return nil
				}
			}
		}
	}
	return nil
}

// unrolled is what one read transaction has read of the rollups that do not count, and how far it has come.
type unrolled struct {
	span          keyspace.Span
	start, number int64 // of the last key read; number is the gateway's
	last          int64 // the last start to read
	keys          []keyspace.RollupKey
}

func (u *unrolled) read(ctx context.Context, f *readFile) (more bool, err error) {
	u.keys = u.keys[:0]
	rows, err := f.query(ctx, selectUnrolled, int64(u.span), u.start, u.number, u.last, listRows)
	if err != nil {
		return false, err
	}
	defer func() { _ = rows.Close() }() // only read; Err has what went wrong
	for rows.Next() {
		k := keyspace.RollupKey{Span: u.span}
		if err := rows.Scan(&k.Gateway, &k.Start, &u.number); err != nil {
			return false, err
		}
		u.start = k.Start
		u.keys = append(u.keys, k)
	}
	return len(u.keys) == listRows, rows.Err()
}

// Expire removes the files of months that are over before blocksBefore, and the rollups of spans that are over before
// rollupsBefore.
func (w *writer) Expire(ctx context.Context, blocksBefore, rollupsBefore int64) error {
	return errors.Join(w.expireBlocks(ctx, time.Unix(0, blocksBefore)), w.expireRollups(ctx, rollupsBefore))
}

func (w *writer) expireBlocks(ctx context.Context, before time.Time) error {
	if err := w.begin(ctx); err != nil {
		return err
	}
	defer w.mu.Unlock()
	all, err := w.reader.months()
	if err != nil {
		return err
	}
	var errs []error
	removed := 0
	for i := range all {
		m := &all[i]
		if (m.month + 1).start().After(before) {
			break
		}
		if err := w.removeMonth(ctx, m); err != nil {
			errs = append(errs, err)
			continue
		}
		removed++
	}
	if err := w.removeLeftovers(); err != nil {
		errs = append(errs, fileError("expire", w.dir, err))
	}
	if removed > 0 {
		if err := syncFolders(w.dir); err != nil {
			errs = append(errs, fileError("expire", w.dir, err))
		}
	}
	return errors.Join(errs...)
}

// removeMonth carries the highest position of the month to the catalog, then removes its files. Readers that have them
// open keep reading what they have.
func (w *writer) removeMonth(ctx context.Context, m *monthFiles) error {
	p, err := w.monthPosition(ctx, m)
	if err != nil {
		return err
	}
	free := context.WithoutCancel(ctx)
	if err := w.catalog.transact(ctx, func() error { return w.catalog.raise(free, p) }); err != nil {
		return err
	}
	if err := w.closeMonth(m.month); err != nil && !errors.Is(err, keyspace.ErrDamaged) {
		return err
	}
	for _, name := range m.names {
		path := filepath.Join(w.dir, name)
		err = os.Remove(path)
		if err == nil {
			err = removeLogs(path)
		}
		if err != nil {
			return fileError("expire", path, err)
		}
	}
	return nil
}

// removeLeftovers removes SQLite's own files of months whose file is gone.
func (w *writer) removeLeftovers() error {
	entries, err := os.ReadDir(w.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		for _, end := range logEnds {
			file, ok := strings.CutSuffix(e.Name(), end)
			if !ok {
				continue
			}
			if _, err := os.Stat(filepath.Join(w.dir, file)); !os.IsNotExist(err) {
				continue
			}
			if err := os.Remove(filepath.Join(w.dir, e.Name())); err != nil && !os.IsNotExist(err) {
				return err
			}
		}
	}
	return nil
}

// expireRollups deletes rollups gateway by gateway, a page of gateways in a transaction.
func (w *writer) expireRollups(ctx context.Context, before int64) error {
	f, err := w.files.catalog(ctx)
	if err != nil {
		return err
	}
	defer w.files.leave(f)
	for last := int64(0); ; {
		ids, err := f.ids(ctx, selectIDs, last)
		if err != nil {
			return fileError("read", f.path, err)
		}
		if len(ids) == 0 {
			return nil
		}
		last = ids[len(ids)-1]
		if err := w.deleteRollups(ctx, ids, before); err != nil {
			return err
		}
	}
}

func (w *writer) deleteRollups(ctx context.Context, gateways []int64, before int64) error {
	if err := w.begin(ctx); err != nil {
		return err
	}
	defer w.mu.Unlock()
	free := context.WithoutCancel(ctx)
	return w.catalog.transact(ctx, func() error {
		for _, id := range gateways {
			for _, span := range spans {
				last := before - span.Length()
				if last > before {
					continue // no span ends that early
				}
				if _, err := w.catalog.do(free, deleteRollups, id, int64(span), last); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// ids returns some numbers of gateways, in their order, by one of the statements that ask for them.
func (r *readFile) ids(ctx context.Context, text string, after int64) ([]int64, error) {
	rows, err := r.query(ctx, text, after, listRows)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // only read; Err has what went wrong
	var ids []int64
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}

// Size returns the bytes of the keyspace's files.
func (w *writer) Size(ctx context.Context) (int64, error) {
	if err := w.files.check(ctx); err != nil {
		return 0, err
	}
	size, err := folderSize(w.dir)
	if err != nil {
		return 0, fileError("measure", w.dir, err)
	}
	return size, nil
}

// Stats returns the bytes of the keyspace's files, and the number of rows of gateways.
func (w *writer) Stats(ctx context.Context) (keyspace.Stats, error) {
	f, err := w.files.catalog(ctx)
	if err != nil {
		return keyspace.Stats{}, err
	}
	defer w.files.leave(f)
	size, err := w.Size(ctx)
	if err != nil {
		return keyspace.Stats{}, err
	}
	stats := keyspace.Stats{Bytes: size}
	for last := int64(0); ; {
		if err := ctx.Err(); err != nil {
			return keyspace.Stats{}, err
		}
		ids, err := f.ids(ctx, selectRowIDs, last)
		if err != nil {
			return keyspace.Stats{}, fileError("read", f.path, err)
		}
		if len(ids) == 0 {
			return stats, nil
		}
		stats.Gateways += len(ids)
		last = ids[len(ids)-1]
	}
}
