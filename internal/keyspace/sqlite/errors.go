package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"berth/internal/keyspace"
	"berth/schema"
)

func notFound(name string) error {
	return schema.Errorf(schema.NotFound, "there is no keyspace %s", name)
}

func closedError(name string) error {
	return schema.Errorf(schema.Unavailable, "keyspace %s is closed", name)
}

// fileError gives err of an act on a file its kind, and the file's name.
func fileError(act, path string, err error) error {
	if _, ok := errors.AsType[*schema.Error](err); ok || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s: %w", act, err)
	}
	short := filepath.Join(filepath.Base(filepath.Dir(path)), filepath.Base(path))
	cause := fmt.Errorf("%s %s: %w", act, path, err)
	code := 0
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		switch e.Code() {
		case sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_ROWID, sqlite3.SQLITE_CONSTRAINT_UNIQUE:
			// Keys are new, or there is a statement for those that are there: a tree has misled whoever looked for them.
			code = sqlite3.SQLITE_CORRUPT
		default:
			code = e.Code() & 0xff
		}
	}
	switch code {
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return damaged(short, "").WithCause(errors.Join(keyspace.ErrDamaged, cause))
	case sqlite3.SQLITE_FULL:
		return schema.Errorf(schema.Unavailable, "the disk of %s is full", short).WithNext("free some space").WithCause(cause)
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY,
		sqlite3.SQLITE_PERM, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_INTERRUPT:
		return schema.Errorf(schema.Unavailable, "%s cannot be read or written now", short).WithCause(cause)
	}
	if _, ok := errors.AsType[*fs.PathError](err); ok || errors.Is(err, sql.ErrConnDone) {
		return schema.Errorf(schema.Unavailable, "%s cannot be read or written now", short).WithCause(cause)
	}
	return schema.Errorf(schema.Internal, "%s met an unexpected error", short).WithCause(cause)
}

// damaged says that a file is not what its name says.
func damaged(file, why string) *schema.Error {
	if why != "" {
		why = ": " + why
	}
	return schema.Errorf(schema.Internal, "%s is damaged%s", file, why).
		WithNext("stop the provider's pipeline, then restore the file from a backup or move it away").WithCause(keyspace.ErrDamaged)
}

// damagedPart says what of a file cannot be read, while the rest can.
func damagedPart(path, format string, args ...any) error {
	short := filepath.Join(filepath.Base(filepath.Dir(path)), filepath.Base(path))
	return damaged(short, "this cannot be read: "+fmt.Sprintf(format, args...))
}

// damages are what a reading has met that cannot be read.
type damages struct {
	named []string // the first of them
	count int
	next  string // what to do about the first
}

// mostNamed is how many damages an error names.
const mostNamed = 5

// take notes err if it says that something is damaged, and returns it if it does not.
func (d *damages) take(err error) error {
	if !errors.Is(err, keyspace.ErrDamaged) {
		return err
	}
	text := err.Error()
	if e, ok := errors.AsType[*schema.Error](err); ok {
		text = e.Text
		if d.next == "" {
			d.next = e.Next
		}
	}
	d.count++
	if len(d.named) < mostNamed && !slices.Contains(d.named, text) {
		d.named = append(d.named, text)
	}
	return nil
}

// err returns the error that says what was damaged, nil if nothing was.
func (d *damages) err() error {
	if d.count == 0 {
		return nil
	}
	text := strings.Join(d.named, "; ")
	if d.count > len(d.named) {
		text = fmt.Sprintf("%s; %d such places in all", text, d.count)
	}
	return schema.Errorf(schema.Internal, "%s", text).WithNext("%s", d.next).WithCause(keyspace.ErrDamaged)
}
