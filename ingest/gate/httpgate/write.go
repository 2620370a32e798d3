package httpgate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"berth/ingest/commit"
	"berth/ingest/format"
	"berth/ingest/gate/intake"
	"berth/schema"
)

// write takes the readings of a request.
func (l *Listener) write(w http.ResponseWriter, r *http.Request, at route) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		l.fail(w, at.style, schema.Errorf(schema.Invalid, "the query cannot be read").WithCause(err))
		return
	}
	t := taking{l: l, format: at.format, address: r.RemoteAddr, length: int(max(r.ContentLength, 0))}
	t.name, t.key = shownBy(r, query)
	t.plain = isPlain(r, at)
	if t.keys, t.id, t.sender, err = l.authenticate(r, t.name, t.key); err != nil {
		l.fail(w, at.style, err)
		return
	}
	if err := t.setFormat(at, r.Header.Get("Content-Type")); err != nil {
		t.refuseUnread(err)
		l.answer(w, http.StatusUnsupportedMediaType, at.style.body(schema.CodeOf(err), schema.Show(err), nil))
		return
	}
	if t.precision, err = format.Precision(query.Get("precision")); err != nil {
		t.refuseUnread(err)
		l.fail(w, at.style, err)
		return
	}
	if l.in.Committer.Slow() {
		l.fail(w, at.style, schema.Errorf(schema.Unavailable, "the log cannot keep up").WithNext("send it again in a few seconds"))
		return
	}
	if err := l.pace(w, t.sender); err != nil {
		l.fail(w, at.style, err)
		return
	}
	body, err := l.openBody(w, r)
	if err != nil {
		t.refuseUnread(err)
		l.fail(w, at.style, err)
		return
	}
	defer body.close()
	// The request's own context ends when the client has closed its side, though it may still wait for the answer. What
	// bounds each wait of a client that is gone is a limit of its own: for the body, for memory, for the log.
	ctx, cancel := l.in.Outlive(r.Context())
	defer cancel()
	l.conclude(ctx, w, at.style, &t, t.read(ctx, body))
}

// setFormat sets the format that the Content-Type names, where it can. It returns an error for those of SenML's family
// that are not taken, which would only be read as bad JSON.
func (t *taking) setFormat(at route, contentType string) error {
	if !at.typed {
		return nil
	}
	if name, ok := format.OfMediaType(contentType); ok {
		t.format = name
		return nil
	}
	if format.OtherSenML(contentType) {
		return schema.Errorf(schema.Invalid, "content type %q is not taken", contentType[:min(len(contentType), 100)]).
			WithNext("send application/senml+json or application/senml+cbor")
	}
	return nil
}

// refuseUnread counts and keeps a request whose body was not read.
func (t *taking) refuseUnread(err error) {
	reason := intake.ReasonFrame
	if schema.Is(err, schema.TooLarge) {
		reason = intake.ReasonFrameSize
	}
	t.l.in.Committer.Count(commit.Counts{FramesRejected: 1, Reasons: map[string]int{reason: 1}})
	t.refuse(schema.CodeOf(err), schema.Show(err), nil, nil)
	t.size, t.unread = t.length, t.length
	t.keepReject()
}

// conclude waits until what was taken is in the log, and answers.
func (l *Listener) conclude(ctx context.Context, w http.ResponseWriter, s style, t *taking, err error) {
	if err == nil && !t.refusedWhole() {
		err = t.finish(ctx)
	}
	if errors.Is(err, errPacked) && t.waiter == nil { // nothing of it was handed over, whatever became of its first piece
		t.drop()
		t.code, t.reason, t.shown, t.counts = "", "", nil, commit.Counts{}
		t.refuseUnread(err)
		l.fail(w, s, err)
		return
	}
	if err != nil {
		t.giveUp()
		l.fail(w, s, err)
		return
	}
	if t.counts.Rejected == 0 && t.code == "" {
		if l.takeOver(ctx, w, t) {
			return
		}
		l.answer(w, http.StatusNoContent, nil)
		return
	}
	status, text := t.verdict(w, s)
	if t.refusedWhole() {
		l.in.Committer.Count(commit.Counts{FramesRejected: 1, Reasons: t.counts.Reasons})
	}
	t.keepReject()
	l.answer(w, status, s.body(t.code, text, t))
}

