package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"time"

	ddl "berth/schema/sql"

	"berth/schema"
)

// idleTime is how long a connection for reading stays open unused.
const idleTime = time.Minute

// readCache is the cache of a connection to each kind of file, in KiB. A question about a fleet goes through a page or two of each
// gateway, in order: one that the cache does not hold whole, it does not hold at all.
var readCache = map[string]int{ddl.Blocks().Name: 1 << 10, ddl.Catalog().Name: 4 << 10}

// readStatements are what is asked of each kind of file.
var readStatements = map[string][]string{
	ddl.Blocks().Name:  {selectPosition, selectGatewayID, selectBlocks, selectKey},
	ddl.Catalog().Name: {selectPosition, selectGatewayID, selectGateway, selectGateways, selectRollups, selectFleetRows, selectFleetRollups, selectUnrolled, selectIDs, selectRowIDs},
}

// readFile is a file that is open for reading. It stays open while somebody uses it, also when its name is gone.
type readFile struct {
	path string
	db   *sql.DB
	info os.FileInfo // which file it is, whatever bears its name now

	statements map[string]*sql.Stmt // by their text

	headsMu sync.Mutex // guards heads
	heads   map[int64][]byte

	users int  // guarded by files.mu
	gone  bool // guarded by files.mu: closed when the last user leaves
}

// files are a keyspace's files that are open for reading. A file is known by what it is and not by its name alone, so
// that one that was removed, or removed and made again, is noticed at the next use.
type files struct {
	name string // of the keyspace
	dir  string

	mu     sync.Mutex // guards what follows
	open   map[string]*readFile
	closed bool
}

func newFiles(name, dir string) *files {
	return &files{name: name, dir: dir, open: map[string]*readFile{}}
}

// month returns an open file of a month by its name, nil when there is none. The caller calls leave.
func (f *files) month(ctx context.Context, name string) (*readFile, error) {
	r, err := f.get(ctx, name, ddl.Blocks())
	if os.IsNotExist(err) {
		return nil, nil //nolint:nilnil // no file is no error: it was removed, or never made
	}
	return r, err
}

// catalog returns the open catalog, NotFound when the keyspace is gone. The caller calls leave.
func (f *files) catalog(ctx context.Context) (*readFile, error) {
	r, err := f.get(ctx, catalogName, ddl.Catalog())
	if os.IsNotExist(err) {
		return nil, notFound(f.name)
	}
	return r, err
}

// check returns why nothing can be asked any more.
func (f *files) check(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return closedError(f.name)
	}
	return nil
}

// get returns the open file, opening it when needed, or an error for which os.IsNotExist holds.
func (f *files) get(ctx context.Context, file string, s *ddl.Schema) (*readFile, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	path := filepath.Join(f.dir, file)
	f.mu.Lock()
	defer f.mu.Unlock()
	for {
		if f.closed {
			return nil, closedError(f.name)
		}
		info, err := os.Stat(path)
		r := f.open[file]
		if r != nil && (err != nil || !os.SameFile(info, r.info)) {
			f.retire(file, r)
			r = nil
		}
		if os.IsNotExist(err) {
			return nil, err
		}
		if err != nil {
			return nil, fileError("open", path, err)
		}
		if r == nil {
			if r, err = openReadFile(ctx, path, info, s); err != nil {
				return nil, err
			}
			f.open[file] = r
			// SQLite opens the file and its write-ahead log one after the other: a file that was replaced in between
			// is opened again.
			continue
		}
		r.users++
		return r, nil
	}
}

func openReadFile(ctx context.Context, path string, info os.FileInfo, s *ddl.Schema) (*readFile, error) {
	db, err := openRead(path, readCache[s.Name])
	if err != nil {
		return nil, fileError("open", path, err)
	}
	r := &readFile{path: path, db: db, info: info}
	if err := r.prepare(context.WithoutCancel(ctx), s); err != nil {
		_ = db.Close() // the error that led here says more
		if _, serr := os.Stat(path); os.IsNotExist(serr) {
			return nil, serr // it was removed meanwhile
		}
		return nil, err
	}
	return r, nil
}

func (r *readFile) prepare(ctx context.Context, s *ddl.Schema) error {
	if err := identify(ctx, r.db, r.path, s); err != nil {
		return err
	}
	r.statements = map[string]*sql.Stmt{}
	for _, text := range readStatements[s.Name] {
		stmt, err := r.db.PrepareContext(ctx, text)
		if err != nil {
			return fileError("open", r.path, err)
		}
		r.statements[text] = stmt
	}
	return nil
}

// leave ends a use that month or catalog began.
func (f *files) leave(r *readFile) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r.users--
	if r.gone && r.users == 0 {
		_ = r.db.Close() // nothing was written
	}
}

// retire takes the file from those that are open, and closes it when nobody uses it. The caller holds mu.
func (f *files) retire(file string, r *readFile) {
	delete(f.open, file)
	r.gone = true
	if r.users == 0 {
		_ = r.db.Close() // nothing was written
	}
}

// close closes all files; those in use when their last user leaves.
func (f *files) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	for file, r := range f.open {
		f.retire(file, r)
	}
}

// query and row ask one of the file's statements. Questions are short, so they are never interrupted: who asks looks at
// the context between them.
func (r *readFile) query(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	return r.statements[text].QueryContext(context.WithoutCancel(ctx), args...)
}

func (r *readFile) row(ctx context.Context, text string, args ...any) *sql.Row {
	return r.statements[text].QueryRowContext(context.WithoutCancel(ctx), args...)
}

// selectPosition reads the highest position that a file knows.
const selectPosition = `SELECT sequence, ordinal FROM position`

// readPosition returns the highest position that the file knows.
func (r *readFile) readPosition(ctx context.Context) (p schema.Position, err error) {
	err = r.row(ctx, selectPosition).Scan(&p.Sequence, &p.Ordinal)
	if errors.Is(err, sql.ErrNoRows) {
		return schema.Position{}, nil
	}
	if err != nil {
		return p, fileError("read", r.path, err)
	}
	return p, nil
}
