package httpserver

import (
	"encoding/json"
	"errors"
	"net/http"

	"berth/internal/api"
	"berth/schema"
)

// ProblemType is the media type of an error's body.
const ProblemType = "application/problem+json"

// ProblemBody is an error as clients see it (RFC 9457 §3.1), with three members of ours (§3.2).
type ProblemBody struct {
	Type      string      `json:"type"` // about:blank: title and status say it all (§4.2.1)
	Title     string      `json:"title"`
	Status    int         `json:"status"`
	Detail    string      `json:"detail,omitempty"` // what happened and why
	Code      schema.Code `json:"code"`
	Next      string      `json:"next,omitempty"`       // what to do now
	RequestID string      `json:"request_id,omitempty"` // names the request in our log
}

// NewProblem returns what may be shown of err.
func NewProblem(err error) ProblemBody {
	code := schema.CodeOf(err)
	status := statusOf(err)
	p := ProblemBody{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: schema.Show(err), Code: code}
	if e, ok := errors.AsType[*schema.Error](err); ok {
		p.Detail, p.Next = e.Text, e.Next
	}
	return p
}

// Problem answers the request with err as application/problem+json.
func Problem(w http.ResponseWriter, err error) {
	p := NewProblem(err)
	h := w.Header()
	p.RequestID = h.Get(RequestIDHeader)
	for _, k := range []string{"Content-Length", "Content-Encoding", "Content-Disposition", "Etag", "Last-Modified"} {
		h.Del(k) // of the answer that did not come
	}
	h.Set("Content-Type", ProblemType)
	h.Set("Cache-Control", "no-store")
	SetErrorHeaders(h, p.Code)
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the client may be gone; nobody else to tell
}

// SetErrorHeaders sets the headers that an answer of this kind of error must have, whatever its body is.
func SetErrorHeaders(h http.Header, code schema.Code) {
	switch code { //nolint:exhaustive // the others need none
	case schema.Unauthorized:
		h.Set("WWW-Authenticate", `Bearer realm="berth"`) // RFC 9110 §15.5.2
	case schema.Unavailable, schema.Limited:
		if h.Get("Retry-After") == "" {
			h.Set("Retry-After", "1")
		}
	}
}

// methodError is an Invalid error for a path that exists under another method.
type methodError struct{ error }

// Unwrap returns the schema error.
func (e methodError) Unwrap() error { return e.error }

func statusOf(err error) int {
	if _, ok := errors.AsType[methodError](err); ok {
		return http.StatusMethodNotAllowed
	}
	return api.Status(schema.CodeOf(err))
}

// JSON answers with v. Nothing has been written when it returns an error.
func JSON(w http.ResponseWriter, status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "no-store")
	}
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // the client may be gone
	return nil
}
