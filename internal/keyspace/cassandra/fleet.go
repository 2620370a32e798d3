package cassandra

import (
	"context"
	"slices"

	"berth/internal/keyspace"
	"berth/schema"
)

// FleetRows asks for all rows at once, as many as may be in flight: each lies on nodes of its own.
func (r *reader) FleetRows(ctx context.Context, names []string) ([]keyspace.Gateway, error) {
	rows := make([]keyspace.Gateway, len(names)) // those that there are have their name
	err := r.backend.each(ctx, len(names), func(ctx context.Context, i int) error {
		g, err := r.Gateway(ctx, names[i])
		if err == nil {
			rows[i] = g
		} else if !schema.Is(err, schema.NotFound) {
			return err
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	rows = slices.DeleteFunc(rows, func(g keyspace.Gateway) bool { return g.Name == "" })
	return rows, r.there(ctx, len(rows) > 0)
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
