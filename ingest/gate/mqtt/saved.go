package mqtt

import (
	"context"
	"maps"
	"slices"
	"time"

	"berth/schema"
	"berth/schema/batch"
)

// What of a session is to be there after a restart is in the log (schema/batch, ingest/commit). What changes it is answered
// when the log has the change:
//
//	PUBLISH of QoS 2   the reading and its identifier are in one message of the log: PUBREC
//	PUBREL             the identifier is free: PUBCOMP; else what the client sends under it next would be taken for the old
//	SUBSCRIBE, ...     SUBACK, UNSUBACK
//	CONNECT            that ends an older session: CONNACK; one that only begins is no loss
//
// When a connection ends is noted too, for from then on the session's time runs; where that is not noted it runs from the
// restart on.

// keeps reports whether the session is to be there after the connection.
func (s *connection) keeps() bool { return s.expiry > 0 }

// changes notes that a burst changes the session: who takes over waits for it, and if the session is kept so do its answers,
// until the log knows the change.
func (s *connection) changes(e *entry) {
	if !e.changes {
		e.changes = true
		s.state.pend()
	}
}

// session returns the session as it is to be known from now on.
func (st *state) session(left time.Time, expiry time.Duration) *batch.Session {
	st.mu.Lock()
	defer st.mu.Unlock()
	b := &batch.Session{Key: st.key, Expiry: uint32(expiry / time.Second)}
	if !left.IsZero() {
		b.Left = left.UnixNano()
	}
	if st.saved = b.Expiry > 0; !st.saved {
		return b
	}
	b.Received = slices.Sorted(maps.Keys(st.received))
	for _, name := range slices.Sorted(maps.Keys(st.subscriptions)) {
		b.Filters = append(b.Filters, batch.Filter{Name: name, QoS: st.subscriptions[name]})
	}
	return b
}

// restored returns the state of a session that the log knows.
func restored(b *batch.Session) *state {
	st := &state{key: b.Key, saved: true}
	st.expiry = min(seconds(b.Expiry), maxExpiry)
	st.expires = time.Unix(0, b.Left).Add(st.expiry)
	if len(b.Received) > 0 {
		st.received = make(map[uint16]bool, len(b.Received))
		for _, id := range b.Received {
			st.received[id] = true
		}
	}
	for _, f := range b.Filters {
		st.subscribe(f.Name, f.QoS)
	}
	return st
}

func (st *state) isSaved() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.saved
}

// replace has the log forget an older session of the client: old, one that only the log knows, or the one that goes on and is
// not to be kept any more. Else that would be there again after a restart, and what the client sends in its new session would
// be taken for what the old one received.
func (s *connection) replace(old *state) error {
	if old != nil && !old.await(takeOverWait) {
		return errBehind
	}
	if (old == nil || !old.isSaved()) && !s.state.isSaved() && !s.In.Committer.KnowsSession(s.state.key) {
		return nil
	}
	ctx, cancel := context.WithTimeout(s.In.Context(), takeOverWait)
	defer cancel()
	return s.In.Committer.PutSession(ctx, s.state.session(time.Time{}, s.expiry))
}

// errBehind refuses a client whose earlier messages are on their way to the log.
var errBehind = schema.Errorf(schema.Unavailable, "the log cannot keep up").WithNext("connect again in a few seconds")

// saveLeft has the log know that the connection s has ended, unless the client has another, in which case that tells it.
func (t *sessions) saveLeft(s *connection) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now := t.all[s.state.key]; s.left && s.state.isSaved() && (now == nil || now == s.state && now.current == nil) {
		s.In.Committer.TryPutSession(s.state.session(time.Now(), s.state.expiry))
	}
}
