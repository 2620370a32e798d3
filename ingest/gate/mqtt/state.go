package mqtt

import (
	"cmp"
	"container/list"
	"slices"
	"sync"
	"time"

	"berth/ingest/commit"
	"berth/schema/batch"
)

const (
	// maxExpiry is how long a session is kept after its connection; MQTT 5 is told when that is less than it asked for.
	maxExpiry = 24 * time.Hour
	// maxLeft is how many sessions without a connection are kept; beyond that the one that was left first is forgotten.
	maxLeft = 20_000
	// maxUnreleased is how many messages of QoS 2 a client of 3.1.1 may have received and not released.
	maxUnreleased = batch.MaxReceived
	// maxSubscriptions is how many topic filters a session may have.
	maxSubscriptions = batch.MaxFilters
	// takeOverWait is how long a new connection waits for the one before it to end.
	takeOverWait = 5 * time.Second
)

// state is what is known of a client beyond its connection: its Session State [MQTT-4.1.0-1].
type state struct {
	key string // of sessions

	// Guarded by sessions.mu.
	current *connection   // whose connection it is; nil: it has none
	left    *list.Element // in sessions.left, while it has none
	expires time.Time     // when it has none
	expiry  time.Duration // for how long it is kept after a connection; of the last that was accepted
	will    *time.Timer   // publishes the will of the connection before
	tell    func()        // does that

	mu            sync.Mutex      // guards what follows
	received      map[uint16]bool // messages of QoS 2 that are not released; whether they are in the log
	pending       int             // bursts that change it and are not in the log yet
	settled       chan struct{}   // closed when pending is 0 again; nil while it is
	subscriptions map[string]byte // the QoS granted, by filter
	saved         bool            // the log knows it, or is about to
}

// receive notes a message of QoS 2, and reports whether it had been received before [MQTT-4.3.3-2]; full: there are more
// than may be.
func (st *state) receive(id uint16) (again, full bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if _, again = st.received[id]; again {
		return true, false
	}
	if len(st.received) >= maxUnreleased {
		return false, true
	}
	if st.received == nil {
		st.received = make(map[uint16]bool)
	}
	st.received[id] = false
	return false, false
}

// pend notes a burst that changes the state.
func (st *state) pend() {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.pending++; st.pending == 1 {
		st.settled = make(chan struct{})
	}
}

// settle ends what pend began. These messages of the burst are in the log.
func (st *state) settle(ids []uint16) {
	st.mu.Lock()
	defer st.mu.Unlock()
	for _, id := range ids {
		st.received[id] = true
	}
	if st.pending--; st.pending == 0 {
		close(st.settled)
		st.settled = nil
	}
}

// forget forgets a message that was not received: it was refused, or is not in the log.
func (st *state) forget(id uint16) {
	st.mu.Lock()
	defer st.mu.Unlock()
	delete(st.received, id)
}

// release ends the exchange of a message [MQTT-4.3.3-2]. early: its PUBREC cannot have been sent yet.
func (st *state) release(id uint16) (known, early bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	inLog, known := st.received[id]
	if known && inLog {
		delete(st.received, id)
	}
	return known, known && !inLog
}

// await waits until the log has what an earlier connection received, and reports whether it has.
func (st *state) await(d time.Duration) bool {
	st.mu.Lock()
	settled := st.settled
	st.mu.Unlock()
	if settled == nil {
		return true
	}
	return wait(settled, d)
}

// wait waits for done, but not longer than d.
func wait(done <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}

// sessions are the states of the clients.
type sessions struct {
	mu      sync.Mutex // guards what follows, and of each state what it says
	all     map[string]*state
	left    list.List // of *state, those without a connection, in the order in which they were left
	stopped bool
	telling sync.WaitGroup // wills that are being published
}

// begin carries on what the log knows.
func (t *sessions) begin(known []commit.Kept) {
	t.all = make(map[string]*state)
	slices.SortStableFunc(known, func(a, b commit.Kept) int { return cmp.Compare(a.Left, b.Left) })
	for i := range known {
		st := restored(&known[i].Session)
		t.all[st.key] = st
		st.left = t.left.PushBack(st)
	}
}

