package ingest

import (
	"context"
	"time"

	"berth/internal/bus"
	"berth/internal/headapi"
	"berth/internal/metrics"
	"berth/schema/record"
)

// watched answers the question for this instance's metrics.
func (i *Ingest) watched() error {
	i.metrics.Look(i.measure)
	stop, err := i.conn.Answer(metrics.Subject(record.RoleIngest, i.o.Instance), i.metrics.Answer)
	if err != nil {
		return err
	}
	i.push("metrics", otherStop, func(context.Context) error { stop(); return nil })
	return nil
}

// lookLimit bounds each question that a look puts to NATS or the keyspace: what does not answer is left out.
const lookLimit = 500 * time.Millisecond

// measure looks up what is counted by others.
func (i *Ingest) measure(ctx context.Context, s *metrics.Sink) {
	ctx, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	b := i.books(ctx)
	s.Put(metrics.LogMessages, float64(b.Log.Messages))
	s.Put(metrics.LogBytes, float64(b.Log.Bytes))
	s.Put(metrics.LogQuota, float64(b.Log.Quota))
	s.Put(metrics.LogWritten, float64(b.Log.Written))
	if oldest, err := i.journal.Oldest(ctx); err == nil {
		age := time.Duration(0)
		if !oldest.IsZero() {
			age = max(time.Since(oldest), 0)
		}
		s.Put(metrics.LogAge, age.Seconds())
	}
	s.Put(metrics.HeadReadings, float64(b.Head.Readings))
	s.Put(metrics.HeadParts, float64(b.Head.Parts))
	s.Put(metrics.HeadBytes, float64(b.Head.Bytes))
	s.Put(metrics.HeadLag, float64(b.Log.Last-min(b.Log.Followed, b.Log.Last)))
	s.Put(metrics.Connections, float64(i.gate.Connections()))
	s.Put(metrics.FramesReceived, float64(b.Frames.Received))
	s.Put(metrics.FramesEnded, float64(b.Frames.Committed), "committed")
	s.Put(metrics.FramesEnded, float64(b.Frames.Rejected), "rejected")
	s.Put(metrics.FramesEnded, float64(b.Frames.GivenUp), "given_up")
	s.Put(metrics.FramesInHand, float64(b.Frames.InHand))
	s.Put(metrics.Readings, float64(b.Readings.Accepted), "accepted")
	s.Put(metrics.Readings, float64(b.Readings.Rejected), "rejected")
	s.Put(metrics.ReadingsTimeless, float64(b.Readings.Timeless))
	s.Put(metrics.Strangers, float64(b.Strangers))
	for reason, n := range b.Reasons {
		s.Put(metrics.Rejected, float64(n), reason)
	}
	for _, l := range b.Limits {
		s.Put(metrics.Limit, float64(l.Limit), l.Name)
		s.Put(metrics.LimitUsed, float64(l.Used), l.Name)
	}
	s.Put(metrics.RejectsNotKept, float64(b.NotKept))
	s.Put(metrics.SetAside, float64(b.SetAside))
	for _, each := range i.sources.Load().Status() {
		connected := 0.0
		if each.State == headapi.SourceConnected || each.State == headapi.SourceRefused {
			connected = 1
		}
		s.Put(metrics.SourceConnected, connected, each.Name)
		s.Put(metrics.SourceMessages, float64(each.Taken), each.Name, "taken")
		s.Put(metrics.SourceMessages, float64(each.Refused), each.Name, "refused")
		s.Put(metrics.SourceMessages, float64(each.Retained), each.Name, "retained")
		s.Put(metrics.SourceInHand, float64(each.InHand), each.Name)
	}
	states := []string{b.State}
	for _, e := range i.episodes.Lasting() {
		states = append(states, e.State)
	}
	s.PutStates(metrics.IngestState, states, headapi.States()...)
	if state, err := i.conn.ShelfState(ctx, bus.Rejects); err == nil {
		s.Put(metrics.RejectsKept, float64(state.Entries))
		s.Put(metrics.RejectsBytes, float64(state.Bytes))
		s.Put(metrics.RejectsQuota, float64(state.Quota))
	}
	if state, err := i.conn.ShelfState(ctx, bus.Aside); err == nil {
		s.Put(metrics.AsideKept, float64(state.Entries))
		s.Put(metrics.AsideBytes, float64(state.Bytes))
		s.Put(metrics.AsideQuota, float64(state.Quota))
	}
	if stats, err := i.keyspace.Stats(ctx); err == nil {
		s.Put(metrics.KeyspaceBytes, float64(stats.Bytes))
		s.Put(metrics.Gateways, float64(stats.Gateways))
	}
}
