package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"berth/internal/headapi"
	"berth/internal/keyspace"
	"berth/internal/keyspace/open"
	"berth/schema"
	"berth/schema/catalog"
)

// openBackend opens the backend of the provider's keyspace.
func (i *Ingest) openBackend() (err error) {
	if i.backend, err = open.Open(i.o.Keyspaces, i.log); err != nil {
		return err
	}
	i.push("keyspaces", otherStop, func(context.Context) error { return i.backend.Close() })
	return nil
}

// position returns the highest position that the keyspace knows, whoever writes it.
func (i *Ingest) position(ctx context.Context) (schema.Position, error) {
	reader, err := i.backend.Reader(ctx, i.settings.pipeline().Keyspace)
	if err != nil {
		return schema.Position{}, fmt.Errorf("open the keyspace to read: %w", err)
	}
	position, err := reader.Position(ctx)
	if err = errors.Join(err, reader.Close()); err != nil {
		return schema.Position{}, fmt.Errorf("read the keyspace's position: %w", err)
	}
	return position, nil
}

// openKeyspace opens the provider's keyspace as its one writer. An instance before this one may still be ending: it is
// waited for.
func (i *Ingest) openKeyspace(ctx context.Context) error {
	var w keyspace.Writer
	err := retry(ctx, keyspaceWait, func() (again bool, err error) {
		w, err = i.backend.Writer(ctx, i.settings.pipeline().Keyspace)
		return schema.Is(err, schema.Conflict), err
	}, func(err error) {
		i.log.Warn("waiting for the keyspace, which another process still holds", "error", err)
	})
	if err != nil {
		return fmt.Errorf("open keyspace %s: %w", i.settings.pipeline().Keyspace, err)
	}
	if i.wrap != nil {
		w = i.wrap(w)
	}
	return i.keyspace.Set(w)
}

// retry calls fn until it succeeds, its error is not worth another try, or so much time has passed; first is told of the
// first error.
func retry(ctx context.Context, limit time.Duration, fn func() (again bool, err error), first func(error)) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(waitStep)
	defer tick.Stop()
	for n := 0; ; n++ {
		again, err := fn()
		if err == nil || !again {
			return err
		}
		if n == 0 {
			first(err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return err
		}
	}
}

// known says whether the provider has a gateway, and which sensors it has, of the head and the keyspace together. While
// the head is not live, the gateway may be in the log alone: then it cannot be told that there is none.
func (i *Ingest) known(gateway string) (sensors []string, ok bool) {
	live := i.head.Figures().State == headapi.StateReady // asked first: what the head reads now may be missed below
	sensors, all := i.head.Sensors(gateway)
	if all {
		return sensors, true
	}
	row, err := i.row(gateway)
	if err != nil {
		return sensors, !live || len(sensors) > 0 || !schema.Is(err, schema.NotFound)
	}
	return append(sensors, sensorsOf(&row)...), true
}

const (
	// rowWait is how long who decodes a frame waits for a gateway's row, and rowRest how long nobody waits any more once one
	// has waited in vain: one goroutine may decode for many gateways.
	rowWait = 2 * time.Second
	rowRest = 30 * time.Second
)

// row returns a gateway's row, for who decodes a frame.
func (i *Ingest) row(gateway string) (keyspace.Gateway, error) {
	if since := time.Since(time.Unix(0, i.unanswered.Load())); since < rowRest {
		return keyspace.Gateway{}, schema.Errorf(schema.Unavailable, "the keyspace did not answer %s ago", since.Round(time.Second))
	}
	ctx, cancel := context.WithTimeout(context.Background(), rowWait)
	defer cancel()
	row, err := i.keyspace.Gateway(ctx, gateway)
	if ctx.Err() != nil {
		i.unanswered.Store(time.Now().UnixNano())
	}
	return row, err
}

func sensorsOf(row *keyspace.Gateway) []string {
	e, err := catalog.DecodeEntry(row.Entry)
	if err != nil {
		return nil
	}
	sensors := make([]string, 0, len(e.Latest))
	for i := range e.Latest {
		sensors = append(sensors, e.Latest[i].Sensor)
	}
	return slices.Clip(sensors)
}