// enter makes s the connection of the client with this key, and returns its state. One that has a connection already loses
// it [MQTT-3.1.4-2] [MQTT5-3.1.4-3]. present says that the state was there before; it is not when clean is set [MQTT-3.1.2-6].
// Then old is the one that it replaces, nil if there is none.
func (t *sessions) enter(s *connection, key string, clean bool) (st, old *state, present bool) {
	t.mu.Lock()
	st = t.all[key]
	if st != nil && st.current == nil && !time.Now().Before(st.expires) {
		clean = true // it has ended
	}
	var before *connection
	var tell func()
	if st != nil {
		before = st.current
		tell = st.stopWill() // a new connection comes before it is due [MQTT5-3.1.3-9]
	}
	if present = st != nil && !clean; !present {
		if old = st; old != nil {
			t.forget(old)
			t.publish(tell) // but the session ends [MQTT5-3.1.2-8]
		}
		st = &state{key: key}
		t.all[key] = st
	}
	if st.left != nil {
		t.left.Remove(st.left)
		st.left = nil
	}
	st.current = s
	t.mu.Unlock()
	if before != nil {
		before.Drop(errTakenOver)
		wait(before.gone, takeOverWait) // what it has in hand is settled beside it
	}
	return st, old, present
}

// stopWill sees to it that the will of the connection before is not published when it is due, and returns what publishes
// it; nil: there is none, or it was published. sessions.mu is held.
func (st *state) stopWill() (tell func()) {
	if st.will != nil {
		st.will.Stop()
		tell = st.tell
	}
	st.will, st.tell = nil, nil
	return tell
}

// publish publishes a will, nil: there is none. mu is held.
func (t *sessions) publish(tell func()) {
	if tell != nil && !t.stopped {
		t.telling.Go(tell)
	}
}

// accept has a connection that is accepted decide for how long its state is kept.
func (t *sessions) accept(s *connection) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s.accepted = true
	s.state.expiry = s.expiry
}

// forget forgets a state. mu is held.
func (t *sessions) forget(st *state) {
	if st.left != nil {
		t.left.Remove(st.left)
		st.left = nil
	}
	if t.all[st.key] == st {
		delete(t.all, st.key)
	}
}

// leave ends the connection s of its state, which is kept for as long as the client wishes [MQTT-3.1.2-4] [MQTT5-3.1.2-23].
// A connection that was refused leaves it as it was. It does nothing when another connection has the state.
func (t *sessions) leave(s *connection) {
	t.mu.Lock()
	defer t.mu.Unlock()
	st := s.state
	if s.ended = t.all[st.key] != st; s.ended || st.current != s {
		return
	}
	s.left, st.current = true, nil
	if s.accepted {
		st.expiry = s.expiry
	}
	if s.ended = st.expiry <= 0; s.ended {
		t.forget(st)
		return
	}
	st.expires = time.Now().Add(st.expiry)
	st.left = t.left.PushBack(st)
	for t.left.Len() > maxLeft {
		if oldest, ok := t.left.Front().Value.(*state); ok {
			t.forget(oldest)
			t.publish(oldest.stopWill()) // with the session its delay ends
			if oldest.isSaved() {
				s.In.Committer.TryPutSession(&batch.Session{Key: oldest.key})
			}
		}
	}
}

// later publishes a will after a delay, unless the client comes back before.
func (t *sessions) later(st *state, delay time.Duration, publish func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stopped || st.current != nil {
		return
	}
	if t.all[st.key] != st { // it has ended meanwhile
		t.publish(publish)
		return
	}
	st.tell = publish
	st.will = time.AfterFunc(delay, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if st.current == nil {
			t.publish(st.stopWill())
		}
	})
}

// stop forgets the wills that are not due, and waits for those that are.
func (t *sessions) stop() {
	t.mu.Lock()
	t.stopped = true
	for _, st := range t.all {
		st.stopWill()
	}
	t.mu.Unlock()
	t.telling.Wait()
}
