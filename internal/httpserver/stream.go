package httpserver

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Stream is an answer that goes on: an export, or server-sent events. It has no time limit as a whole, only each of its
// writes has; it ends when the client goes or the server stops. It is for one goroutine.
type Stream struct {
	w       http.ResponseWriter
	rc      *http.ResponseController
	ctx     context.Context //nolint:containedctx // the stream is the request
	cancel  context.CancelFunc
	timeout time.Duration
	buf     bytes.Buffer
}

// NewStream makes the answer a stream; call Close at its end. Headers that the caller has set go out with the first
// write or flush.
func NewStream(w http.ResponseWriter, r *http.Request) *Stream {
	ctx, cancel := context.WithCancel(r.Context())
	st := &Stream{w: w, rc: http.NewResponseController(w), ctx: ctx, cancel: cancel, timeout: 30 * time.Second}
	if x := exchangeOf(r); x.s != nil {
		st.timeout = x.s.o.WriteTimeout
		unhook := context.AfterFunc(x.s.streams, cancel) //nolint:contextcheck // the server's stop ends it too
		st.cancel = func() { unhook(); cancel() }
	}
	_ = st.rc.SetReadDeadline(time.Time{}) // its passing would end the context; a test's recorder has none
	return st
}

// Context ends when the client goes, the server stops, or the stream is closed.
func (st *Stream) Context() context.Context { return st.ctx }

// Close ends the stream's context.
func (st *Stream) Close() { st.cancel() }

// Write sends p within the time limit of a write.
func (st *Stream) Write(p []byte) (int, error) {
	if err := st.ctx.Err(); err != nil {
		return 0, err
	}
	_ = st.rc.SetWriteDeadline(time.Now().Add(st.timeout))
	return st.w.Write(p)
}

// Flush sends what was written out to the client now.
func (st *Stream) Flush() error {
	if err := st.ctx.Err(); err != nil {
		return err
	}
	_ = st.rc.SetWriteDeadline(time.Now().Add(st.timeout))
	return st.rc.Flush()
}

// BeginEvents makes the stream one of server-sent events and opens it at the client.
func (st *Stream) BeginEvents() error {
	h := st.w.Header()
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("Cache-Control", "no-store, no-transform")
	h.Set("X-Accel-Buffering", "no") // a proxy in front must not hold events back
	st.w.WriteHeader(http.StatusOK)
	return st.Flush()
}

// Event sends one server-sent event; id and name may be empty. A stream that has nothing to say should send an empty
// [Stream.Comment] now and then, so that both sides notice when the other has gone.
func (st *Stream) Event(id, name string, data []byte) error {
	st.buf.Reset()
	if id != "" {
		fmt.Fprintf(&st.buf, "id: %s\n", oneLine.Replace(id))
	}
	if name != "" {
		fmt.Fprintf(&st.buf, "event: %s\n", oneLine.Replace(name))
	}
	for line := range bytes.Lines(data) {
		st.buf.WriteString("data: ")
		st.buf.Write(bytes.TrimRight(line, "\r\n"))
		st.buf.WriteByte('\n')
	}
	if len(data) == 0 {
		st.buf.WriteString("data:\n")
	}
	st.buf.WriteByte('\n')
	return st.send()
}

// Comment sends a line that clients ignore.
func (st *Stream) Comment(text string) error {
	st.buf.Reset()
	fmt.Fprintf(&st.buf, ": %s\n\n", oneLine.Replace(text))
	return st.send()
}

var oneLine = strings.NewReplacer("\n", " ", "\r", " ", "\x00", " ")

func (st *Stream) send() error {
	if _, err := st.Write(st.buf.Bytes()); err != nil {
		return err
	}
	return st.Flush()
}
