package query

import (
	"context"
	"fmt"
	"slices"

	"berth/internal/keyspace"
	"berth/schema/block"
)

// clusters walks through a gateway's readings in [from, to) in order of time and yields them merged. Blocks that overlap
// in time are merged together; all others stand alone, so that a walk over years holds little in memory. What cannot be
// read is left out, and named in r.
func (e *Engine) clusters(ctx context.Context, gateway string, r *recent, keep func(string) bool, from, to int64,
	yield func([]block.Series) error,
) error {
	return e.clustersOr(ctx, gateway, r, keep, from, to, nil, yield)
}

// clustersOr is clusters, but that a block which lies in [from, to) and overlaps no other is offered to whole first, which
// takes it by its directory alone or returns false.
func (e *Engine) clustersOr(ctx context.Context, gateway string, r *recent, keep func(string) bool, from, to int64,
	whole func(*block.Reader) bool, yield func([]block.Series) error,
) error {
	from = max(from, e.oldest())
	if from >= to {
		return nil
	}
	c := cluster{keep: keep, from: from, to: to, whole: whole, yield: yield, damage: &r.damage}
	extras := r.readers
	addBefore := func(first int64) error {
		for len(extras) > 0 && extras[0].First() <= first {
			if err := c.add(extras[0]); err != nil {
				return err
			}
			extras = extras[1:]
		}
		return nil
	}
	err := e.store.Blocks(ctx, gateway, from, to, func(b keyspace.Block) error {
		if b.Last < from || b.First >= to {
			return nil
		}
		if err := addBefore(b.First); err != nil {
			return err
		}
		reader, err := block.Open(slices.Clone(b.Data))
		if err != nil {
			r.damage.add(err, "%s", blockText(gateway, b.First, b.Last, b.From, b.To))
			return nil
		}
		return c.add(reader)
	})
	if err := r.damage.take(err); err != nil {
		return fmt.Errorf("read the blocks of gateway %s: %w", gateway, err)
	}
	if err := addBefore(to); err != nil {
		return err
	}
	return c.flush()
}

// cluster is a run of sources that overlap in time.
type cluster struct {
	keep     func(string) bool
	from, to int64
	whole    func(*block.Reader) bool // nil: no block is taken by its directory
	yield    func([]block.Series) error
	damage   *damage

	sources []block.Source
	last    int64 // the latest time of any source
}

// add takes the next source in order of first time; when it begins after all before it, those are yielded first.
func (c *cluster) add(r *block.Reader) error {
	if len(c.sources) > 0 && r.First() > c.last {
		if err := c.flush(); err != nil {
			return err
		}
	}
	if len(c.sources) == 0 {
		c.last = r.Last()
	}
	c.sources = append(c.sources, r)
	c.last = max(c.last, r.Last())
	return nil
}

// flush merges and yields what has been added.
func (c *cluster) flush() error {
	if len(c.sources) == 0 {
		return nil
	}
	if r, ok := c.sources[0].(*block.Reader); ok && len(c.sources) == 1 && c.whole != nil &&
		r.First() >= c.from && r.Last() < c.to && c.whole(r) {
		c.sources = c.sources[:0]
		return nil
	}
	series, err := block.Merge(c.sources, c.keep, c.from, c.to)
	if err != nil {
		c.dropUnreadable()
		series, err = block.Merge(c.sources, c.keep, c.from, c.to)
	}
	c.sources = c.sources[:0]
	if err != nil {
		return err
	}
	return c.yield(series)
}

// dropUnreadable leaves out, and names, the blocks whose columns cannot be read though their checksums are right.
func (c *cluster) dropUnreadable() {
	c.sources = slices.DeleteFunc(c.sources, func(s block.Source) bool {
		r, ok := s.(*block.Reader)
		if !ok {
			return false
		}
		_, err := r.Content()
		if err != nil {
			c.damage.add(err, "%s", blockText(r.Gateway(), r.First(), r.Last(), r.From(), r.To()))
		}
		return err != nil
	})
}

// keepOnly returns a filter that keeps the named sensors; none named keeps all.
func keepOnly(sensors []string) func(string) bool {
	if len(sensors) == 0 {
		return nil
	}
	return func(sensor string) bool { return slices.Contains(sensors, sensor) }
}
