package httpgate

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"slices"
	"time"

	"berth/ingest/commit"
	"berth/ingest/gate/intake"
	"berth/ingest/gate/session"
	"berth/ingest/limit"
	"berth/schema"
	"berth/schema/batch"
)

// net/http takes one request of a connection at a time and answers it before it reads the next: what is pipelined waits for
// a flush of the disk each. So a connection whose second plain request shows the same key as its first is taken over from
// net/http: all such requests that have come are handed to the committer together and answered in their order. It is given
// back, with what was read and not taken, as soon as anything else comes: another kind of request, one of which something is
// refused, a change of keys, a sender who is to be slowed. Then net/http says what is to be said.

const (
	// maxBurst is the size of rows beyond which a burst is handed over before everything that was read is decoded.
	maxBurst = 64 << 10
	// maxInHand is how many bursts a connection may have in hand before it is read no more.
	maxInHand = 64
)

// errOther ends the reading of plain requests: what comes is for net/http.
var errOther = errors.New("the next request is for net/http")

// pipelined is a connection that was taken over.
type pipelined struct {
	session.Base
	plain

	l      *Listener
	keys   *intake.Keys // with which the key was shown
	sender *limit.Sender

	// Mu guards what follows.
	owed   int // answers to requests that are in the log
	failed bool
}

// takeOver takes the connection of a request whose readings are in the log over from net/http, and answers the request; false:
// it is net/http's.
func (l *Listener) takeOver(ctx context.Context, w http.ResponseWriter, t *taking) bool {
	c, known := ctx.Value(connKey{}).(*intake.Conn)
	if !known || !t.plain || !again(c) {
		return false
	}
	s := &pipelined{plain: plain{name: t.name, key: t.key}, l: l, keys: t.keys, sender: t.sender, owed: 1}
	s.Begin(l.in, c, s.flush)
	s.ID = t.id
	if !l.enter(s) {
		return false
	}
	raw, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		l.leave(s)
		return false
	}
	read, _ := rw.Peek(rw.Reader.Buffered()) // nothing is read for it
	if r, ok := raw.(*rest); ok {
		read = append(slices.Clip(read), r.data...)
	}
	l.pipelines.Go(func() { s.serve(read) }) //nolint:contextcheck // it outlives the request
	return true
}

// enter notes a connection that was taken over, so that Stop can end it; false: the listener is being stopped.
func (l *Listener) enter(s *pipelined) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopping {
		return false
	}
	l.taken[s] = struct{}{}
	return true
}

func (l *Listener) leave(s *pipelined) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.taken, s)
}

// stopPipelines has all connections that were taken over answer what is in hand and end; none is taken over from now on.
func (l *Listener) stopPipelines() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopping = true
	for s := range l.taken {
		s.Drop(intake.ErrStopping)
	}
}

// serve takes plain requests until something else comes, or the connection ends. read was read of it already.
func (s *pipelined) serve(read []byte) {
	defer s.l.leave(s)
	in := s.In.Input(s.Conn)
	defer in.Release()
	err := in.Begin(read)
	s.Mu.Lock()
	s.Write()
	s.Mu.Unlock()
	if err == nil {
		err = s.read(&in)
	}
	settled := s.settle(err)
	if errors.Is(err, errOther) && settled {
		s.l.hand(&rest{Conn: s.Conn, data: bytes.Clone(in.Data())})
		return
	}
	if len(in.Data()) > 0 {
		s.In.Committer.Count(commit.Counts{FramesGivenUp: 1})
	}
	if !settled {
		err = errSlow
	}
	if why, known := errors.AsType[*schema.Error](err); known && !errors.Is(err, intake.ErrStopping) {
		s.Say(func(out []byte) []byte { return append(out, refusal(why)...) })
		s.Drain(s.In.Limits.Linger, s.written)
		s.Conn.Linger(s.In.Limits.Linger)
	}
	s.Close()
}

var errSlow = schema.Errorf(schema.Unavailable, "the log cannot keep up").WithNext("send it again in a few seconds")

// settle waits until everything that was taken is answered, and reports whether it is. Who waited in vain has waited enough.
func (s *pipelined) settle(why error) bool {
	limit := s.In.Limits.Commit
	if errors.Is(why, os.ErrDeadlineExceeded) {
		limit = 0
	}
	s.Drain(limit, func() bool { return s.Broken || s.InHand == 0 && s.written() })
	s.Mu.Lock()
	defer s.Mu.Unlock()
	return s.Broken || s.InHand == 0 && s.written()
}

// written reports whether all answers that there are were written. It is called with Mu held.
func (s *pipelined) written() bool { return s.Broken || !s.Writing && len(s.Out) == 0 && s.owed == 0 }

// read takes requests, and returns why it takes no more.
func (s *pipelined) read(in *intake.Input) error {
	for {
		missing, err := s.consume(in)
		switch {
		case err != nil:
			return err
		case in.Empty():
			err = s.idle(in)
		case missing > 0:
			err = s.more(in, missing)
		}
		if err != nil {
			return err
		}
	}
}

// idle waits for the next request without a buffer; while something is not answered, not longer than that may take.
func (s *pipelined) idle(in *intake.Input) error {
	in.Release()
	for {
		owed, wait := s.owes(), min(s.In.Limits.Idle, idleLimit)
		if owed {
			wait = min(wait, s.In.Limits.Commit)
		}
		s.SetDeadline(time.Now().Add(wait))
		if why := s.Dropped(); why != nil {
			return why
		}
		err := in.ReadSmall()
		if owed && errors.Is(err, os.ErrDeadlineExceeded) && !s.owes() && s.Dropped() == nil {
			continue
		}
		return s.reason(err)
	}
}

