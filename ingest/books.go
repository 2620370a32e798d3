package ingest

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"berth/ingest/gate/intake"
	"berth/internal/api"
	"berth/internal/headapi"
	"berth/internal/version"
	"berth/schema"
	"berth/schema/record"
)

// answer answers the questions of headapi.
func (i *Ingest) answer() error {
	answers := i.head.Answers()
	answers[headapi.Books] = i.answerBooks
	answers[headapi.Records] = i.answerRecords
	for subject, fn := range answers {
		stop, err := i.conn.Answer(subject, fn)
		if err != nil {
			return err
		}
		i.push(subject, otherStop, func(context.Context) error { stop(); return nil })
	}
	return nil
}

// recordsWait bounds a question about records whose asker is gone.
const recordsWait = 10 * time.Second

// answerRecords answers when the records that it asks for have been taken.
func (i *Ingest) answerRecords(ctx context.Context, request []byte, _ func([]byte) error) error {
	var q headapi.RecordsRequest
	if err := json.Unmarshal(request, &q); err != nil {
		return schema.Errorf(schema.Invalid, "the question cannot be read").WithCause(err)
	}
	ctx, cancel := context.WithTimeout(ctx, recordsWait)
	defer cancel()
	if err := i.settings.await(ctx, q.Revision); schema.Is(err, schema.Conflict) {
		return err
	} else if err != nil {
		return schema.Errorf(schema.Unavailable, "the records of revision %d have not come yet", q.Revision).WithCause(err)
	}
	return nil
}

// answerBooks answers with the running totals.
func (i *Ingest) answerBooks(ctx context.Context, _ []byte, reply func([]byte) error) error {
	data, err := json.Marshal(i.books(ctx))
	if err != nil {
		return fmt.Errorf("write books: %w", err)
	}
	return reply(data)
}

// books returns the running totals, and what the log and the head hold. When NATS does not say what the log holds, it is
// what it said before.
func (i *Ingest) books(ctx context.Context) *api.Books {
	b := &api.Books{At: i.o.Now()}
	totals, inHand := i.committer.Totals()
	b.Frames.Received, b.Frames.Committed = totals.FramesReceived, totals.FramesCommitted
	b.Frames.Rejected, b.Frames.GivenUp, b.Frames.InHand = totals.FramesRejected, totals.FramesGivenUp, inHand
	b.Readings.Accepted, b.Readings.Rejected, b.Readings.Timeless = totals.Accepted, totals.Rejected, totals.Timeless
	b.Strangers, b.Reasons = totals.Strangers, totals.Reasons
	b.NotKept, b.SetAside, b.Aside = b.Reasons[intake.ReasonNotKept], b.Reasons[reasonAside], i.aside.entries()
	delete(b.Reasons, intake.ReasonNotKept)
	delete(b.Reasons, reasonAside)

	state, err := i.journal.State(ctx)
	i.mu.Lock()
	if err == nil {
		i.logState = state
	}
	state = i.logState
	i.mu.Unlock()
	f := i.head.Figures()
	b.Log.Messages, b.Log.Bytes, b.Log.Quota = state.Messages, state.Bytes, state.Quota
	b.Log.Written = totals.Bytes
	b.Log.First, b.Log.Last, b.Log.Followed = state.First, max(state.Last, f.Committed), f.Followed
	b.Head.Readings, b.Head.Parts, b.Head.Bytes = f.Readings, f.Parts, f.Bytes
	b.Limits = i.limitUse(ctx, state.Bytes)
	b.State = headapi.StateReady
	if now := i.observe(); len(now) > 0 {
		b.State, b.Detail, b.Since = now[0].State, now[0].Detail, &now[0].From
	}
	b.Episodes = episodesOf(i.episodes.All())
	return b
}

// announce keeps the instance in the registry.
func (i *Ingest) announce(ctx context.Context) {
	i.background(ctx, "registry", 3*time.Second, func(ctx context.Context) {
		_ = i.conn.Announce(ctx, i.service, announceEvery) // it ends with the context
	})
}

// service describes the instance for the registry.
func (i *Ingest) service() record.Service {
	s := record.Service{
		Version: record.Version, Provider: i.o.Provider, Role: record.RoleIngest, Instance: i.o.Instance,
		Address: i.Addr().String(), Program: version.Version, Spec: i.o.Spec, Started: i.started,
		State: headapi.StateReady, PID: os.Getpid(), Episodes: i.observe(),
	}
	if len(s.Episodes) > 0 {
		s.State, s.Detail, s.Since = s.Episodes[0].State, s.Episodes[0].Detail, s.Episodes[0].From
	}
	return s
}
