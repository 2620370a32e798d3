package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"os"
	"runtime"

	ddl "berth/schema/sql"

	"berth/schema"
)

const (
	selectName   = selectGatewayID
	insertName   = `INSERT INTO names (name) VALUES (?)`
	selectNextID = `SELECT coalesce(max(id), 0) + 1 FROM data`

	insertBlock = `
INSERT INTO blocks (day, gateway, first, from_sequence, from_ordinal, to_sequence, to_ordinal, part, last, id)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`
	insertData = `INSERT INTO data (id, data) VALUES (?, ?)`

	// selectStored finds a block as readers do: by its gateway's name, its day and time, and the number of its data.
	selectStored = `
SELECT count(*) FROM names n CROSS JOIN blocks b ON b.gateway = n.id CROSS JOIN data d ON d.id = b.id
WHERE n.name = ? AND b.day = ? AND b.first >= ? AND b.first <= ? AND d.id = ?`

	raisePosition = `
INSERT INTO position (id, sequence, ordinal) VALUES (1, ?, ?)
ON CONFLICT (id) DO UPDATE SET sequence = excluded.sequence, ordinal = excluded.ordinal
WHERE (excluded.sequence, excluded.ordinal) > (sequence, ordinal)`

	upsertMark = `
INSERT INTO rollups (gateway, span, start, computed_sequence, computed_ordinal, stale_sequence, stale_ordinal)
VALUES (?, ?, ?, 0, 0, ?, ?)
ON CONFLICT (gateway, span, start) DO UPDATE SET stale_sequence = excluded.stale_sequence, stale_ordinal = excluded.stale_ordinal
WHERE (excluded.stale_sequence, excluded.stale_ordinal) > (stale_sequence, stale_ordinal)`

	upsertGateway = `
INSERT INTO gateways (id, sequence, ordinal, entry, tail) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET sequence = excluded.sequence, ordinal = excluded.ordinal, entry = excluded.entry, tail = excluded.tail
WHERE (excluded.sequence, excluded.ordinal) >= (sequence, ordinal)`

	// deleteGateway goes before upsertGateway where a tail ends: only when a row is deleted does SQLite join pages that have
	// become nearly empty, and a page for each gateway that once had a tail is much.
	deleteGateway = `DELETE FROM gateways WHERE id = ? AND (sequence, ordinal) <= (?, ?) AND tail IS NOT NULL`

	upsertRollup = `
INSERT INTO rollups (gateway, span, start, computed_sequence, computed_ordinal, stale_sequence, stale_ordinal, data)
VALUES (?, ?, ?, ?, ?, 0, 0, ?)
ON CONFLICT (gateway, span, start) DO UPDATE
SET computed_sequence = excluded.computed_sequence, computed_ordinal = excluded.computed_ordinal, data = excluded.data
WHERE (excluded.computed_sequence, excluded.computed_ordinal) >= (computed_sequence, computed_ordinal)`

	deleteRollups = `DELETE FROM rollups WHERE gateway = ? AND span = ? AND start <= ?`
)

// writeStatements are what is done to each kind of file.
var writeStatements = map[string][]string{
	ddl.Blocks().Name:  {selectName, insertName, raisePosition, selectNextID, insertBlock, insertData, selectStored},
	ddl.Catalog().Name: {selectName, insertName, raisePosition, upsertMark, deleteGateway, upsertGateway, upsertRollup, deleteRollups, selectHeadID, insertHead},
}

const (
	// walLimit is the size of a write-ahead log at which the writer waits for readers to leave it, in bytes. Until then
	// SQLite's own checkpoints do, which wait for nobody.
	walLimit = 24 << 20
	// walWait is how long the writer waits then, in milliseconds; after that the log may grow by walLimit once more.
	walWait = 2000
	// worthEmptying is the size of a write-ahead log that is emptied when nothing has been written for a while, in bytes.
	worthEmptying = 1 << 20
	// worthShrinking is how many free pages a file gives back when nothing has been written for a while, and how many at most.
	worthShrinking, mostShrunk = 16, 1024
	// namesKept is how many gateways' numbers are kept in memory for a file.
	namesKept = 1 << 16
)

// writeFile is a file that is open for writing, by one connection.
type writeFile struct {
	path       string
	log        *slog.Logger
	info       os.FileInfo // which file it is, whatever bears its name now
	db         *sql.DB
	conn       *sql.Conn
	statements map[string]*sql.Stmt

	names  map[string]int64 // of gateways, as committed or written by the transaction under way
	heads  map[string]int64 // of rollups, likewise; seenOnce where it has no number
	nextID int64            // of data, 0 when it has to be asked
	used   uint64           // when it was last used, counted in uses
	retry  int64            // the size of the write-ahead log at which to wait for readers
}

// openWriteFile opens a file that exists, and brings it to the newest version.
func openWriteFile(ctx context.Context, path string, s *ddl.Schema, log *slog.Logger) (*writeFile, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	// What a process has committed that was killed before it was synced is there, and is not written again.
	if err := syncFolders(path + "-wal"); err != nil && !os.IsNotExist(err) {
		return nil, fileError("open", path, err)
	}
	db, err := openWrite(path, s)
	if err != nil {
		return nil, fileError("open", path, err)
	}
	f := &writeFile{path: path, log: log, info: info, db: db, names: map[string]int64{}, heads: map[string]int64{}, retry: walLimit}
	if err := f.prepare(context.WithoutCancel(ctx), s); err != nil {
		_ = f.close() // the error that led here says more
		return nil, fileError("open", path, err)
	}
	return f, nil
}

