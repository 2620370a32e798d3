package cassandra

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/gocql/gocql"

	"berth/internal/keyspace"
	"berth/schema"
	"berth/schema/cql"
)

// tables are a keyspace's tables: what may be asked of them, with their names in full.
type tables struct {
	backend  *Backend
	session  *gocql.Session
	full     string // the keyspace's name as it is known outside
	name     string // of the provider
	key      string // in every partition's key: the provider, and in a shared keyspace which of that name
	keyspace string // in the cluster
	shared   bool   // with other providers

	insertBlock, insertMark, insertRollup, insertRow, insertOwn, updateStored, raiseBounds  string
	selectBlocks, selectRollups, selectUnrolled, selectRow, selectRows, selectOwn           string
	selectWeeks, selectMonths, selectStored, selectRetention, updateRetention, updateWriter string
}

// tables returns a keyspace's tables, whether or not they are there.
func (b *Backend) tables(ctx context.Context, name string) (*tables, error) {
	t, err := b.parseName(name)
	if err != nil {
		return nil, err
	}
	s, err := b.open(ctx)
	if err != nil {
		return nil, err
	}
	t.session = s
	in := func(text string) string { return strings.ReplaceAll(text, "{keyspace}", t.keyspace) }
	t.insertBlock = in(`INSERT INTO {keyspace}.blocks
(provider, gateway, week, first, from_sequence, from_ordinal, to_sequence, to_ordinal, part, last, data)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) USING TTL ?`)
	t.insertMark = in(`INSERT INTO {keyspace}.rollups (provider, gateway, span, month, start, stale)
VALUES (?, ?, ?, ?, ?, ?) USING TTL ? AND TIMESTAMP ?`)
	t.insertRollup = in(`INSERT INTO {keyspace}.rollups (provider, gateway, span, month, start, computed, data)
VALUES (?, ?, ?, ?, ?, ?, ?) USING TTL ? AND TIMESTAMP ?`)
	t.insertRow = in(`INSERT INTO {keyspace}.catalog (provider, bucket, gateway, entry, tail) VALUES (?, ?, ?, ?, ?) USING TIMESTAMP ?`)
	t.insertOwn = in(`INSERT INTO {keyspace}.catalog (provider, bucket, gateway, entry) VALUES (?, ?, '', ?) USING TIMESTAMP ?`)
	t.updateStored = in(`UPDATE {keyspace}.catalog SET weeks = weeks + ?, months = months + ?, hours_from = ?, days_from = ?, listed = ?
WHERE provider = ? AND bucket = ? AND gateway = ?`)
	t.raiseBounds = in(`UPDATE {keyspace}.catalog SET hours_from = ?, days_from = ? WHERE provider = ? AND bucket = ? AND gateway = ?`)
	t.selectBlocks = in(`SELECT first, from_sequence, from_ordinal, to_sequence, to_ordinal, part, last, writetime(data), data
FROM {keyspace}.blocks WHERE provider = ? AND gateway = ? AND week = ? AND first >= ? AND first < ?`)
	t.selectRollups = in(`SELECT start, stale, data FROM {keyspace}.rollups
WHERE provider = ? AND gateway = ? AND span = ? AND month = ? AND start >= ? AND start < ?`)
	t.selectUnrolled = in(`SELECT start, stale, computed FROM {keyspace}.rollups
WHERE provider = ? AND gateway = ? AND span = ? AND month = ? AND start >= ? AND start <= ?`)
	t.selectRow = in(`SELECT entry, tail FROM {keyspace}.catalog WHERE provider = ? AND bucket = ? AND gateway = ?`)
	t.selectRows = in(`SELECT gateway, entry FROM {keyspace}.catalog WHERE provider = ? AND bucket = ? AND gateway > ?`)
	t.selectOwn = in(`SELECT entry, writer FROM {keyspace}.catalog WHERE provider = ? AND bucket = ? AND gateway = ''`)
	t.selectWeeks = in(`SELECT weeks FROM {keyspace}.catalog WHERE provider = ? AND bucket = ? AND gateway = ?`)
	t.selectMonths = in(`SELECT months FROM {keyspace}.catalog WHERE provider = ? AND bucket = ? AND gateway = ?`)
	t.selectStored = in(`SELECT gateway, listed, months, hours_from, days_from FROM {keyspace}.catalog WHERE provider = ? AND bucket = ?`)
	t.selectRetention = in(`SELECT keep_blocks, keep_rollups FROM {keyspace}.catalog WHERE provider = ? AND bucket = ? AND gateway = ''`)
	t.updateRetention = in(`UPDATE {keyspace}.catalog SET keep_blocks = ?, keep_rollups = ? WHERE provider = ? AND bucket = ? AND gateway = ''`)
	t.updateWriter = in(`UPDATE {keyspace}.catalog SET writer = ? WHERE provider = ? AND bucket = ? AND gateway = '' IF writer = ?`)
	return t, nil
}

