package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"errors"

	ddl "berth/schema/sql"

	"berth/schema/rollup"
)

// Rollups of a gateway mostly begin with the same bytes, which name its sensors and are as long as all the rest. The catalog
// keeps such a beginning once it has come twice: then it will come again, and one that comes once costs no more than before.

const (
	selectHeadID = `SELECT id FROM heads WHERE head = ?`
	insertHead   = `INSERT INTO heads (head) VALUES (?)`
	selectHead   = `SELECT head FROM heads WHERE id = ?`
)

// headsKept is how many beginnings a file that is open remembers.
const headsKept = 1 << 14

// seenOnce is the number of a beginning that is not stored, and has come.
const seenOnce = -1

// behead returns what is to be stored of a rollup.
func (f *writeFile) behead(ctx context.Context, data []byte) ([]byte, error) {
	n := rollup.Head(data)
	if n == 0 {
		return ddl.Whole(data), nil
	}
	head := string(data[:n])
	id, err := f.headID(ctx, head)
	if err != nil {
		return nil, err
	}
	if len(f.heads) >= headsKept {
		clear(f.heads)
	}
	if f.heads[head] = id; id == seenOnce {
		return ddl.Whole(data), nil
	}
	return ddl.Headless(id, data[n:]), nil
}

// headID returns the number of a beginning, which it stores when it comes for the second time.
func (f *writeFile) headID(ctx context.Context, head string) (id int64, err error) {
	id, known := f.heads[head]
	switch {
	case known && id != seenOnce:
		return id, nil
	case known:
		res, err := f.do(ctx, insertHead, []byte(head))
		if err != nil {
			return 0, err
		}
		return res.LastInsertId()
	}
	err = f.statements[selectHeadID].QueryRowContext(ctx, []byte(head)).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return seenOnce, nil
	}
	return id, err
}

// whole appends a rollup from what is stored of it.
func (r *readFile) whole(ctx context.Context, dst, stored []byte) ([]byte, error) {
	id, rest, ok := ddl.SplitHead(stored)
	if !ok {
		return dst, damagedPart(r.path, "a rollup that refers to no beginning")
	}
	if id > 0 {
		head, err := r.head(ctx, id)
		if err != nil {
			return dst, err
		}
		dst = append(dst, head...)
	}
	return append(dst, rest...), nil
}

// head returns a beginning by its number. No connection may be held meanwhile.
func (r *readFile) head(ctx context.Context, id int64) ([]byte, error) {
	r.headsMu.Lock()
	defer r.headsMu.Unlock()
	if head, ok := r.heads[id]; ok {
		return head, nil
	}
	// It is not among the file's statements: a catalog that nobody has written since version 1 has no such table.
	var head []byte
	err := r.db.QueryRowContext(context.WithoutCancel(ctx), selectHead, id).Scan(&head)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, damagedPart(r.path, "a rollup whose beginning, number %d, is not there", id)
	}
	if err != nil {
		return nil, err
	}
	if r.heads == nil || len(r.heads) >= headsKept {
		r.heads = map[int64][]byte{}
	}
	r.heads[id] = bytes.Clone(head)
	return head, nil
}
