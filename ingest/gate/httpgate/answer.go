package httpgate

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"berth/internal/api"
	"berth/schema"
	"berth/schema/record"
)

// retryAfter is when a sender may come back who was told to, in seconds; approveAfter when one who waits for approval.
const (
	retryAfter   = "5"
	approveAfter = "60"
)

// style is how a path words its refusals.
type style int

const (
	influx2 style = iota // {"code": …, "message": …}
	influx1              // {"error": …}
)

// problem is the body of a refusal, in either style.
type problem struct {
	Error    string              `json:"error,omitempty"`
	Code     schema.Code         `json:"code,omitempty"`
	Message  string              `json:"message,omitempty"`
	Accepted uint64              `json:"accepted,omitempty"` // readings
	Rejected uint64              `json:"rejected,omitempty"` // readings
	Lines    []record.RejectLine `json:"lines,omitempty"`    // the first that were refused
}

// body returns the body of a refusal; t is what was taken and what was not, if that is known.
func (s style) body(code schema.Code, text string, t *taking) problem {
	p := problem{Code: code, Message: text}
	if s == influx1 {
		p = problem{Error: text}
	}
	if t != nil {
		p.Accepted, p.Rejected, p.Lines = t.counts.Accepted, t.counts.Rejected, t.shown
	}
	return p
}

// fail answers with an error.
func (l *Listener) fail(w http.ResponseWriter, s style, err error) {
	code := schema.CodeOf(err)
	if code == schema.Unauthorized || code == schema.Pending {
		w.Header().Set("WWW-Authenticate", `Basic realm="berth"`)
	}
	l.answer(w, statusOf(w, code), s.body(code, schema.Show(err), nil))
}

// statusOf returns the status for a code, and says when to come back where that helps.
func statusOf(w http.ResponseWriter, code schema.Code) int {
	if later := laterOf(code); later != "" && w.Header().Get("Retry-After") == "" {
		w.Header().Set("Retry-After", later)
	}
	return api.Status(code)
}

// laterOf returns when the same may be taken, in seconds; empty: it will not be.
func laterOf(code schema.Code) string {
	switch code {
	case schema.Limited, schema.Unavailable:
		return retryAfter
	case schema.Pending:
		return approveAfter
	default:
		return ""
	}
}

// answer writes an answer, which the client must take in time; a body of nil is none. What was not read of the request must come in
// time too: net/http waits for it before it writes the answer.
func (l *Listener) answer(w http.ResponseWriter, status int, body any) {
	control, now := http.NewResponseController(w), time.Now()
	_ = control.SetReadDeadline(now.Add(l.in.Limits.Frame))
	_ = control.SetWriteDeadline(now.Add(l.in.Limits.Write)) // a closed connection fails at the write
	if body == nil {
		w.WriteHeader(status)
		return
	}
	text, err := json.Marshal(body)
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if p, ok := body.(problem); ok && p.Error != "" {
		w.Header().Set("X-Influxdb-Error", oneLine(p.Error))
	}
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n')) // the client may be gone
}

// oneLine returns text as a header can carry it.
func oneLine(text string) string {
	b := []byte(text[:min(len(text), 200)])
	for i, c := range b {
		if c < ' ' || c > '~' {
			b[i] = ' '
		}
	}
	return string(b)
}

// refusal is a whole answer, for a connection that is not even read.
func refusal(why error) string {
	code := schema.CodeOf(why)
	text, err := json.Marshal(influx2.body(code, schema.Show(why), nil))
	if err != nil {
		text = nil
	}
	n, later := api.Status(code), laterOf(code)
	if later != "" {
		later = "Retry-After: " + later + "\r\n"
	}
	return fmt.Sprintf("HTTP/1.1 %d %s\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\nConnection: close\r\n\r\n%s",
		n, http.StatusText(n), later, len(text), text)
}