func (f *writeFile) prepare(ctx context.Context, s *ddl.Schema) error {
	if err := identify(ctx, f.db, f.path, s); err != nil {
		return err
	}
	if err := migrate(ctx, f.db, s); err != nil {
		return err
	}
	var err error
	if f.conn, err = f.db.Conn(ctx); err != nil {
		return err
	}
	f.statements = map[string]*sql.Stmt{}
	for _, text := range writeStatements[s.Name] {
		stmt, err := f.conn.PrepareContext(ctx, text)
		if err != nil {
			return err
		}
		f.statements[text] = stmt
	}
	return nil
}

// close closes the file. SQLite copies its write-ahead log into it when nobody else has it open.
func (f *writeFile) close() error {
	var errs []error
	for _, stmt := range f.statements {
		errs = append(errs, stmt.Close()) // else SQLite keeps the connection until they are
	}
	if f.conn != nil {
		errs = append(errs, f.conn.Close())
	}
	return errors.Join(append(errs, f.db.Close())...)
}

// transact does fn in one transaction, which is on disk when transact returns nil. Statements are short, so they are
// never interrupted: fn looks at the context between them.
func (f *writeFile) transact(ctx context.Context, fn func() error) error {
	free := context.WithoutCancel(ctx)
	err := ctx.Err()
	if err == nil {
		_, err = f.conn.ExecContext(free, "BEGIN IMMEDIATE")
	}
	if err != nil {
		return fileError("write", f.path, err)
	}
	if err = fn(); err == nil {
		_, err = f.conn.ExecContext(free, "COMMIT")
	}
	if err != nil {
		_, _ = f.conn.ExecContext(free, "ROLLBACK") // SQLite may have done so; the error that led here says more
		clear(f.names)
		clear(f.heads)
		f.nextID = 0
		return fileError("write", f.path, err)
	}
	f.boundLog(free)
	return nil
}

// boundLog keeps the write-ahead log from growing for ever when readers never leave it all at once.
func (f *writeFile) boundLog(ctx context.Context) {
	info, err := os.Stat(f.path + "-wal")
	if err != nil || info.Size() < f.retry {
		if err == nil && info.Size() < walLimit {
			f.retry = walLimit // readers have left it meanwhile
		}
		return
	}
	var busy, pages, copied int
	_, err = f.conn.ExecContext(ctx, "PRAGMA "+pragma("busy_timeout", walWait))
	if err == nil {
		err = f.conn.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &pages, &copied)
	}
	if _, rerr := f.conn.ExecContext(ctx, "PRAGMA "+pragma("busy_timeout", busyTimeout)); err == nil {
		err = rerr
	}
	if err == nil && busy == 0 {
		f.retry = walLimit
		return
	}
	f.retry = info.Size() + walLimit
	f.log.Warn("a write-ahead log cannot be emptied, because a reader stays in it; it grows until that reader leaves",
		"file", f.path, "bytes", info.Size(), "error", err)
}

// emptyLog copies a write-ahead log of at least so many bytes into the file, and gives its disk back. It waits for no reader:
// then it returns false, and the log stays until the next time.
func (f *writeFile) emptyLog(worth int64) bool {
	if info, err := os.Stat(f.path + "-wal"); err != nil || info.Size() < worth {
		return true
	}
	ctx := context.Background()
	var busy, pages, copied int
	_, err := f.conn.ExecContext(ctx, "PRAGMA "+pragma("busy_timeout", 0))
	if err == nil {
		err = f.conn.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &pages, &copied)
	}
	if _, rerr := f.conn.ExecContext(ctx, "PRAGMA "+pragma("busy_timeout", busyTimeout)); err == nil {
		err = rerr
	}
	if err != nil || busy != 0 {
		f.log.Debug("a write-ahead log was not emptied", "file", f.path, "busy", busy != 0, "error", err)
	}
	return err == nil && busy == 0
}

// shrink gives free pages back, if they are worth it: SQLite moves what lies behind them. A file that was made by a release
// that did not ask for it keeps them. The file is smaller when its log has been copied into it.
func (f *writeFile) shrink() bool {
	ctx, free := context.Background(), 0
	err := f.conn.QueryRowContext(ctx, "PRAGMA freelist_count").Scan(&free)
	if err != nil || free < worthShrinking {
		return false
	}
	rows, err := f.conn.QueryContext(ctx, "PRAGMA "+pragma("incremental_vacuum", mostShrunk))
	if err == nil {
		for rows.Next() { // a row for each page
		}
		err = errors.Join(rows.Err(), rows.Close())
	}
	if err != nil {
		f.log.Debug("a file was not shrunk", "file", f.path, "error", err)
	}
	return err == nil
}

// do executes one of the file's statements.
func (f *writeFile) do(ctx context.Context, text string, args ...any) (sql.Result, error) {
	runtime.Gosched() // who waits for an acknowledgement goes first; see yield in ingest/seal
	return f.statements[text].ExecContext(ctx, args...)
}

// id returns the gateway's number in the file, giving it one when it has none.
func (f *writeFile) id(ctx context.Context, gateway string) (int64, error) {
	if id, ok := f.names[gateway]; ok {
		return id, nil
	}
	if len(f.names) >= namesKept {
		clear(f.names)
	}
	var id int64
	err := f.statements[selectName].QueryRowContext(ctx, gateway).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		var res sql.Result
		if res, err = f.do(ctx, insertName, gateway); err == nil {
			id, err = res.LastInsertId()
		}
	}
	if err != nil {
		return 0, err
	}
	f.names[gateway] = id
	return id, nil
}

// raise keeps the highest position that the file knows.
func (f *writeFile) raise(ctx context.Context, p schema.Position) error {
	_, err := f.do(ctx, raisePosition, int64(p.Sequence), p.Ordinal)
	return err
}
