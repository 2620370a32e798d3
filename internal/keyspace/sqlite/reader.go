package sqlite

import (
	"cmp"
	"context"
	"errors"
	"os"
	"slices"

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
	for i := range all {
		p, err := r.monthPosition(ctx, &all[i])
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

// monthPosition returns the highest position of a month's files. One that is damaged is left out: the catalog's position
// is that of all that was written with its blocks.
func (r *reader) monthPosition(ctx context.Context, m *monthFiles) (highest schema.Position, err error) {
	var damaged damages
	for _, name := range m.names {
		f, err := r.files.month(ctx, name)
		if f == nil {
			if err = damaged.take(err); err != nil {
				return highest, err
			}
			continue
		}
		p, err := f.readPosition(ctx)
		r.files.leave(f)
		if err = damaged.take(err); err != nil {
			return highest, err
		}
		if highest.Less(p) {
			highest = p
		}
	}
	return highest, nil
}

// months returns the months that have files now, NotFound when the keyspace is gone.
func (r *reader) months() ([]monthFiles, error) {
	all, err := months(r.files.dir)
	if os.IsNotExist(err) {
		return nil, notFound(r.name)
	}
	if err != nil {
		return nil, fileError("list", r.files.dir, err)
	}
	return all, nil
}

// Blocks yields a gateway's blocks, month by month, day by day, page by page, and says in the end what is damaged.
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
	var damaged damages
	for i := range all {
		if m := &all[i]; m.month >= firstMonth && m.month <= lastMonth {
			b := monthBlocks{reader: r, page: p, query: query{gateway: gateway, from: from, to: to}, damaged: &damaged}
			if err := b.read(ctx, m, yield); err != nil {
				return err
			}
		}
	}
	return damaged.err()
}

// monthBlocks reads a gateway's blocks of one month.
type monthBlocks struct {
	*reader
	page    *page
	query   query
	sources []source
	damaged *damages
}

// source is a file of the month, and the gateway's number in it.
type source struct {
	file *readFile
	id   int64
}

// read yields the blocks day by day; those of several files are put in order.
func (b *monthBlocks) read(ctx context.Context, m *monthFiles, yield func(keyspace.Block) error) error {
	defer func() {
		for _, s := range b.sources {
			b.files.leave(s.file)
		}
	}()
	for _, name := range m.names {
		if err := b.damaged.take(b.open(ctx, name)); err != nil {
			return err
		}
	}
	firstDay, _ := inDay(b.query.from)
	lastDay, _ := inDay(b.query.to - 1)
	begin, end := m.month.days()
	for day := max(firstDay, begin); day <= min(lastDay, end-1) && len(b.sources) > 0; day++ {
		if len(b.sources) == 1 {
			if err := b.day(ctx, &b.sources[0], day, yield); err != nil {
				return err
			}
			continue
		}
		var all []keyspace.Block
		for i := range b.sources {
			err := b.day(ctx, &b.sources[i], day, func(one keyspace.Block) error {
				one.Data = slices.Clone(one.Data)
				all = append(all, one)
				return nil
			})
			if err != nil {
				return err
			}
		}
		slices.SortStableFunc(all, func(x, y keyspace.Block) int {
			return cmp.Or(cmp.Compare(x.First, y.First), x.From.Compare(y.From), x.To.Compare(y.To), cmp.Compare(x.Part, y.Part))
		})
		for _, one := range all {
			if err := yield(one); err != nil {
				return err
			}
		}
	}
	return nil
}

// open opens a file of the month, if the gateway has blocks in it.
func (b *monthBlocks) open(ctx context.Context, name string) error {
	f, err := b.files.month(ctx, name)
	if f == nil {
		return err
	}
	id, err := f.gatewayID(ctx, b.query.gateway)
	if id == 0 {
		b.files.leave(f)
		return err
	}
	b.sources = append(b.sources, source{f, id})
	return nil
}

// day yields the blocks of one day in one file, page by page.
func (b *monthBlocks) day(ctx context.Context, s *source, day int64, yield func(keyspace.Block) error) error {
	p, q := b.page, &b.query
	for q.begin(day); q.day == day; {
		if err := ctx.Err(); err != nil {
			return err
		}
		damaged := p.read(ctx, s.file, s.id, q)
		if damaged != nil && !errors.Is(damaged, keyspace.ErrDamaged) {
			return damaged
		}
		for i := range p.blocks {
			if err := yield(p.blocks[i]); err != nil {
				return err
			}
		}
		if damaged != nil {
			if err := b.damaged.take(p.skip(ctx, s.file, s.id, q)); err != nil {
				return err
			}
		}
	}
	return nil
}