// verdict returns how a body is answered of which something was refused. What the body itself asks for is refused for
// good, limits too: no client must take the answer for a reason to send the same once more. Telegraf knows by the words
// "partial write" and "unable to parse" that this would be in vain.
func (t *taking) verdict(w http.ResponseWriter, s style) (status int, text string) {
	limited := t.code == schema.Limited || t.code == schema.TooLarge
	status, text = http.StatusBadRequest, t.reason
	if t.stopped || t.refusedWhole() && !limited {
		status = statusOf(w, t.code)
	}
	switch {
	case !t.refusedWhole() || limited && !t.stopped:
		text = fmt.Sprintf("partial write: %d of %d readings were stored; %s", t.counts.Accepted, t.counts.Accepted+t.counts.Rejected, text)
	case s == influx1 && t.code == schema.Invalid:
		text = "unable to parse: " + text
	}
	return status, text
}

// read takes a body: lines in pieces, as they come; what cannot be cut, when all of it is there.
func (t *taking) read(ctx context.Context, b *body) error {
	lines := t.format == "line"
	buf, err := t.l.in.TakeBuffer(ctx, intake.SmallBuffer)
	if err != nil {
		return err
	}
	defer func() { t.l.in.GiveBuffer(buf) }()
	for have := 0; ; {
		n, err := b.fill(buf[have:])
		have += n
		switch {
		case errors.Is(err, io.EOF):
			return t.piece(ctx, buf[:have])
		case schema.Is(err, schema.TooLarge):
			return t.stop(err, buf[:have])
		case err != nil:
			return err
		}
		whole := 0
		if lines {
			larger, err := t.roomier(ctx, len(buf), b.guess)
			if err != nil {
				return err
			}
			if larger != nil {
				buf = t.moved(larger, buf, have)
				continue
			}
			whole = format.WholeLines(buf[:have])
		}
		switch {
		case whole > 0:
			err = t.piece(ctx, buf[:whole])
			have = copy(buf, buf[whole:have])
		case lines && have > schema.MaxFrame:
			return t.stop(errLongLine, buf[:have])
		case lines:
			buf, err = t.grow(ctx, buf, have, intake.LargeBuffer)
		default:
			buf, err = t.grow(ctx, buf, have, min(4*len(buf), schema.MaxBody+1))
		}
		if err != nil {
			return err
		}
	}
}

var errLongLine = schema.Errorf(schema.TooLarge, "a line is longer than %d bytes", schema.MaxFrame).
	WithNext("does a text lack the quotation mark at its end?")

// roomier returns a larger buffer for lines than the one of so many bytes that they have filled, if more are to come than that has room
// for, and a byte, so that the end is seen at once; else nil: a piece is cut of what there is. Memory grows with what has come: nobody
// holds any by announcing much. guess is about how long the body is, -1 any length.
func (t *taking) roomier(ctx context.Context, size, guess int) (larger []byte, err error) {
	switch {
	case size < intake.MediumBuffer && (guess < 0 || guess >= size):
		return t.l.in.TakeBuffer(ctx, intake.MediumBuffer)
	case size < intake.PieceBuffer && guess >= size:
		return t.l.in.TryBuffer(intake.PieceBuffer), nil // it does not wait with memory in its hands
	default:
		return nil, nil
	}
}

// grow returns a buffer of at least size bytes, and more than the one that there is, with what is in it.
func (t *taking) grow(ctx context.Context, buf []byte, have, size int) ([]byte, error) {
	larger, err := t.l.in.TakeBuffer(ctx, max(size, len(buf)+1))
	if err != nil {
		return buf, err
	}
	return t.moved(larger, buf, have), nil
}

// moved returns a larger buffer with what is in the one that there is, which is given back.
func (t *taking) moved(larger, buf []byte, have int) []byte {
	copy(larger, buf[:have])
	t.l.in.GiveBuffer(buf)
	return larger
}

// finish hands over what is left, and waits until all is in the log.
func (t *taking) finish(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, t.l.in.Limits.Commit)
	defer cancel()
	if t.rows == nil {
		t.rows = commit.TakeRows()
	}
	t.counts.Frames = 1
	if err := t.submit(ctx, t.counts, lastPiece); err != nil {
		return err
	}
	t.done = true // whatever comes now, the committer counts it
	select {
	case err := <-t.waiter.answer:
		return err
	case <-ctx.Done():
		return schema.Errorf(schema.Unavailable, "the log cannot keep up").WithNext("send it again in a few seconds").WithCause(ctx.Err())
	}
}
