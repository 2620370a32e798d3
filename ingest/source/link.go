package source

import (
	"context"
	"sync"
	"time"

	"berth/ingest/commit"
	"berth/ingest/gate/intake"
	"berth/ingest/limit"
	"berth/ingest/source/broker"
	"berth/internal/headapi"
)

const (
	// maxInHand is how many messages of a connection may be unacknowledged before nothing more is read, and maxBytes how many
	// bytes of payloads they may have; one more is read in either case. MQTT 3.1.1 cannot tell a broker so.
	maxInHand = 4096
	maxBytes  = 8 << 20
)

// link is a connection to a broker with what it has in hand. One goroutine takes messages; those of the committer and of the
// rejects settle them; one more acknowledges them, in their order.
type link struct {
	s      *source
	ctx    context.Context // ends when nothing more can be taken over it
	cancel context.CancelFunc
	keys   *intake.Keys
	sender *limit.Sender
	mark   limit.Mark
	failed chan struct{} // closed when it cannot go on
	acking sync.WaitGroup

	mu      sync.Mutex // guards what follows
	changed sync.Cond  // signaled when any of it changes
	queue   []*entry   // what was taken and is not acknowledged, oldest first
	bytes   int        // of payloads in it
	ended   bool       // nothing more is acknowledged
	stops   bool       // nothing more is taken
	err     error      // why it failed
}

// entry is a message until it is acknowledged.
type entry struct {
	l       *link
	message *broker.Message
	size    int
	waits   int  // for how much: that it was handed over, the log, the keeping of a reject. Guarded by link.mu.
	refused bool // nothing of it was taken
}

func (s *source) newLink(ctx context.Context) (*link, error) {
	sender, err := s.o.Intake.Limiter.Enter("") // who passes on for many has the provider's limits alone
	if err != nil {
		return nil, err
	}
	l := &link{s: s, sender: sender, mark: sender.Mark(), failed: make(chan struct{})}
	l.ctx, l.cancel = context.WithCancel(context.WithoutCancel(ctx))
	l.changed.L = &l.mu
	return l, nil
}

// begin lets messages be acknowledged, and ends the link with its connection.
func (l *link) begin(conn *broker.Conn) {
	l.acking.Go(l.acknowledge)
	l.acking.Go(func() {
		select {
		case <-conn.Done():
		case <-l.ctx.Done():
		}
		l.end()
	})
}

// end lets go who waits.
func (l *link) end() {
	l.cancel()
	l.mu.Lock()
	l.ended = true
	l.changed.Broadcast()
	l.mu.Unlock()
}

// close ends the link. What is in hand may get into the log still, and comes again.
func (l *link) close() {
	l.end()
	l.acking.Wait()
	l.sender.Leave()
}

// fail notes that something in hand will not be acknowledged: only another connection has the broker send it again.
func (l *link) fail(err error) {
	l.cancel()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = err
		close(l.failed)
	}
	l.ended = true
	l.changed.Broadcast()
}

// why returns why the link failed.
func (l *link) why() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

func (l *link) inHand() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.queue)
}

// open puts a message into the queue, when there is room; nil: the link has ended.
func (l *link) open(m *broker.Message) *entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	for !l.ended && !l.stops && (len(l.queue) >= maxInHand || l.bytes >= maxBytes) {
		l.changed.Wait()
	}
	if l.ended || l.stops {
		return nil
	}
	e := &entry{l: l, message: m, size: len(m.Payload), waits: 1}
	l.queue = append(l.queue, e)
	l.bytes += e.size
	return e
}

// waitFor has an entry wait for one thing more.
func (e *entry) waitFor() {
	e.l.mu.Lock()
	e.waits++
	e.l.mu.Unlock()
}

// Committed says that the log has the message, or why it will not be acknowledged. It is the Waiter of its submission.
func (e *entry) Committed(_ uint64, err error) { e.settle(err) }

var _ commit.Waiter = (*entry)(nil)

// settle notes that an entry waits for one thing less, or that this failed.
func (e *entry) settle(err error) {
	if err != nil {
		e.l.fail(err)
		return
	}
	e.l.mu.Lock()
	e.waits--
	e.l.changed.Broadcast()
	e.l.mu.Unlock()
}

// acknowledge acknowledges what need not wait, in the order in which it came [MQTT-4.6.0-2].
func (l *link) acknowledge() {
	for {
		l.mu.Lock()
		for !l.ended && (len(l.queue) == 0 || l.queue[0].waits > 0) {
			l.changed.Wait()
		}
		if l.ended {
			l.mu.Unlock()
			return
		}
		e := l.queue[0]
		l.mu.Unlock()
		e.message.Ack() // it may wait for the network
		l.mu.Lock()
		l.queue[0] = nil
		l.queue = l.queue[1:]
		l.bytes -= e.size
		l.changed.Broadcast()
		l.mu.Unlock()
		if !e.refused {
			l.s.count(func(status *headapi.Source) { status.Taken++ })
		}
	}
}

// drain takes nothing more, and waits until what is in hand is acknowledged, or its time is over.
func (l *link) drain() {
	over := false
	timer := time.AfterFunc(drainLimit, func() {
		l.mu.Lock()
		over = true
		l.changed.Broadcast()
		l.mu.Unlock()
	})
	defer timer.Stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stops = true
	l.changed.Broadcast()
	for !over && !l.ended && len(l.queue) > 0 {
		l.changed.Wait()
	}
}
