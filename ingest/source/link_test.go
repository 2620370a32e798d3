package source

import (
	"testing"

	"berth/ingest/source/broker"
	"berth/schema/record"
)

// newLink returns a link without a connection: what it may acknowledge is told by its queue alone.
func (f *fixture) newLink(t *testing.T) *link {
	t.Helper()
	l, err := newSource(&f.o, &record.Source{Name: "plant", Topics: []record.TopicRule{{Pattern: "plant/{gateway}/{sensor}"}}}).newLink(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.close)
	return l
}

// due returns how many messages can be acknowledged.
func (l *link) due() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for n < len(l.queue) && l.queue[n].waits == 0 && !l.ended {
		n++
	}
	return n
}

// hasFailed reports whether the link cannot go on, and its connection is to be made anew.
func (l *link) hasFailed() bool {
	select {
	case <-l.failed:
		return l.why() != nil
	default:
		return false
	}
}

// TestWhatTheLogDoesNotTakeIsNotAcknowledged: neither what was in hand when it was lost, nor what comes after that. The broker
// sends it again over another connection.
func TestWhatTheLogDoesNotTakeIsNotAcknowledged(t *testing.T) {
	f := start(t)
	l, next := f.newLink(t), f.newLink(t)
	f.log.Hold(true)
	l.take(nil, &broker.Message{Topic: "plant/g/a", Payload: []byte("1")})
	if l.inHand() != 1 || l.due() != 0 || l.hasFailed() {
		t.Errorf("%d in hand, %d to be acknowledged, failed: %v", l.inHand(), l.due(), l.why())
	}
	f.log.TakeOver()
	eventually(t, "the link has failed", l.hasFailed)
	next.take(nil, &broker.Message{Topic: "plant/g/a", Payload: []byte("2")})
	for _, l := range []*link{l, next} {
		if l.inHand() != 1 || l.due() != 0 || !l.hasFailed() {
			t.Errorf("%d in hand, %d to be acknowledged, failed: %v", l.inHand(), l.due(), l.why())
		}
	}
}

// TestARejectIsKeptBeforeItIsAcknowledged, also when the rest of its message is in the log.
func TestARejectIsKeptBeforeItIsAcknowledged(t *testing.T) {
	f := start(t)
	l := f.newLink(t)
	f.mu.Lock() // nothing is kept meanwhile
	l.take(nil, &broker.Message{Topic: "nobody/g/a", Payload: []byte("1")})
	if l.inHand() != 1 || l.due() != 0 {
		t.Errorf("%d in hand, %d to be acknowledged", l.inHand(), l.due())
	}
	f.mu.Unlock()
	eventually(t, "it can be acknowledged", func() bool { return l.due() == 1 })
	if n := len(f.kept()); n != 1 {
		t.Errorf("%d are kept", n)
	}
}
