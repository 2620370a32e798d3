package sqlite

import (
	"context"
	"os"

	"berth/internal/keyspace"
	"berth/schema"
)

// What one read transaction takes at most. A transaction ends before anything is yielded, so that a slow reader never
// holds up the writer's checkpoints.
const (
	pageRows  = 64
	pageBytes = 256 << 10
)

// reader reads a keyspace's files.
type reader struct {
	name  string
	files *files
}

var _ keyspace.Reader = (*reader)(nil)

func newReader(name, dir string) *reader { return &reader{name: name, files: newFiles(name, dir)} }

// Close closes the files. Those in use are closed when they no longer are.
func (r *reader) Close() error {
	r.files.close()
	return nil
}

// Position returns the highest position of the catalog and of every month.
func (r *reader) Position(ctx context.Context) (schema.Position, error) {
	c, err := r.files.catalog(ctx)
	if err != nil {
		return schema.Position{}, err
	}
	defer r.files.leave(c)
	// Expire carries a month's position to the catalog before it removes the month: so the months are read first.
	var highest schema.Position
	all, err := r.months()
	if err != nil {
		return schema.Position{}, err
	}
	for _, m := range all {
		p, err := r.monthPosition(ctx, m)
		if err != nil {
			return schema.Position{}, err
		}
		if highest.Less(p) {
			highest = p
		}
	}
	p, err := c.readPosition(ctx)
	if err != nil {
		return schema.Position{}, err
	}
	if highest.Less(p) {
		highest = p
	}
	return highest, nil
}

func (r *reader) monthPosition(ctx context.Context, m month) (schema.Position, error) {
	f, err := r.files.month(ctx, m)
	if f == nil {
		return schema.Position{}, err
	}
	defer r.files.leave(f)
	return f.readPosition(ctx)
}

// months returns the months that have a file now, NotFound when the keyspace is gone.
func (r *reader) months() ([]month, error) {
	all, err := months(r.files.dir)
	if os.IsNotExist(err) {
		return nil, notFound(r.name)
	}
	if err != nil {
		return nil, fileError("list", r.files.dir, err)
	}
	return all, nil
}

// Blocks yields a gateway's blocks, month by month, day by day, page by page.
func (r *reader) Blocks(ctx context.Context, gateway string, from, to int64, yield func(keyspace.Block) error) error {
	c, err := r.files.catalog(ctx)
	if err != nil {
		return err
	}
	r.files.leave(c)
	if from >= to {
		return nil
	}
	all, err := r.months()
	if err != nil {
		return err
	}
	firstMonth, lastMonth := monthOf(from), monthOf(to-1)
	p := getPage()
	defer p.put()
	for _, m := range all {
		if m < firstMonth || m > lastMonth {
			continue
		}
		if err := r.monthBlocks(ctx, m, p, &query{gateway: gateway, from: from, to: to}, yield); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) monthBlocks(ctx context.Context, m month, p *page, q *query, yield func(keyspace.Block) error) error {
	f, err := r.files.month(ctx, m)
	if f == nil {
		return err
	}
	defer r.files.leave(f)
	id, err := f.gatewayID(ctx, q.gateway)
	if id == 0 {
		return err
	}
	firstDay, _ := inDay(q.from)
	lastDay, _ := inDay(q.to - 1)
	begin, end := m.days()
	for q.begin(max(firstDay, begin)); q.day <= min(lastDay, end-1); {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := p.read(ctx, f, id, q); err != nil {
			return err
		}
		for i := range p.blocks {
			if err := yield(p.blocks[i]); err != nil {
				return err
			}
		}
	}
	return nil
}
