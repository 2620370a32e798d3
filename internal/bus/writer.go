package bus

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"berth/schema"
)

const (
	// Window is how many batches are in flight at once.
	Window = 4
	// backlog is how many confirmations may wait for Next before Append blocks.
	backlog = 64

	answerLeast = 5 * time.Second  // how long an answer is waited for at first
	answerMost  = 10 * time.Second // and at most, when none comes
	idleCheck   = 5 * time.Second  // how long a Writer is idle before it looks whether the log is still its own
)

// Confirmed is a batch that is in the log, on disk.
type Confirmed struct {
	Sequence uint64
}

// Writer appends to a log that it has claimed. Append is for one goroutine, Next for one, the same or another.
type Writer struct {
	log    *Log
	inbox  string // answers come below it: <inbox>.<sending>.<number>
	sub    *nats.Subscription
	ctx    context.Context
	cancel context.CancelFunc
	remove func() // the hook for the connection's state
	wg     sync.WaitGroup

	mu        sync.Mutex // guards what follows
	chain     *chain
	confirmed []Confirmed   // not yet returned by Next
	changed   chan struct{} // closed and replaced when anything changed
	timer     *time.Timer
	silent    int   // sendings in a row without an answer
	inquiry   bool  // the log's last message is being asked for
	fullTold  bool  // Next has said that the log is full
	trouble   error // the doubt that was logged, if no confirmation came since
	closed    bool
}

func newWriter(l *Log, claim string, sequence uint64) (*Writer, error) {
	w := &Writer{log: l, inbox: l.conn.nc.NewInbox(), chain: newChain(claim, sequence), changed: make(chan struct{})}
	w.chain.serial = l.clustered.Load()
	w.ctx, w.cancel = context.WithCancel(context.Background())
	sub, err := l.conn.nc.Subscribe(w.inbox+".>", w.answer)
	if err != nil {
		w.cancel()
		return nil, failed("hear the log's answers", err)
	}
	w.sub = sub
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer = time.AfterFunc(idleCheck, w.tick)
	w.remove = l.conn.watchState(w.connection)
	return w, nil
}

// Append hands one batch over, in order; it must not be changed until Next has confirmed it. It blocks while Window
// batches are in flight. What becomes of the batch Next says. Errors: ErrTakenOver, ErrClosed, TooLarge.
func (w *Writer) Append(data []byte) error {
	if len(data) > MaxBatch {
		return schema.Errorf(schema.TooLarge, "a batch of %d bytes is longer than %d", len(data), MaxBatch)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		switch {
		case w.chain.phase == over:
			return ErrTakenOver
		case w.closed:
			return ErrClosed
		}
		if len(w.chain.slots) < Window && len(w.confirmed) < backlog {
			break
		}
		w.waitLocked(context.Background())
	}
	idle := len(w.chain.slots) == 0
	w.chain.add(data)
	if idle && w.chain.phase == flowing {
		w.timer.Reset(answerLeast)
	}
	w.pump()
	return nil
}

// Next returns the next confirmation, in the order of Append; it waits for it. ErrLogFull says, once, that the oldest
// batch was refused for the quota and is not stored, nor is any after it: they are kept, and Retry sends them again.
// After ErrTakenOver, which is final, and ErrClosed, whether a batch that was not confirmed is stored is unknown.
func (w *Writer) Next(ctx context.Context) (Confirmed, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		switch {
		case len(w.confirmed) > 0:
			c := w.confirmed[0]
			w.confirmed = w.confirmed[1:]
			w.notify()
			return c, nil
		case w.chain.phase == over:
			return Confirmed{}, ErrTakenOver
		case w.closed:
			return Confirmed{}, ErrClosed
		case w.chain.phase == full && !w.fullTold:
			w.fullTold = true
			return Confirmed{}, ErrLogFull
		case ctx.Err() != nil:
			return Confirmed{}, ctx.Err()
		}
		w.waitLocked(ctx)
	}
}

// Retry sends what was refused for the quota again, in order. It does nothing unless the log was full.
func (w *Writer) Retry() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.chain.phase != full || w.closed {
		return
	}
	w.chain.resume()
	w.chain.ask() // it also says how much room there is
	w.advance(nil)
}

// Trouble returns why what became of the oldest batch is not known and it is sent again; nil while batches are confirmed.
func (w *Writer) Trouble() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.trouble
}

// Close ends the Writer; it waits for nothing in flight. It may be called twice.
func (w *Writer) Close() {
	w.mu.Lock()
	if !w.closed {
		w.closed = true
		w.timer.Stop()
		w.remove()
		w.cancel()
		_ = w.sub.Unsubscribe() // without a server there is nothing to end
		w.notify()
	}
	w.mu.Unlock()
	w.wg.Wait()
}

// waitLocked waits until something has changed, or ctx ends. The mutex is held, and released meanwhile.
func (w *Writer) waitLocked(ctx context.Context) {
	changed := w.changed
	w.mu.Unlock()
	select {
	case <-changed:
	case <-ctx.Done():
	}
	w.mu.Lock()
}

func (w *Writer) notify() {
	close(w.changed)
	w.changed = make(chan struct{})
}

// pump sends what can be sent. A batch that may not fit waits until it is the oldest; then the log is looked at.
func (w *Writer) pump() {
	underWay := 0
	for _, s := range w.chain.slots[:w.chain.sent] {
		underWay += len(s.data) + messageOverhead
	}
	for {
		s, id, expected := w.chain.unsent()
		if s == nil {
			return
		}
		if !w.log.room(underWay, len(s.data)) {
			if w.chain.sent == 0 {
				w.chain.ask()
				w.advance(nil)
			}
			return
		}
		if err := w.log.conn.nc.PublishMsg(&nats.Msg{
			Subject: logSubject,
			Reply:   fmt.Sprintf("%s.%d.%d", w.inbox, w.chain.sending, s.number),
			Header:  w.expecting(id, expected),
			Data:    s.data,
		}); err != nil {
			w.doubt(err)
			return
		}
		w.chain.markSent()
		underWay += len(s.data) + messageOverhead
	}
}

