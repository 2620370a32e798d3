package bus

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"berth/schema"
)

// answersMost is how many questions one subject answers at once; more are refused.
const answersMost = 64

var (
	errAskerGone = errors.New("whoever asked is gone")
	errStopped   = errors.New("no more answers are given")
)

// answerer answers the questions of one subject.
type answerer struct {
	conn  *Conn
	fn    func(ctx context.Context, request []byte, reply func(chunk []byte) error) error
	inbox string // flow subjects are below it
	wg    sync.WaitGroup

	mu      sync.Mutex // guards what follows
	running map[string]*answer
	last    int
	stopped bool
}

// answer is one answer under way.
type answer struct {
	conn   *Conn
	inbox  string // where the pieces go
	flow   string // where the asker reports
	ctx    context.Context
	cancel context.CancelCauseFunc

	mu       sync.Mutex // guards the number, so that pieces leave in its order, and what is under way
	number   uint32
	sent     uint64
	consumed uint64
	moved    chan struct{} // a report came; of capacity 1
}

// Answer answers questions on a subject, each in a goroutine of its own. fn hands over chunks, in order, by reply,
// which blocks while the asker lags; its error goes to the asker (only what schema.Show shows of it). When the asker
// gives up, fn's ctx ends. stop ends the answers under way and returns when all fn have returned.
func (c *Conn) Answer(
	subject string, fn func(ctx context.Context, request []byte, reply func(chunk []byte) error) error,
) (stop func(), err error) {
	a := &answerer{conn: c, fn: fn, inbox: c.nc.NewInbox(), running: map[string]*answer{}}
	flow, err := c.nc.Subscribe(a.inbox+".*", a.report)
	if err != nil {
		return nil, failed("answer "+subject, err)
	}
	questions, err := c.nc.Subscribe(subject, a.question)
	if err != nil {
		_ = flow.Unsubscribe() // the first error counts
		return nil, failed("answer "+subject, err)
	}
	if err := c.nc.FlushTimeout(dialLimit); err != nil { // so that a question put now finds it
		c.log.Info("answers will be given when nats is back", "subject", subject, "error", err)
	}
	return func() {
		_ = questions.Unsubscribe() // without a server there is nothing to end
		a.stop()
		_ = flow.Unsubscribe()
	}, nil
}

func (a *answerer) stop() {
	a.mu.Lock()
	a.stopped = true
	for _, r := range a.running {
		r.cancel(errStopped)
	}
	a.mu.Unlock()
	a.wg.Wait()
}

// question begins an answer.
func (a *answerer) question(msg *nats.Msg) {
	if msg.Reply == "" {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stopped {
		return
	}
	a.last++
	r := &answer{conn: a.conn, inbox: msg.Reply, flow: a.inbox + "." + strconv.Itoa(a.last), moved: make(chan struct{}, 1)}
	r.ctx, r.cancel = context.WithCancelCause(context.Background())
	if len(a.running) >= answersMost {
		r.end(schema.Errorf(schema.Limited, "%d questions are being answered already", answersMost).WithNext("ask again"))
		return
	}
	a.running[r.flow] = r
	a.wg.Go(func() {
		defer func() {
			r.cancel(nil)
			a.mu.Lock()
			defer a.mu.Unlock()
			delete(a.running, r.flow)
		}()
		r.run(func() error { return a.fn(r.ctx, msg.Data, r.reply) })
	})
}

// report takes an asker's report.
func (a *answerer) report(msg *nats.Msg) {
	a.mu.Lock()
	r := a.running[msg.Subject]
	a.mu.Unlock()
	if r == nil {
		return
	}
	if len(msg.Data) != 8 {
		r.cancel(errAskerGone)
		return
	}
	r.mu.Lock()
	r.consumed = max(r.consumed, binary.BigEndian.Uint64(msg.Data))
	r.mu.Unlock()
	select {
	case r.moved <- struct{}{}:
	default:
	}
}

// run runs fn, tells the asker every second that it is at work, and then that it has ended, and how.
func (r *answer) run(fn func() error) {
	done := make(chan struct{})
	var beat sync.WaitGroup
	beat.Go(func() {
		ticker := time.NewTicker(answerBeat)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
				if err := r.send(pieceAlive, nil); err != nil {
					r.cancel(err)
				}
			}
		}
	})
	err := fn()
	close(done)
	beat.Wait()
	if cause := context.Cause(r.ctx); cause != nil {
		if errors.Is(cause, errAskerGone) {
			return
		}
		err = schema.Errorf(schema.Unavailable, "the answer was ended early").WithCause(cause)
	}
	r.end(err)
}

// end sends the last piece.
func (r *answer) end(err error) {
	if err == nil {
		_ = r.send(pieceEnd, nil) // the asker will miss it, and say so
		return
	}
	e := answerError{Code: schema.CodeOf(err), Text: schema.Show(err)}
	if s, ok := errors.AsType[*schema.Error](err); ok {
		e.Text, e.Next = s.Text, s.Next
	} else {
		r.conn.log.Warn("a question could not be answered", "error", err)
	}
	data, err := json.Marshal(e)
	if err != nil {
		return
	}
	_ = r.send(pieceError, data) // the asker will miss it, and say so
}

// reply sends a chunk.
func (r *answer) reply(chunk []byte) error {
	for {
		n := min(len(chunk), pieceMost)
		kind := byte(pieceMore)
		if n == len(chunk) {
			kind = pieceData
		}
		if err := r.room(n); err != nil {
			return err
		}
		if err := r.send(kind, chunk[:n]); err != nil {
			return err
		}
		if chunk = chunk[n:]; len(chunk) == 0 {
			return nil
		}
	}
}

// room waits until n more bytes may be under way.
func (r *answer) room(n int) error {
	silent := time.NewTimer(askerSilent)
	defer silent.Stop()
	for {
		r.mu.Lock()
		free := r.sent+pieceCost+uint64(n) <= r.consumed+answerWindow
		r.mu.Unlock()
		if free {
			return context.Cause(r.ctx)
		}
		select {
		case <-r.moved:
			silent.Reset(askerSilent)
		case <-silent.C:
			r.cancel(errAskerGone)
			return errAskerGone
		case <-r.ctx.Done():
			return context.Cause(r.ctx)
		}
	}
}

func (r *answer) send(kind byte, data []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	piece := make([]byte, 0, pieceHeader+len(data))
	piece = append(piece, kind)
	piece = binary.BigEndian.AppendUint32(piece, r.number)
	piece = append(piece, data...)
	if err := r.conn.nc.PublishMsg(&nats.Msg{Subject: r.inbox, Reply: r.flow, Data: piece}); err != nil {
		return failed("answer", err)
	}
	r.number++
	if kind == pieceData || kind == pieceMore {
		r.sent += pieceCost + uint64(len(data))
	}
	return nil
}