// more reads more of a request that is not whole.
func (s *pipelined) more(in *intake.Input, missing int) error {
	if !in.Timed {
		in.Timed = true
		s.SetDeadline(time.Now().Add(s.In.Limits.FrameTime(missing)))
	}
	if why := s.Dropped(); why != nil {
		return why
	}
	return s.reason(in.Read(len(in.Data()) + missing))
}

// reason returns why nothing more is read, when reading ended with err.
func (s *pipelined) reason(err error) error {
	if why := s.Dropped(); err != nil && why != nil {
		return why
	}
	return err
}

// owes reports whether something that was taken is not answered yet.
func (s *pipelined) owes() bool {
	s.Mu.Lock()
	defer s.Mu.Unlock()
	return s.InHand > 0
}

// burst is the requests of one read, on their way to one submission.
type burst struct {
	rows     *batch.Rows
	counts   commit.Counts
	requests int
	begun    time.Time // when the first was there
}

// consume takes every request that is whole, and returns how many bytes the rest lacks at least.
func (s *pipelined) consume(in *intake.Input) (missing int, err error) {
	if s.In.Keys() != s.keys || ends(s.Conn) || s.In.Full() != nil || s.In.Committer.Slow() {
		return 0, errOther
	}
	if wait, _ := s.sender.Due(s.sender.Mark()); wait > 0 {
		return 0, errOther
	}
	var b burst
	readings, size := 0, 0
	for err == nil && !in.Empty() && !s.sender.Enough(readings, size) {
		var begin, end int
		var ok bool
		if begin, end, missing, ok = s.next(in.Data()); !ok {
			err = errOther
		}
		if missing > 0 || !ok {
			break
		}
		n, taken := s.take(&b, in.Data()[begin:end])
		if !taken {
			err = errOther
			break
		}
		readings, size = readings+n, size+end-begin
		in.Consume(end)
		if b.rows.Size() > maxBurst {
			err = s.submit(&b)
		}
	}
	if submitErr := s.submit(&b); submitErr != nil {
		err = submitErr
	}
	s.sender.Spend(readings, size)
	return missing, err
}

// take decodes a body into the burst; false: something of it is refused, and nothing was taken.
func (s *pipelined) take(b *burst, body []byte) (readings int, taken bool) {
	if b.rows == nil {
		b.rows, b.begun = commit.TakeRows(), time.Now()
	}
	rows, bits, text := len(b.rows.Rows), len(b.rows.Bits), len(b.rows.Text)
	load := intake.Payload{Format: "line", Precision: s.precision, Data: body}
	report, err := s.In.Decode(s.keys, s.ID, &load, b.rows)
	if err != nil || report.Rejected > 0 {
		b.rows.Rows, b.rows.Bits, b.rows.Text = b.rows.Rows[:rows], b.rows.Bits[:bits], b.rows.Text[:text]
		return 0, false
	}
	b.requests++
	b.counts.Frames++
	b.counts.Accepted += uint64(report.Accepted)
	b.counts.Timeless += uint64(report.Timeless)
	return report.Accepted, true
}

// submit hands the burst over, if there is one.
func (s *pipelined) submit(b *burst) error {
	if b.requests == 0 {
		if b.rows != nil {
			commit.GiveRows(b.rows)
		}
		*b = burst{}
		return nil
	}
	ctx, cancel := context.WithTimeout(s.In.Context(), s.In.Limits.Commit)
	defer cancel()
	sub := commit.Submission{Rows: b.rows, Counts: b.counts, Waiter: s, Token: uint64(b.requests), Received: b.begun}
	*b = burst{}
	return s.Submit(ctx, &sub, maxInHand)
}

// Committed answers the requests of a burst.
func (s *pipelined) Committed(token uint64, err error) {
	s.Mu.Lock()
	defer s.Mu.Unlock()
	s.InHand--
	if err != nil {
		s.failed = true
		s.Doom(err) // the oldest that is not answered is told so, and the others are to be sent again
	}
	if !s.failed {
		s.owed += int(token)
		s.Write()
	}
	s.Changed.Broadcast()
}

// flush appends the answers to all that is in the log. It is called with Mu held.
func (s *pipelined) flush(out []byte) []byte {
	if s.owed == 0 {
		return out
	}
	one := len(out)
	out = append(out, "HTTP/1.1 204 No Content\r\nDate: "...)
	out = time.Now().UTC().AppendFormat(out, http.TimeFormat)
	out = append(out, headEnd...)
	end := len(out)
	for range s.owed - 1 {
		out = append(out, out[one:end]...)
	}
	s.owed = 0
	return out
}

// rest is a connection of which something was read already.
type rest struct {
	*intake.Conn
	data []byte
}

var _ net.Conn = (*rest)(nil)

// Read reads what was read already, then from the connection.
func (r *rest) Read(p []byte) (int, error) {
	if len(r.data) == 0 {
		return r.Conn.Read(p)
	}
	n := copy(p, r.data)
	if r.data = r.data[n:]; len(r.data) == 0 {
		r.data = nil
	}
	return n, nil
}
