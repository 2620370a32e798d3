// Package sqlite keeps keyspaces in SQLite files: a folder per keyspace, a file per month for blocks, and one for the
// catalog; schema/sql draws them. It is the keyspace of a single machine: one process writes, others on the same
// machine read.
//
// Its one invariant: a file that bears its name is complete. Files are made under another name, synced and renamed, and
// the folder is synced after that.
//
// What a crash can leave, and what becomes of it:
//
//	a folder without catalog.db            no keyspace; Create finishes it
//	"<file>.new": a file half made         no file; removed when that file is made again
//	"-wal" and "-shm" beside a file        SQLite's own; the next to open the file goes on from there
//	"-wal" or "-shm" without its file      a month was being removed; removed by the next Expire
//	".dropped-<name>-<number>"             a keyspace was being dropped; removed by the next Create or Drop
//	"<month>.damaged-<n>.db"               a month's file that could not be written, set aside: read as far as it goes
//	writer.lock                            nothing: the lock ends with its holder, the file is only its place
package sqlite

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"

	ddl "berth/schema/sql"

	"berth/internal/keyspace"
	"berth/schema"
)

const (
	catalogName   = "catalog.db"
	lockName      = "writer.lock"
	droppedPrefix = ".dropped-"
	folderMode    = 0o750
)

// Backend keeps keyspaces as folders of one folder.
type Backend struct {
	dir string
	log *slog.Logger

	mu     sync.Mutex // guards making and removing folders, and closed
	closed bool
}

var _ keyspace.Backend = (*Backend)(nil)

// New returns the Backend that keeps its keyspaces in dir, which is made when it is first needed.
func New(dir string, log *slog.Logger) (*Backend, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("find the folder of keyspaces %s: %w", dir, err)
	}
	return &Backend{dir: abs, log: log}, nil
}

// Create makes the keyspace, or finds it made.
func (b *Backend) Create(ctx context.Context, name string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	dir, err := b.folder(ctx, name)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, catalogName)
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	b.sweep()
	if err := os.MkdirAll(dir, folderMode); err != nil {
		return fileError("create keyspace "+name, dir, err)
	}
	if err := syncFolders(b.dir, filepath.Dir(b.dir)); err != nil {
		return fileError("create keyspace "+name, b.dir, err)
	}
	return create(ctx, path, ddl.Catalog())
}

// Drop removes the keyspace with all its data, or finds it gone. It vanishes at once; its bytes follow.
func (b *Backend) Drop(ctx context.Context, name string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	dir, err := b.folder(ctx, name)
	if err != nil {
		return err
	}
	defer b.sweep()
	l, err := lock(name, dir)
	if schema.Is(err, schema.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer l.release()
	for i := 0; ; i++ {
		err := os.Rename(dir, filepath.Join(b.dir, fmt.Sprintf("%s%s-%d", droppedPrefix, name, i)))
		if err == nil {
			break
		}
		if !os.IsExist(err) || i == 1000 {
			return fileError("drop keyspace "+name, dir, err)
		}
	}
	if err := syncFolders(b.dir); err != nil {
		return fileError("drop keyspace "+name, b.dir, err)
	}
	return nil
}

// Writer opens the keyspace for its one writer.
func (b *Backend) Writer(ctx context.Context, name string) (keyspace.Writer, error) {
	dir, err := b.existing(ctx, name)
	if err != nil {
		return nil, err
	}
	l, err := lock(name, dir)
	if err != nil {
		return nil, err
	}
	w, err := newWriter(ctx, name, dir, l, b.log)
	if err != nil {
		l.release()
		return nil, err
	}
	return w, nil
}

// Reader opens the keyspace for reading.
func (b *Backend) Reader(ctx context.Context, name string) (keyspace.Reader, error) {
	dir, err := b.existing(ctx, name)
	if err != nil {
		return nil, err
	}
	return newReader(name, dir), nil
}

// Close ends the Backend. Readers and Writers are closed on their own.
func (b *Backend) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	return nil
}

// folder returns the folder of a keyspace, whether or not it exists. The caller holds mu.
func (b *Backend) folder(ctx context.Context, name string) (string, error) {
	if err := schema.CheckProvider(name); err != nil {
		return "", err
	}
	if err := ctx.Err(); err != nil {
		return "", fmt.Errorf("find keyspace %s: %w", name, err)
	}
	if b.closed {
		return "", schema.Errorf(schema.Unavailable, "the keyspaces are closed")
	}
	return filepath.Join(b.dir, name), nil
}

// existing returns the folder of a keyspace, or NotFound.
func (b *Backend) existing(ctx context.Context, name string) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	dir, err := b.folder(ctx, name)
	if err != nil {
		return "", err
	}
	switch _, err := os.Stat(filepath.Join(dir, catalogName)); {
	case os.IsNotExist(err):
		return "", notFound(name)
	case err != nil:
		return "", fileError("open keyspace "+name, dir, err)
	}
	return dir, nil
}

// sweep removes what dropped keyspaces left. The caller holds mu.
func (b *Backend) sweep() {
	entries, err := os.ReadDir(b.dir)
	if err != nil {
		return // it does not exist yet, or the caller meets the same error
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), droppedPrefix) {
			continue
		}
		if err := os.RemoveAll(filepath.Join(b.dir, e.Name())); err != nil {
			b.log.Warn("what a dropped keyspace left cannot be removed", "folder", e.Name(), "error", err)
		}
	}
}

// folderSize returns the bytes of a folder's files. A file that vanishes meanwhile counts nothing.
func folderSize(dir string) (int64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	var sum int64
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && info.Mode().Type()&fs.ModeType == 0 {
			sum += info.Size()
		}
	}
	return sum, nil
}

// syncFolder syncs one folder; tests look at what it holds then.
var syncFolder = (*os.File).Sync

// syncFolders makes what was created, renamed or removed in the folders survive a power cut.
func syncFolders(dirs ...string) error {
	for _, dir := range dirs {
		f, err := os.Open(dir)
		if err != nil {
			return err
		}
		err = syncFolder(f)
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return err
		}
	}
	return nil
}
