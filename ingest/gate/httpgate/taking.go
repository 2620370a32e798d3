package httpgate

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"berth/ingest/commit"
	"berth/ingest/format"
	"berth/ingest/gate/intake"
	"berth/ingest/limit"
	"berth/schema"
	"berth/schema/batch"
	"berth/schema/record"
)

// taking is a body that is being taken, piece by piece. The rows of a piece are handed over when the next one comes, so
// that the last piece can carry the counts of all.
type taking struct {
	l         *Listener
	keys      *intake.Keys
	id        intake.Identity
	sender    *limit.Sender
	name, key string // that it shows
	plain     bool   // it may be one of many that are pipelined
	format    string
	precision time.Duration
	address   string
	length    int // of the body, as announced; 0: unknown
	unread    int // at least so many bytes were refused, if any were refused unread

	rows    *batch.Rows   // of the piece before
	came    time.Time     // when the piece that came last was there
	counts  commit.Counts // of all pieces
	code    schema.Code   // of the first refusal
	reason  string
	shown   []record.RejectLine // the first lines refused
	before  int                 // lines in the pieces before
	size    int                 // of the pieces
	refused *intake.Refused     // what was refused of all pieces; nil: nothing
	waiter  *waiter
	stopped bool // the rest of the body was refused unread
	done    bool // the last piece was handed over
}

// waiter is a commit.Waiter of one request.
type waiter struct {
	free   chan struct{} // a place for each piece in hand
	answer chan error
}

const (
	piecesInHand = 8
	onePiece     = 1 // token of a piece
	lastPiece    = 2 // token of the last
)

// Committed says what became of a piece. The first failure, or the last piece, decides.
func (w *waiter) Committed(token uint64, err error) {
	<-w.free
	if err != nil || token == lastPiece {
		select {
		case w.answer <- err:
		default: // it failed before
		}
	}
}

// piece takes the next piece of the body. An error is that nothing more can be taken, not that readings were refused.
func (t *taking) piece(ctx context.Context, data []byte) error {
	if t.rows != nil {
		if err := t.submit(ctx, commit.Counts{}, onePiece); err != nil {
			return err
		}
	}
	t.rows, t.came = commit.TakeRows(), time.Now()
	load := intake.Payload{Format: t.format, Precision: t.precision, Data: data}
	report, err := t.l.in.Decode(t.keys, t.id, &load, t.rows)
	t.sender.Spend(report.Accepted+report.Rejected, len(data))
	t.counts.Accepted += uint64(report.Accepted)
	t.counts.Timeless += uint64(report.Timeless)
	t.size += len(data)
	switch {
	case err != nil:
		t.refuse(report.Code, report.Reason, data, nil)
	case report.Rejected > 0:
		reason := report.Reason
		if t.before > 0 && len(report.Lines) > 0 { // the report counts from the beginning of the piece
			reason = fmt.Sprintf("line %d: %s", t.before+report.Lines[0].Line, report.Lines[0].Reason)
		}
		t.counts.Rejected += uint64(report.Rejected)
		t.refuse(report.Code, reason, data, &report)
	}
	for _, line := range report.Lines {
		if len(t.shown) < format.MaxLines {
			t.shown = append(t.shown, record.RejectLine{Line: t.before + line.Line, Reason: line.Reason})
		}
	}
	t.addReasons(report.Reasons)
	if t.format == "line" {
		t.before += bytes.Count(data, []byte{'\n'})
	}
	return nil
}

// stop refuses the rest of the body, of which data is the beginning.
func (t *taking) stop(why error, data []byte) error {
	t.refuse(schema.CodeOf(why), schema.Show(why), data, nil)
	t.stopped = true
	t.counts.Rejected++
	t.addReasons(map[string]int{intake.ReasonFrameSize: 1})
	t.size += len(data)
	t.unread = max(t.length, t.size+1)
	return nil
}

// refuse notes a refusal: of all of a piece, or of what the report says.
func (t *taking) refuse(code schema.Code, reason string, data []byte, report *format.Report) {
	if t.code == "" {
		t.code, t.reason = code, reason
		t.refused = t.l.in.Refused()
	}
	if report != nil {
		data = report.Refusals(t.format, data)
	}
	t.refused.Add(data, t.format == "line")
}

func (t *taking) addReasons(reasons map[string]int) {
	if len(reasons) > 0 && t.counts.Reasons == nil {
		t.counts.Reasons = make(map[string]int, len(reasons))
	}
	for reason, n := range reasons {
		t.counts.Reasons[reason] += n
	}
}

// refusedWhole reports whether nothing of the body was taken.
func (t *taking) refusedWhole() bool { return t.code != "" && t.counts.Accepted == 0 }

// recheck returns an error when the key that was shown is good no more.
func (t *taking) recheck() error {
	keys := t.l.in.Keys()
	if keys == t.keys {
		return nil
	}
	t.keys = keys
	return keys.Check(t.id)
}

// submit hands the rows over, if the key that was shown is still good.
func (t *taking) submit(ctx context.Context, counts commit.Counts, token uint64) error {
	if err := t.recheck(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, t.l.in.Limits.Commit)
	defer cancel()
	if t.waiter == nil {
		t.waiter = &waiter{free: make(chan struct{}, piecesInHand), answer: make(chan error, 1)}
	}
	select {
	case t.waiter.free <- struct{}{}:
	case <-ctx.Done():
		return schema.Errorf(schema.Unavailable, "the log cannot keep up").WithNext("send it again in a few seconds").WithCause(ctx.Err())
	}
	err := t.l.in.Committer.Submit(ctx, &commit.Submission{Rows: t.rows, Counts: counts, Waiter: t.waiter, Token: token, Received: t.came})
	if err != nil {
		<-t.waiter.free
		t.done = counts.Frames > 0 // it was counted as given up
		return err
	}
	t.rows = nil
	return nil
}

// giveUp ends a body that is answered with an error of another kind than a refusal of readings.
func (t *taking) giveUp() {
	if !t.done {
		t.l.in.Committer.Count(commit.Counts{FramesGivenUp: 1})
	}
	t.drop()
}

// drop gives back what was not handed over.
func (t *taking) drop() {
	if t.rows != nil {
		commit.GiveRows(t.rows)
		t.rows = nil
	}
	if t.refused != nil {
		t.refused.Drop()
		t.refused = nil
	}
}

// keepReject keeps what was refused, to look at.
func (t *taking) keepReject() {
	t.l.in.Reject(record.Reject{
		Gateway: t.id.Gateway, Relay: t.id.Relay, Protocol: "http", Format: t.format, Precision: t.precision,
		Address: t.address, Code: t.code, Reason: t.reason, Lines: t.shown, Readings: t.counts.Rejected, Size: t.size,
		Refused: t.unread, Part: t.counts.Accepted > 0,
	}, t.refused)
	t.refused = nil
}
