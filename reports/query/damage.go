package query

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"berth/internal/api"
	"berth/internal/keyspace"
	"berth/schema"
)

// What an answer, and the engine, name of what is damaged.
const (
	mostNamed    = 5
	mostDamages  = 1000
	shownDamages = 3
)

// damage is what an answer had to leave out because it cannot be read: it is named, and the answer says that it is not
// complete.
type damage struct {
	engine *Engine
	count  int
	named  []string
}

// add names something that cannot be read.
func (d *damage) add(err error, format string, args ...any) {
	what := fmt.Sprintf(format, args...)
	d.count++
	if len(d.named) < mostNamed {
		d.named = append(d.named, what)
	}
	d.engine.damages.note(d.engine, what, err)
}

// take adds what err says to be damaged, and returns an err that says something else.
func (d *damage) take(err error) error {
	if !errors.Is(err, keyspace.ErrDamaged) {
		return err
	}
	d.add(err, "%s", schema.Show(err))
	return nil
}

// apply says in an answer what is missing in it.
func (d *damage) apply(c api.Complete) api.Complete {
	if d.count == 0 {
		return c
	}
	reason := "what is stored is damaged: " + strings.Join(d.named, "; ")
	if d.count > len(d.named) {
		reason += fmt.Sprintf("; %d such places in all", d.count)
	}
	if c.Reason != "" {
		reason = c.Reason + "; " + reason
	}
	return api.Complete{Reason: reason, UpTo: c.UpTo}
}

// blockText names a block.
func blockText(gateway string, first, last int64, from, to schema.Position) string {
	at := func(t int64) string { return time.Unix(0, t).UTC().Format(time.RFC3339Nano) }
	return fmt.Sprintf("the block of gateway %q from %s to %s, positions %s to %s, cannot be read", gateway, at(first), at(last), from, to)
}

// damages are what all answers so far have met.
type damages struct {
	mu    sync.Mutex // guards what follows
	named []string
	since time.Time // when the first was met
}

// note remembers and logs a damage when it is met for the first time.
func (d *damages) note(e *Engine, what string, err error) {
	d.mu.Lock()
	known := slices.Contains(d.named, what) || len(d.named) == mostDamages
	if !known {
		if len(d.named) == 0 {
			d.since = e.now()
		}
		d.named = append(d.named, what)
	}
	d.mu.Unlock()
	if !known {
		e.log.Error("something stored cannot be read and is left out of answers", "what", what, "error", err)
	}
}

// Damage says what answers have met since the start that cannot be read: how many places, the first of them, and when
// that was. It is empty when there was nothing.
func (e *Engine) Damage() (text string, since time.Time) {
	d := &e.damages
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.named) == 0 {
		return "", time.Time{}
	}
	text = strings.Join(d.named[:min(shownDamages, len(d.named))], "; ")
	if more := len(d.named) - shownDamages; more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return text, d.since
}
