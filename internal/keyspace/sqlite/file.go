package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"

	ddl "berth/schema/sql"

	"berth/schema"

	_ "modernc.org/sqlite" // the driver
)

const (
	busyTimeout     = 5000    // ms; locks are held for moments: at a file's opening, and at the end of its log
	writeCache      = 4 << 10 // KiB
	autoCheckpoint  = 4 << 20 // bytes of a write-ahead log after which it is copied into its file
	journalLimit    = 8 << 20 // bytes that a write-ahead log keeps on disk when it begins anew
	readConnections = 8       // of a file
	draftEnd        = ".new"  // of the name of a file that is being made
)

// dsn names a file and its connections' settings for the driver.
func dsn(path, mode string, pragmas ...string) string {
	q := url.Values{"mode": {mode}, "_pragma": pragmas}
	if mode != "ro" {
		q.Set("_txlock", "immediate")
	}
	return (&url.URL{Scheme: "file", OmitHost: true, Path: filepath.ToSlash(path), RawQuery: q.Encode()}).String()
}

func pragma(name string, value int) string { return name + "(" + strconv.Itoa(value) + ")" }

// openRead returns connections that read the file, each with a cache of so many KiB.
func openRead(path string, cache int) (*sql.DB, error) {
	db, err := sql.Open("sqlite", dsn(path, "ro", pragma("busy_timeout", busyTimeout), pragma("cache_size", -cache)))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(readConnections)
	db.SetMaxIdleConns(readConnections) // one that is opened anew reads the schema and prepares its statements again
	db.SetConnMaxIdleTime(idleTime)
	return db, nil
}

// openWrite returns the one connection that writes the file.
func openWrite(path string, s *ddl.Schema) (*sql.DB, error) {
	db, err := sql.Open("sqlite", dsn(path, "rw",
		pragma("busy_timeout", busyTimeout),
		pragma("cache_size", -writeCache),
		pragma("journal_size_limit", journalLimit),
		"synchronous(FULL)",
		pragma("wal_autocheckpoint", autoCheckpoint/s.PageSize)))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	return db, nil
}

// create makes a file of the newest version: complete and synced, or not at all.
func create(ctx context.Context, path string, s *ddl.Schema) error {
	draft := path + draftEnd
	if err := os.Remove(draft); err != nil && !os.IsNotExist(err) {
		return fileError("create", draft, err)
	}
	// A write-ahead log that a removed file left would be taken for the new one's.
	for _, p := range []string{draft, path} {
		if err := removeLogs(p); err != nil {
			return fileError("create", p, err)
		}
	}
	if err := syncFolders(filepath.Dir(path)); err != nil {
		return fileError("create", path, err)
	}
	if err := fill(ctx, draft, s); err != nil {
		return fileError("create", draft, err)
	}
	if err := os.Rename(draft, path); err != nil {
		return fileError("create", path, err)
	}
	if err := syncFolders(filepath.Dir(path)); err != nil {
		return fileError("create", path, err)
	}
	return nil
}

// logEnds are what SQLite's own files beside a file end in.
var logEnds = []string{"-wal", "-shm", "-journal"}

// removeLogs removes SQLite's own files beside one that does not exist.
func removeLogs(path string) error {
	for _, end := range logEnds {
		if err := os.Remove(path + end); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	return nil
}

// fill makes the file itself. Closing its only connection copies the write-ahead log into the file, and syncs it.
func fill(ctx context.Context, path string, s *ddl.Schema) (err error) {
	db, err := sql.Open("sqlite", dsn(path, "rwc", "synchronous(FULL)"))
	if err != nil {
		return err
	}
	defer func() {
		if cerr := db.Close(); err == nil {
			err = cerr
		}
	}()
	db.SetMaxOpenConns(1)
	vacuum := "NONE"
	if s.Shrinks {
		vacuum = "INCREMENTAL"
	}
	for _, p := range []string{
		fmt.Sprintf("PRAGMA page_size = %d", s.PageSize),
		"PRAGMA auto_vacuum = " + vacuum,
		fmt.Sprintf("PRAGMA application_id = %d", s.Application),
		"PRAGMA journal_mode = WAL",
	} {
		if _, err := db.ExecContext(ctx, p); err != nil {
			return err
		}
	}
	return migrate(ctx, db, s)
}

// migrate brings the file to the newest version, each step in a transaction of its own.
func migrate(ctx context.Context, db *sql.DB, s *ddl.Schema) error {
	var version int
	if err := db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return err
	}
	for ; version < s.Version(); version++ {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, s.Migrations[version])
		if err == nil {
			_, err = tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", version+1))
		}
		if err != nil {
			_ = tx.Rollback() // the error that led here says more
			return err
		}
		if err := tx.Commit(); err != nil {
			return err
		}
	}
	return nil
}

// identify returns an error unless the file is what its name says, of a version that can be read.
func identify(ctx context.Context, db *sql.DB, path string, s *ddl.Schema) error {
	var application int32
	var version int
	err := db.QueryRowContext(ctx, "SELECT a.application_id, v.user_version FROM pragma_application_id a, pragma_user_version v").
		Scan(&application, &version)
	if err != nil {
		return fileError("open", path, err)
	}
	short := filepath.Join(filepath.Base(filepath.Dir(path)), filepath.Base(path))
	switch {
	case application != s.Application:
		return damaged(short, fmt.Sprintf("its application id is %#x and not that of %s, %#x", application, s.Name, s.Application))
	case version < 1:
		return damaged(short, "it has no version")
	case version > s.Version():
		return schema.Errorf(schema.Conflict, "%s has version %d, and this program knows those up to %d", short, version, s.Version()).
			WithNext("start a newer version of it")
	}
	return nil
}
