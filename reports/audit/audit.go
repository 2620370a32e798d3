// Package audit recounts a provider's books while everything goes on: the equations of the running totals; every message
// of the log against the one before it; every reading of the log in the head and the keyspace; every stored block, and
// rollups and newest readings against the readings. It leaves the recount of one gateway to reports/query.
//
// What can be proven exactly, and how under load: an upper end of the log is fixed at the beginning. Each message says
// how many readings were accepted up to it, so between two messages it must be as many as the second holds. What was in
// the log then must be found, whatever has come since. What is compared with something that changed meanwhile is counted
// as moving and not compared. What cannot be proven: how often an identity came again, since a repeat leaves nothing; so
// the identities that are stored are only held not to be more than were accepted.
//
// Its one invariant: it only reads, a bounded piece at a time, and finds nothing where nothing is wrong.
package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"berth/internal/api"
	"berth/internal/bus"
	"berth/internal/headapi"
	"berth/internal/keyspace"
	"berth/reports/query"
	"berth/schema"
	"berth/schema/batch"
)

// Log is the provider's log: *bus.Log, or one of tests.
type Log interface {
	State(ctx context.Context) (bus.LogState, error)
	Read(ctx context.Context, from, upTo uint64, fn func(sequence uint64, data []byte) error) error
}

// Keyspace is what of the keyspace is asked for beside the engine.
type Keyspace interface {
	Position(ctx context.Context) (schema.Position, error)
}

// Options are what an audit works with. All are needed.
type Options struct {
	Provider string
	Engine   *query.Engine
	Keyspace Keyspace
	Head     query.Head
	Log      Log
	// Tell is told how far the audit is, what it finds, and in the end its result.
	Tell func(api.AuditEvent) error
}

const (
	// patience is how long an audit waits for ingest, which may be starting.
	patience = 60 * time.Second
	// mostFindings is how many findings the result names.
	mostFindings = 100
	tellEvery    = time.Second
	tryEvery     = 200 * time.Millisecond
)

// audit is an audit under way.
type audit struct {
	Options
	result api.Audit
	told   time.Time // when progress was told last
	totals *batch.Totals
	seen   window
	doubts doubts
	shapes *batch.Interner
}

// maxShapes is how many shapes of rows are remembered.
const maxShapes = 1 << 14

// Run audits. An error is that the audit could not be done; what it finds it tells.
func Run(ctx context.Context, o Options) error {
	a := &audit{Options: o, shapes: batch.NewInterner(maxShapes), doubts: doubts{}}
	a.result.Provider, a.result.Begun, a.result.Findings = o.Provider, time.Now().UTC(), []api.Finding{}
	before, err := a.books(ctx)
	if err != nil {
		return err
	}
	if err := a.log(ctx); err != nil {
		return err
	}
	if err := a.gateways(ctx); err != nil {
		return err
	}
	if err := a.settleBooks(ctx, before); err != nil {
		return err
	}
	a.result.Ended = time.Now().UTC()
	a.result.Balanced = a.result.Found == 0
	return a.Tell(api.AuditEvent{Result: &a.result})
}

// found takes a finding. Of a damaged file many gateways tell.
func (a *audit) found(f api.Finding) error {
	if slices.Contains(a.result.Findings, f) {
		return nil
	}
	a.result.Found++
	if len(a.result.Findings) >= mostFindings {
		return nil
	}
	a.result.Findings = append(a.result.Findings, f)
	return a.Tell(api.AuditEvent{Finding: &f})
}

// progress tells how far the audit is, now and then.
func (a *audit) progress(format string, args ...any) error {
	if time.Since(a.told) < tellEvery {
		return nil
	}
	a.told = time.Now()
	return a.Tell(api.AuditEvent{Progress: fmt.Sprintf(format, args...)})
}

// pause waits a little before something is tried again.
func pause(ctx context.Context) error {
	timer := time.NewTimer(tryEvery)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// books asks ingest for the running totals. One that is being started again is waited for.
func (a *audit) books(ctx context.Context) (*api.Books, error) {
	limit := time.Now().Add(patience)
	for {
		b := &api.Books{}
		err := a.Head.Ask(ctx, headapi.Books, []byte("{}"), func(data []byte) error { return json.Unmarshal(data, b) })
		if err == nil {
			return b, nil
		}
		if time.Now().After(limit) {
			return nil, schema.Errorf(schema.Unavailable, "the books cannot be recounted: ingest does not answer").
				WithNext("see what it waits for: provisioner show %s", a.Provider).WithCause(err)
		}
		if err := pause(ctx); err != nil {
			return nil, err
		}
	}
}

// settleBooks holds the totals after the recount against each other, the log and what was counted.
func (a *audit) settleBooks(ctx context.Context, before *api.Books) error {
	after, err := a.books(ctx)
	if err != nil {
		return err
	}
	limit := time.Now().Add(patience) // what the log has may not be confirmed to ingest yet
	for a.totals != nil && after.Readings.Accepted < a.totals.Accepted && time.Now().Before(limit) {
		if err := pause(ctx); err != nil {
			return err
		}
		if after, err = a.books(ctx); err != nil {
			return err
		}
	}
	a.result.Books = *after
	for _, f := range a.booksFindings(before, after) {
		if err := a.found(f); err != nil {
			return err
		}
	}
	position, err := a.Keyspace.Position(ctx)
	if errors.Is(err, keyspace.ErrDamaged) {
		return a.found(api.Finding{What: api.FoundRow, Where: "keyspace", Text: schema.Show(err)})
	}
	if err != nil {
		return fmt.Errorf("read the keyspace's position: %w", err)
	}
	if after.Log.Last < position.Sequence {
		return a.found(api.Finding{
			What: api.FoundBooks, Where: "log", Text: fmt.Sprintf("the log ends at %d, but the keyspace holds readings up to %d", after.Log.Last, position.Sequence),
			Next: "the log was lost or is an old copy: restart the provider's pipeline, which begins it above",
		})
	}
	return nil
}

const nextBooks = "keep a copy of the data folder and report it: the counting is wrong, or something else wrote the log"

func (a *audit) booksFindings(before, after *api.Books) (found []api.Finding) {
	say := func(where, next, format string, args ...any) {
		found = append(found, api.Finding{What: api.FoundBooks, Where: where, Text: fmt.Sprintf(format, args...), Next: next})
	}
	for when, b := range map[string]*api.Books{"before": before, "after": after} {
		if f := b.Frames; f.Received != f.Committed+f.Rejected+f.GivenUp+f.InHand {
			say("frames", nextBooks, "%s the recount %d frames were received, but %d committed, %d rejected, %d given up and %d in hand make %d",
				when, f.Received, f.Committed, f.Rejected, f.GivenUp, f.InHand, f.Committed+f.Rejected+f.GivenUp+f.InHand)
		}
	}
	if t := a.totals; t != nil && (before.Readings.Accepted > t.Accepted || after.Readings.Accepted < t.Accepted) {
		say("readings", nextBooks, "the books said %d readings were accepted before and %d after, but message %d of the log between says %d",
			before.Readings.Accepted, after.Readings.Accepted, a.result.Log.Last, t.Accepted)
	}
	if n := a.result.Keyspace.Identities; n > after.Readings.Accepted {
		say("readings", "if the log was begun anew, the books began anew with it; else something else wrote the keyspace",
			"%d different readings are stored, but only %d were ever accepted", n, after.Readings.Accepted)
	}
	return found
}
