package mqtt

import (
	"context"
	"time"

	"berth/ingest/commit"
	"berth/ingest/gate/mqtt/packet"
)

const (
	// maxQueue is how many bursts, of a message at least, may wait for their answers before a connection is read no more.
	maxQueue = receiveMaximum
	// maxHeld is how many bytes of bursts may wait for room in the committer's queue before a connection is read no more: a
	// client has room in it for what it sends before it waits for answers, and its pings are read.
	maxHeld = 256 << 10
)

// entry is the answers to what was taken together. They are written when the log has it, and the rejects that have to be
// kept are, and everything before it was answered. It is the waiter of its submission.
type entry struct {
	s       *connection
	ids     []uint16 // messages of QoS 2 that it takes
	answers []byte   // filled while the burst is
	acked   int      // how many messages they answer in full
	changes bool     // the session

	// Guarded by session.mu.
	waits  int  // for how much: that the burst is handed over, the log, each reject
	failed bool // it is not answered

	sub    commit.Submission // while the committer has no room for it
	memory int64             // held for that
}

// open returns the entry of the burst. While many wait for their answers it waits.
func (s *connection) open(b *burst) (*entry, error) {
	if b.entry != nil {
		return b.entry, nil
	}
	s.Mu.Lock()
	defer s.Mu.Unlock()
	for len(s.queue) >= maxQueue && s.Dropped() == nil {
		s.Changed.Wait()
	}
	if why := s.Dropped(); why != nil {
		return nil, why
	}
	b.entry = &entry{s: s, waits: 1}
	s.queue = append(s.queue, b.entry)
	return b.entry, nil
}

// answer adds the answer to a message.
func (e *entry) answer(s *connection, p *packet.Publish, code packet.Code, reason string) {
	t := packet.TypePuback
	switch p.QoS {
	case 0:
		return // [MQTT-3.3.4-1]
	case 2:
		t = packet.TypePubrec
	}
	if p.QoS == 1 || code >= packet.Unspecified {
		e.acked++
	}
	e.answers = s.fitting(e.answers, func(out []byte, reason string) []byte {
		return packet.AppendAck(out, s.version, t, p.ID, code, reason)
	}, reason)
}

// handOver submits what is in the burst, if there is something.
func (s *connection) handOver(b *burst) error {
	e := b.entry
	if e == nil {
		return nil
	}
	var err error
	if b.rows == nil && e.changes && s.keeps() {
		b.rows = commit.TakeRows() // it is for the session alone
	}
	if b.rows != nil {
		e.sub = commit.Submission{Rows: b.rows, Counts: b.counts, Waiter: e, Received: b.begun}
		if e.changes && s.keeps() {
			e.sub.Session = s.state.session(time.Time{}, s.expiry)
		}
		s.Mu.Lock()
		e.waits++
		s.Mu.Unlock()
		err = s.submit(e)
	}
	*b = burst{}
	s.settle(e, nil)
	return err
}

// Committed says that the log has the burst, or why it will not be answered.
func (e *entry) Committed(_ uint64, err error) { e.s.settle(e, err) }

// settle notes that an entry waits for one thing less, or that this failed; then the session ends.
func (s *connection) settle(e *entry, err error) {
	s.Mu.Lock()
	defer s.Mu.Unlock()
	e.waits--
	if err != nil {
		s.fail(e)
		s.Doom(err)
	}
	s.flush()
}

// fail notes that an entry is not answered. What it took may be received again, from now on: a state that is saved must not
// have it. It is called with Mu held.
func (s *connection) fail(e *entry) {
	e.failed = true
	for _, id := range e.ids {
		s.state.forget(id)
	}
	e.ids = nil
}

// flush answers the entries that need not wait, in their order. It is called with Mu held.
func (s *connection) flush() {
	n := 0
	for ; n < len(s.queue) && s.queue[n].waits == 0; n++ {
		e := s.queue[n]
		if e.changes {
			s.state.settle(e.ids)
		}
		if s.mute = s.mute || e.failed; !s.mute {
			s.Out = append(s.Out, e.answers...)
			s.inFlight = max(0, s.inFlight-e.acked)
		}
	}
	if n > 0 {
		s.queue = append(s.queue[:0], s.queue[n:]...)
		clear(s.queue[len(s.queue):cap(s.queue)])
		if len(s.queue) == 0 && cap(s.queue) > 8 {
			s.queue = nil // an idle session owns little
		}
		s.Write()
	}
	s.Changed.Broadcast()
}

// submit hands an entry's rows over. When the committer has no room for them they are held, and handed over by a goroutine,
// so that the connection is read on: pings are answered while acknowledgements wait. When there is no memory for that either
// it waits.
func (s *connection) submit(e *entry) error {
	if ready, err := s.wait(e); !ready || err != nil {
		return err
	}
	done, err := s.In.Committer.TrySubmit(&e.sub)
	if done {
		return s.submitted(e, err)
	}
	e.memory = e.sub.Memory()
	if s.In.TryHold(e.memory) {
		s.hold(e)
		return nil
	}
	return s.submitted(e, s.In.Committer.Submit(s.In.Context(), &e.sub))
}

// wait puts an entry behind those that are held. It returns true when none are, and the entry is not.
func (s *connection) wait(e *entry) (ready bool, err error) {
	memory := e.sub.Memory()
	s.Mu.Lock()
	defer s.Mu.Unlock()
	for s.submitting {
		if s.held+memory <= maxHeld && s.In.TryHold(memory) {
			e.memory = memory
			s.held += memory
			s.waiting = append(s.waiting, e)
			return false, nil
		}
		if why := s.Dropped(); why != nil {
			s.lose(e)
			return false, why
		}
		s.Changed.Wait()
	}
	return true, nil
}

// lose gives up a burst that cannot be handed over. It is called with Mu held.
func (s *connection) lose(e *entry) {
	commit.GiveRows(e.sub.Rows)
	s.In.Committer.Count(commit.Counts{FramesGivenUp: e.sub.Counts.Frames})
	s.fail(e)
	e.waits--
	s.flush()
}

// submitted notes that the committer has an entry's rows, or why it has not.
func (s *connection) submitted(e *entry, err error) error {
	if err != nil {
		commit.GiveRows(e.sub.Rows)
		s.settle(e, err)
	}
	return err
}

// hold holds the first entry that the committer has no room for.
func (s *connection) hold(e *entry) {
	ctx, cancel := context.WithCancel(s.In.Context())
	s.Mu.Lock()
	s.submitting, s.stop = true, cancel
	s.held += e.memory
	s.waiting = append(s.waiting, e)
	s.Mu.Unlock()
	go s.submitAll(ctx, cancel)
}

// submitAll hands over what is held, until there is nothing. After one that cannot be handed over none is: a later burst's
// session has what the earlier one received.
func (s *connection) submitAll(ctx context.Context, cancel context.CancelFunc) {
	defer cancel()
	for lost := false; ; {
		s.Mu.Lock()
		if len(s.waiting) == 0 {
			s.submitting, s.waiting, s.stop = false, nil, nil
			s.Changed.Broadcast()
			s.Mu.Unlock()
			return
		}
		e := s.waiting[0]
		s.waiting = s.waiting[1:]
		s.Mu.Unlock()
		memory := e.memory
		if lost {
			s.Mu.Lock()
			s.lose(e)
			s.Mu.Unlock()
		} else {
			lost = s.submitted(e, s.In.Committer.Submit(ctx, &e.sub)) != nil // the entry has the error
		}
		s.In.Release(memory)
		s.Mu.Lock()
		s.held -= memory
		s.Changed.Broadcast()
		s.Mu.Unlock()
	}
}
