package cassandra

import (
	"context"
	"errors"

	"github.com/gocql/gocql"

	"berth/schema"
	"berth/schema/cql"
)

// Providers of a shared keyspace have their rows in the same tables: the provider is in every partition's key, followed by
// when it was made, so that one that was removed and is made anew shares no partition, and no tombstone, with the one before.
// That a provider is there says its own row of the catalog.

// sharedKeyspace is the name of the shared keyspace behind the prefix; no provider's begins so.
const sharedKeyspace = "_shared"

// list notes that the provider is in a shared keyspace.
func (t *tables) list(ctx context.Context) error {
	if !t.shared {
		return nil
	}
	err := t.query(ctx, "INSERT INTO "+t.keyspace+".catalog (provider, bucket, gateway, listed) VALUES (?, ?, '', true)", t.key, cql.OwnBucket).Exec()
	if err != nil {
		return t.unreached(ctx, "create", err)
	}
	return nil
}

// listed returns NotFound unless the provider is in the shared keyspace.
func (t *tables) listed(ctx context.Context) error {
	var listed bool
	err := t.query(ctx, "SELECT listed FROM "+t.keyspace+".catalog WHERE provider = ? AND bucket = ? AND gateway = ''", t.key, cql.OwnBucket).Scan(&listed)
	switch {
	case err != nil && !errors.Is(err, gocql.ErrNotFound):
		return t.unreached(ctx, "look for", err)
	case !listed:
		return t.notFound()
	}
	return nil
}

// there returns NotFound when nothing was found because the keyspace is gone. One of its own says so itself.
func (r *reader) there(ctx context.Context, found bool) error {
	if found || !r.shared {
		return nil
	}
	return r.listed(ctx)
}

// empty removes a provider's rows from a shared keyspace, partition by partition, those that name others last; or finds
// them gone. Cut off, it goes on when it is called again.
func (t *tables) empty(ctx context.Context) error {
	if _, err := t.tablesVersion(ctx); err != nil {
		if schema.Is(err, schema.NotFound) {
			return nil
		}
		return err
	}
	unlist := "UPDATE " + t.keyspace + ".catalog SET listed = false WHERE provider = ? AND bucket = ? AND gateway = ''"
	if err := t.query(ctx, unlist, t.key, cql.OwnBucket).Exec(); err != nil {
		return t.unreached(ctx, "drop", err)
	}
	for bucket := range cql.Buckets {
		if err := t.emptyBucket(ctx, bucket); err != nil {
			return t.unreached(ctx, "drop", err)
		}
	}
	if err := t.dropBucket(ctx, cql.OwnBucket); err != nil {
		return t.unreached(ctx, "drop", err)
	}
	return nil
}

// emptyBucket removes what is stored of the gateways of a bucket, then their rows.
func (t *tables) emptyBucket(ctx context.Context, bucket int) error {
	rows := t.query(ctx, "SELECT gateway, weeks, months FROM "+t.keyspace+".catalog WHERE provider = ? AND bucket = ?", t.key, cql.StoredFrom+bucket).Iter()
	var gateway string
	for {
		var weeks, months []int
		if !rows.Scan(&gateway, &weeks, &months) {
			break
		}
		err := t.backend.each(ctx, len(weeks), func(ctx context.Context, i int) error {
			return t.query(ctx, "DELETE FROM "+t.keyspace+".blocks WHERE provider = ? AND gateway = ? AND week = ?", t.key, gateway, weeks[i]).Exec()
		})
		if err == nil {
			err = t.backend.each(ctx, 2*len(months), func(ctx context.Context, i int) error {
				return t.query(ctx, "DELETE FROM "+t.keyspace+".rollups WHERE provider = ? AND gateway = ? AND span = ? AND month = ?",
					t.key, gateway, int8(1+i%2), months[i/2]).Exec()
			})
		}
		if err != nil {
			return errors.Join(err, rows.Close())
		}
	}
	if err := rows.Close(); err != nil {
		return err
	}
	return errors.Join(t.dropBucket(ctx, bucket), t.dropBucket(ctx, cql.StoredFrom+bucket))
}

func (t *tables) dropBucket(ctx context.Context, bucket int) error {
	return t.query(ctx, "DELETE FROM "+t.keyspace+".catalog WHERE provider = ? AND bucket = ?", t.key, bucket).Exec()
}