// parseName reads a keyspace's name, which is the provider's for one of its own, and keyspace.Shared's for a shared one.
func (b *Backend) parseName(full string) (*tables, error) {
	name, made, shared := keyspace.CutShared(full)
	if err := schema.CheckProvider(name); err != nil {
		return nil, err
	}
	t := &tables{backend: b, full: full, name: name, key: name, keyspace: b.address.prefix + name, shared: shared}
	if shared {
		t.key, t.keyspace = name+"/"+made, b.address.prefix+sharedKeyspace
	}
	return t, nil
}

// query returns a statement, of which all but updateWriter may be repeated.
func (t *tables) query(ctx context.Context, text string, values ...any) *gocql.Query {
	return t.session.Query(text, values...).WithContext(ctx)
}

// version returns the version of the keyspace's tables, or NotFound when they are not there or not whole, or the provider
// is not in them.
func (t *tables) version(ctx context.Context) (int, error) {
	version, err := t.tablesVersion(ctx)
	if err == nil && t.shared {
		err = t.listed(ctx)
	}
	return version, err
}

func (t *tables) tablesVersion(ctx context.Context) (int, error) {
	var comment string
	err := t.query(ctx, "SELECT comment FROM system_schema.tables WHERE keyspace_name = ? AND table_name = 'catalog'", t.keyspace).Scan(&comment)
	if err != nil && !errors.Is(err, gocql.ErrNotFound) {
		return 0, t.unreached(ctx, "look for", err)
	}
	version := cql.ParseVersion(comment)
	if version == 0 {
		return 0, t.notFound()
	}
	return version, nil
}

// change changes keyspaces or tables, and waits until all nodes agree.
func (t *tables) change(ctx context.Context, statement string) error {
	if err := t.query(ctx, statement).Exec(); err != nil {
		return err
	}
	return t.session.AwaitSchemaAgreement(ctx)
}

func (t *tables) notFound() error {
	return schema.Errorf(schema.NotFound, "there is no keyspace %s", t.name)
}

// failed gives err of an act on the keyspace its kind: NotFound when the keyspace is gone, the context's own error when
// it ended.
func (t *tables) failed(ctx context.Context, act string, err error) error {
	if answer, ok := errors.AsType[gocql.RequestError](err); ok && ctx.Err() == nil {
		switch answer.Code() {
		case gocql.ErrCodeInvalid, gocql.ErrCodeConfig, gocql.ErrCodeServer:
			if _, found := t.version(ctx); schema.Is(found, schema.NotFound) {
				return found
			}
			return schema.Errorf(schema.Internal, "Cassandra refuses to %s keyspace %s", act, t.name).WithCause(err)
		case gocql.ErrCodeUnauthorized, gocql.ErrCodeCredentials:
			return schema.Errorf(schema.Forbidden, "Cassandra does not let this program %s keyspace %s", act, t.name).
				WithNext("grant its role what it needs").WithCause(err)
		}
	}
	return t.unreached(ctx, act, err)
}

// unreached says that the cluster does not do now what it is asked.
func (t *tables) unreached(ctx context.Context, act string, err error) error {
	if ended := ctx.Err(); ended != nil {
		return fmt.Errorf("%s keyspace %s: %w", act, t.name, ended)
	}
	if _, ok := errors.AsType[*schema.Error](err); ok {
		return err
	}
	return schema.Errorf(schema.Unavailable, "Cassandra does not %s keyspace %s now", act, t.name).WithCause(err)
}