// expecting returns the header of a batch: its id, and what it must follow.
func (w *Writer) expecting(id, previous string) nats.Header {
	if w.chain.serial {
		return nats.Header{nats.MsgIdHdr: {id}, nats.ExpectedLastSeqHdr: {strconv.FormatUint(w.chain.last.sequence, 10)}}
	}
	return nats.Header{nats.MsgIdHdr: {id}, nats.ExpectedLastMsgIdHdr: {previous}}
}

// answer takes an answer to a batch.
func (w *Writer) answer(msg *nats.Msg) {
	sending, number, ok := w.parseReply(msg.Subject)
	if !ok {
		return
	}
	var ack struct {
		Error    *jetstream.APIError `json:"error"`
		Sequence uint64              `json:"seq"`
	}
	v := stored
	err := json.Unmarshal(msg.Data, &ack)
	switch {
	case err != nil: // no responders, while the stream is not there yet
		v, err = failure, nats.ErrNoResponders
	case ack.Error != nil:
		v, err = verdictOf(ack.Error.ErrorCode), ack.Error
	case ack.Sequence == 0:
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || w.chain.phase == over {
		return
	}
	if v == failure && sending == w.chain.sending {
		w.sayDoubt(err)
	}
	w.advance(w.chain.answered(sending, number, v, ack.Sequence))
}

func (w *Writer) parseReply(subject string) (sending, number uint64, ok bool) {
	rest, ok := strings.CutPrefix(subject, w.inbox+".")
	if !ok {
		return 0, 0, false
	}
	a, b, ok := strings.Cut(rest, ".")
	sending, errA := strconv.ParseUint(a, 10, 64)
	number, errB := strconv.ParseUint(b, 10, 64)
	return sending, number, ok && errA == nil && errB == nil
}

// advance does what the chain's phase asks for, after something was learned.
func (w *Writer) advance(confirmed []Confirmed) {
	w.log.bytes.Add(int64(w.chain.gained))
	w.chain.gained = 0
	if len(confirmed) > 0 {
		w.silent = 0
		w.confirmed = append(w.confirmed, confirmed...)
		if w.trouble != nil {
			w.log.conn.log.Info("the log takes batches again")
			w.trouble = nil
		}
	}
	if w.chain.phase != full {
		w.fullTold = false
	}
	switch w.chain.phase {
	case flowing:
		switch {
		case len(w.chain.slots) == 0:
			w.timer.Reset(idleCheck)
		case len(confirmed) > 0 || w.chain.sent == 0:
			w.timer.Reset(min(answerLeast<<min(w.silent, 8), answerMost))
		}
		w.pump()
	case pausing:
		w.silent++
		w.timer.Reset(reconnectDelay(w.silent))
	case asking:
		w.inquire()
	case full:
		w.timer.Stop()
	case over:
		w.timer.Stop()
		w.log.conn.log.Warn("the log was taken over", "claim", w.chain.claim)
	}
	w.notify()
}

// doubt sends all again after a pause.
func (w *Writer) doubt(err error) {
	w.sayDoubt(err)
	w.chain.doubt()
	w.advance(nil)
}

func (w *Writer) sayDoubt(err error) {
	if w.trouble == nil {
		w.log.conn.log.Warn("what became of a batch is unknown; it is sent again", "error", err)
		w.trouble = failed("write to the log", err)
	}
}

// tick is called by the timer: nothing happened for as long as the phase allows.
func (w *Writer) tick() {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.closed:
	case w.chain.phase == pausing:
		w.chain.resume()
		w.advance(nil)
	case w.chain.phase == flowing && len(w.chain.slots) == 0:
		w.chain.ask()
		w.advance(nil)
	case w.chain.phase == flowing:
		w.doubt(nats.ErrTimeout)
	}
}

// connection is told when the server goes away and comes back.
func (w *Writer) connection(up bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.closed:
	case !up && len(w.chain.slots) > 0:
		w.doubt(nats.ErrDisconnected)
	case up && (w.chain.phase == pausing || w.chain.phase == flowing):
		w.silent = 0
		w.chain.resume()
		w.advance(nil)
	}
}

// inquire asks for the log's last message, until it is told.
func (w *Writer) inquire() {
	w.timer.Stop()
	if w.inquiry {
		return
	}
	w.inquiry = true
	idle, own, at := len(w.chain.slots) == 0, w.chain.id(w.chain.last.number), w.chain.last.sequence
	w.wg.Go(func() {
		for attempt := 1; ; attempt++ {
			id, sequence := own, at
			state, err := w.look()
			if err == nil && (!idle || state.Last != at) {
				var last message
				last, err = w.log.last(w.ctx)
				id, sequence = last.id, last.sequence
			}
			if err == nil {
				w.told(id, sequence)
				return
			}
			if wait(w.ctx, reconnectDelay(attempt)) != nil {
				return
			}
		}
	})
}

func (w *Writer) look() (LogState, error) {
	ctx, cancel := context.WithTimeout(w.ctx, requestLimit)
	defer cancel()
	return w.log.State(ctx)
}

// told takes the log's last message.
func (w *Writer) told(id string, sequence uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.inquiry = false
	if w.closed || w.chain.phase != asking {
		return
	}
	room := len(w.chain.slots) == 0 || w.log.room(0, len(w.chain.slots[0].data))
	w.advance(w.chain.told(id, sequence, room))
}
