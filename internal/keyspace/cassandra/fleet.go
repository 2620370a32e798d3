package cassandra

import (
	"context"

	"berth/internal/keyspace"
	"berth/schema"
)

// FleetRows asks for one row after the other: each lies on nodes of its own.
func (r *reader) FleetRows(ctx context.Context, names []string) ([]keyspace.Gateway, error) {
	var all []keyspace.Gateway
	for _, name := range names {
		g, err := r.Gateway(ctx, name)
		if schema.Is(err, schema.NotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, g)
	}
	return all, r.there(ctx, len(all) > 0)
}

// FleetRollups asks for the rollups of one gateway after the other.
func (r *reader) FleetRollups(
	ctx context.Context, names []string, span keyspace.Span, from, to int64, yield func(keyspace.RollupKey, []byte) error,
) error {
	for _, name := range names {
		err := r.Rollups(ctx, name, span, from, to, func(one keyspace.Rollup) error {
			if !one.Counts() {
				one.Data = nil
			}
			return yield(one.RollupKey, one.Data)
		})
		if err != nil {
			return err
		}
	}
	return nil
}
