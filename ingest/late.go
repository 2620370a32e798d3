package ingest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"berth/ingest/episode"
	"berth/internal/bus"
	"berth/internal/headapi"
	"berth/schema"
	"berth/schema/batch"
	"berth/schema/record"
)

// A keyspace that is away does not keep ingest from starting: the log is there, and an acknowledgement needs no more. But
// a log that begins anew begins above the highest position that the keyspace knows, and one that was restored from an
// older copy must not go on at all. So without the keyspace
//
//	the log                                     the start
//	holds messages, as it does for ever once    goes on after the last of them, and notes since which claim; whether the
//	something was in it                         keyspace knows something beyond that is looked at when it is back, before
//	                                            anything is written or trimmed
//	holds nothing: it is new, or was made anew  waits for the keyspace
//	is ordered to be dropped                    waits for the keyspace, which says whether it is older
//
// When the keyspace does know more, the log was an older copy: the instance ends, and the next start refuses the log as
// ever. Once it is ordered to be dropped, what it took since that claim is set aside first, to be fed again.

const (
	// askLimit bounds how long a start asks a keyspace that does not answer.
	askLimit = 5 * time.Second
	// lateFirst is the pause between two tries to open a keyspace that is away; it doubles up to lateMost.
	lateFirst = 250 * time.Millisecond
	lateMost  = 5 * time.Second
)

// away reports whether err says that the keyspace cannot be asked now, which another try may mend.
func away(ctx context.Context, err error) bool {
	switch {
	case err == nil, ctx.Err() != nil:
		return false
	case schema.Is(err, schema.NotFound), schema.Is(err, schema.Conflict), schema.Is(err, schema.Invalid):
		return false
	}
	return true
}

// floor returns the sequence above which the log begins if it is empty. checked is false when the keyspace is away, and
// the log goes on all the same.
func (i *Ingest) floor(ctx context.Context) (above uint64, checked bool, err error) {
	asking, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	position, asked := i.position(asking)
	if asked != nil && !away(ctx, asked) {
		return 0, false, asked
	}
	log, err := i.journal.State(ctx)
	if err != nil {
		return 0, false, err
	}
	order := i.settings.pipeline().Settings.DropLog
	if asked == nil {
		return position.Sequence, true, i.compare(ctx, position.Sequence, &log, order)
	}
	switch {
	case log.Messages == 0:
		return 0, false, fmt.Errorf("the log holds nothing, and only the keyspace knows above which position it begins: %w", asked)
	case order != 0 && order == log.Last:
		return 0, false, fmt.Errorf("the log is to be dropped if the keyspace knows what came after it: %w", asked)
	}
	i.log.Warn("the keyspace is away: the log goes on after its last message", "sequence", log.Last, "error", asked)
	i.keyspace.Fail(asked)
	return 0, false, nil
}

// compare holds the log against the highest position that the keyspace knows: one that is older is an error, or is
// dropped if that is ordered.
func (i *Ingest) compare(ctx context.Context, above uint64, log *bus.LogState, order uint64) error {
	since, err := i.journal.Unchecked(ctx)
	if err != nil {
		return err
	}
	grown := since != 0 && since <= above // it was older, and took something since
	switch {
	case order != 0 && order == log.Last && (grown || order < above):
		if err := i.keepTaken(ctx, since, log.Last); err != nil {
			return err
		}
		if err := i.journal.Abandon(ctx, order); err != nil {
			return err
		}
	case grown:
		return i.olderLog(&bus.OlderLogError{LogState: *log, Above: above})
	}
	if since == 0 {
		return nil
	}
	return i.journal.Checked(ctx)
}

// keepTaken sets aside what a log that is to be dropped has taken since a claim.
func (i *Ingest) keepTaken(ctx context.Context, since, last uint64) error {
	if since == 0 {
		return nil
	}
	return i.journal.Read(ctx, since, last, func(sequence uint64, data []byte) error {
		h, rows, err := batch.Decode(data, i.shapes)
		if err == nil && h.Kind != batch.Data {
			return nil
		}
		readings := 0
		if err == nil {
			readings = rows.Readings()
		}
		why := schema.Errorf(schema.Conflict, "message %d was taken by a log that was restored from an older copy, and dropped as ordered", sequence)
		a := record.Aside{What: "log", Form: record.FormMessage, Sequence: sequence, Readings: uint64(readings)}
		return i.setAside(ctx, &a, why, data)
	})
}

// openKeyspaceLate opens the keyspace once it is back, and looks first whether the log goes on where it should.
func (i *Ingest) openKeyspaceLate(ctx context.Context, c *claim) {
	if i.keyspace.Why() == nil {
		return
	}
	i.background(ctx, "keyspace's return", otherStop, func(ctx context.Context) {
		began, pause := time.Now(), lateFirst
		for {
			older, err := i.tryKeyspace(ctx, c)
			switch {
			case ctx.Err() != nil:
				return
			case older:
				i.end(err)
				return
			case err == nil:
				i.log.Info("the keyspace is open", "took", time.Since(began).Round(time.Millisecond))
				return
			}
			i.keyspace.Fail(err)
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				return
			}
			pause = min(2*pause, lateMost)
		}
	})
}

// tryKeyspace opens the keyspace, unless it knows more than was in the log at the claim.
func (i *Ingest) tryKeyspace(ctx context.Context, c *claim) (older bool, err error) {
	position, err := i.position(ctx)
	if err != nil {
		return false, err
	}
	if !c.checked {
		log, err := i.journal.State(ctx)
		if err != nil {
			return false, err
		}
		if err := i.compare(ctx, position.Sequence, &log, 0); err != nil {
			_, older := errors.AsType[*bus.OlderLogError](err)
			return older, err
		}
		c.checked = true
	}
	if err := i.openKeyspace(ctx); err != nil {
		return false, err
	}
	if stats, err := i.keyspace.Stats(ctx); err == nil {
		i.table.Add(stats.Gateways)
	}
	return false, nil
}

// olderLog says what to do about a log that was restored from an older copy.
func (i *Ingest) olderLog(older *bus.OlderLogError) error {
	return schema.Errorf(schema.Conflict, "%v: it was restored from an older copy, and what was acknowledged since is missing", older).
		WithNext("restore a log that ends at %d or later; without one, provisioner set %s --drop-log %d gives its %d messages up and begins anew",
			older.Above, i.o.Provider, older.Last, older.Messages).WithCause(older)
}

// lateCondition says that the keyspace is not open yet, and why.
func (i *Ingest) lateCondition() (episode.Condition, bool) {
	err := i.keyspace.Why()
	if err == nil {
		return episode.Condition{}, false
	}
	return episode.Condition{State: headapi.StateSlow, Detail: schema.Show(err)}, true
}
