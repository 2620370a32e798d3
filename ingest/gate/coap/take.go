package coap

import (
	"time"

	"berth/ingest/commit"
	"berth/ingest/format"
	"berth/ingest/gate/coap/packet"
	"berth/ingest/gate/intake"
	"berth/schema"
	"berth/schema/batch"
	"berth/schema/record"
)

// maxBurst is the size of rows beyond which a burst is handed over before everything that was read is decoded.
const maxBurst = 64 << 10

// burst is the requests of one read, on their way to one submission. It is the waiter of it.
type burst struct {
	l      *Listener
	rows   *batch.Rows
	counts commit.Counts
	begun  time.Time
	open   []waiting
}

// waiting is a request whose answer waits for the log.
type waiting struct {
	peer        *peer
	key         uint64
	id          uint16
	confirmable bool
	silent      bool // it is not answered when all is well
	most        int  // bytes of the answer
	token       [8]byte
	tokenLength uint8
	answer      packet.Answer // when the log has it
}

// put takes a whole body.
func (r *reader) put(q *request, body []byte) {
	l := r.l
	if err := q.setFormat(body); err != nil {
		l.refused(intake.ReasonFormat)
		r.keep(q, &format.Report{Code: schema.CodeOf(err), Reason: schema.Show(err)}, body)
		r.refuse(q, err)
		return
	}
	b := r.burst
	if b == nil {
		b = &burst{l: l, rows: commit.TakeRows(), begun: q.came, open: make([]waiting, 0, together)}
		r.burst = b
	}
	load := intake.Payload{Format: q.format, Sensor: q.sensor, Data: body}
	report, err := l.in.Decode(q.keys, q.id, &load, b.rows)
	q.sender.Spend(report.Accepted+report.Rejected, len(body))
	if err != nil || report.Rejected > 0 && report.Accepted == 0 {
		l.in.Committer.Count(commit.Counts{FramesRejected: 1, Reasons: report.Reasons})
		r.keep(q, &report, body)
		r.refuse(q, schema.Errorf(report.Code, "%s", report.Reason).WithCause(errReadings))
		return
	}
	b.counts.Frames++
	b.counts.Accepted += uint64(report.Accepted)
	b.counts.Timeless += uint64(report.Timeless)
	a := packet.Answer{Code: packet.Changed}
	if report.Rejected > 0 {
		b.counts.Rejected += uint64(report.Rejected)
		b.counts.Reasons = report.Reasons
		a.Code, a.Payload = packet.BadRequest, intake.Partly(&report)
		r.keep(q, &report, body)
	}
	a.Block, a.HasBlock = q.Block()
	b.add(q, &a)
	if report.Rejected > 0 || b.rows.Size() > maxBurst { // the reasons of one frame are a submission's
		r.handOver()
	}
}

// add adds a request to those that wait for the log.
func (b *burst) add(q *request, a *packet.Answer) {
	w := waiting{
		peer: q.peer, key: q.key, id: q.ID, confirmable: q.Type == packet.Confirmable, tokenLength: uint8(len(q.Token)), answer: *a,
		silent: q.silent(a.Code), most: q.most(),
	}
	copy(w.token[:], q.Token)
	b.open = append(b.open, w)
	b.l.mu.Lock()
	b.l.seen.add(q.key, b.l.seconds(q.came))
	b.l.mu.Unlock()
}

// silent reports whether a request wants no answer of this code: it is not confirmable and has no token, or says so (RFC 7967).
func (q *request) silent(c packet.Code) bool {
	return q.Type == packet.NonConfirmable && (len(q.Token) == 0 || q.Unwanted(c))
}

// handOver submits what is in the burst, if there is something.
func (r *reader) handOver() {
	b, l := r.burst, r.l
	if b == nil {
		return
	}
	r.burst = nil
	if len(b.open) == 0 {
		commit.GiveRows(b.rows)
		return
	}
	l.mu.Lock()
	l.pending = append(l.pending, b)
	l.open += len(b.open)
	l.tick()
	l.mu.Unlock()
	done, err := l.in.Committer.TrySubmit(&commit.Submission{Rows: b.rows, Counts: b.counts, Waiter: b, Received: b.begun})
	if done && err == nil {
		return
	}
	commit.GiveRows(b.rows)
	if !done { // the queue is full; nothing was counted
		l.in.Committer.Count(commit.Counts{FramesGivenUp: b.counts.Frames})
	}
	b.settle(errSlow)
}

// Committed says that the log has the burst, or why it will not be answered.
func (b *burst) Committed(_ uint64, err error) { b.settle(err) }

// settle answers what is in the burst. Of an error the senders are told to come again, and what they send then is taken anew.
func (b *burst) settle(err error) {
	l := b.l
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, p := range l.pending { // the first, unless it was not even submitted
		if p == b {
			l.pending = append(l.pending[:i], l.pending[i+1:]...)
			break
		}
	}
	l.open -= len(b.open)
	for i := range b.open {
		w := &b.open[i]
		if err != nil {
			w.answer = packet.Answer{Code: packet.Unavailable, MaxAge: slowAge, Payload: schema.Show(err)}
		}
		l.conclude(w)
	}
	l.changed.Broadcast()
	l.out.flush()
}

// conclude answers a request that was on its way. It is called with mu held.
func (l *Listener) conclude(w *waiting) {
	a := &w.answer
	a.Token = w.token[:w.tokenLength]
	x := l.seen.find(w.key, l.seconds(l.time()))
	acked := x != nil && x.acked
	if x != nil && a.Code != packet.Unavailable {
		l.seen.settle(x, a.Code, a.Payload)
	} else {
		l.seen.forget(w.key)
	}
	switch {
	case !w.confirmable && w.silent:
	case w.confirmable && !acked: // §5.2.1
		a.Type, a.ID = packet.Acknowledgement, w.id
		l.out.put(w.peer, a, w.most)
	case w.confirmable: // §5.2.2
		x.response = l.respond(w)
	default: // §5.2.3
		a.Type, a.ID = packet.NonConfirmable, l.newID()
		l.out.put(w.peer, a, w.most)
	}
}

// keep keeps what was refused of a request, to look at.
func (r *reader) keep(q *request, report *format.Report, body []byte) {
	refused := r.l.in.Refused()
	refused.Add(report.Refusals(q.format, body), q.format == "line")
	r.l.in.TryReject(record.Reject{
		Gateway: q.id.Gateway, Relay: q.id.Relay, Protocol: name, Format: q.format, Sensor: q.sensor, Address: q.peer.address().String(),
		Code: report.Code, Reason: report.Reason, Lines: report.Lines, Readings: uint64(report.Rejected), Size: len(body),
		Part: report.Accepted > 0,
	}, refused)
}
