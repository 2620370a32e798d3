package httpserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"berth/internal/credentials"
	"berth/schema"
)

// RequestIDHeader carries the name of a request. It is taken from the request when it is well-formed, so that a
// request can be followed from one service to the next.
const RequestIDHeader = "X-Request-Id"

// exchange is a request on its way: what the layers around a handler tell each other.
type exchange struct {
	w     *responseWriter
	s     *Server
	id    string
	route string // the pattern that matched
	err   error  // of the handler
}

type exchangeKey struct{}

func exchangeOf(r *http.Request) *exchange {
	x, ok := r.Context().Value(exchangeKey{}).(*exchange)
	if !ok {
		return &exchange{}
	}
	return x
}

// RequestID returns the id of the request, for the log.
func RequestID(r *http.Request) string { return exchangeOf(r).id }

// RouteOf returns the pattern of the route that the request matched, empty when it matched none.
func RouteOf(r *http.Request) string { return exchangeOf(r).route }

// serve is the layer around all handlers: bounds, id, recovery, error, log.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	begun := time.Now()
	x := &exchange{s: s, id: requestID(r), w: &responseWriter{ResponseWriter: w}}
	r = r.WithContext(context.WithValue(r.Context(), exchangeKey{}, x))
	rc := http.NewResponseController(w)
	if r.ContentLength != 0 { // a deadline on a request without a body would end its context later
		_ = rc.SetReadDeadline(begun.Add(s.o.BodyTimeout)) // a recorder of a test has none
		r.Body = http.MaxBytesReader(x.w, r.Body, s.o.MaxBody)
	}
	_ = rc.SetWriteDeadline(begun.Add(s.o.WriteTimeout))
	h := w.Header()
	h.Set(RequestIDHeader, x.id)
	h.Set("X-Content-Type-Options", "nosniff")
	s.o.Headers(h)

	s.run(x, r)
	if x.err != nil {
		s.fail(x, r)
	}
	s.o.Logger.Debug("request", "request_id", x.id, "method", r.Method, "path", r.URL.Path, "status", x.w.status,
		"bytes", x.w.bytes, "took", time.Since(begun), "remote", r.RemoteAddr)
	status := strconv.Itoa(x.w.status)
	if x.w.cut {
		status = "cut"
	}
	s.o.Answered(x.route, status, time.Since(begun))
	if x.err != nil && x.w.cut {
		panic(http.ErrAbortHandler) // half an answer must not look whole
	}
}

// run finds and calls the handler; a panic becomes an error.
func (s *Server) run(x *exchange, r *http.Request) {
	defer func() {
		switch p := recover(); p {
		case nil:
		case http.ErrAbortHandler:
			x.err = http.ErrAbortHandler
		default:
			s.o.Logger.Error("handler panicked", "request_id", x.id, "path", r.URL.Path, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			x.err = schema.Errorf(schema.Internal, "something went wrong on our side; the log has the cause")
		}
	}()
	s.echo.ServeHTTP(x.w, r)
}

// fail answers with the error of the handler, or marks the answer as cut when it had already begun.
func (s *Server) fail(x *exchange, r *http.Request) {
	if e, ok := errors.AsType[*http.MaxBytesError](x.err); ok {
		x.err = schema.Errorf(schema.TooLarge, "the body is longer than %d bytes", e.Limit)
	}
	gone := r.Context().Err() != nil
	level := slog.LevelDebug
	if schema.Is(x.err, schema.Internal) && !gone {
		level = slog.LevelError
	}
	s.o.Logger.Log(r.Context(), level, "request was not answered as asked", "request_id", x.id, "method", r.Method, "path", r.URL.Path, "error", x.err)
	if x.w.status != 0 || errors.Is(x.err, http.ErrAbortHandler) {
		x.w.cut = true
		return
	}
	if !s.o.Fail(x.w, r, x.err) {
		Problem(x.w, x.err)
	}
}

func requestID(r *http.Request) string {
	id := r.Header.Get(RequestIDHeader)
	word := func(c rune) bool {
		return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '-' || c == '_'
	}
	if len(id) >= 8 && len(id) <= 64 && strings.IndexFunc(id, func(c rune) bool { return !word(c) }) < 0 {
		return id
	}
	return credentials.NewKey("")[:20]
}

// responseWriter remembers what was written.
type responseWriter struct {
	http.ResponseWriter
	status int // 0: nothing yet
	bytes  int64
	cut    bool // the answer had begun when the handler gave up
}

// WriteHeader notes the status.
func (w *responseWriter) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write notes how much was written.
func (w *responseWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

// ReadFrom lets files go the short way.
func (w *responseWriter) ReadFrom(r io.Reader) (int64, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := io.Copy(w.ResponseWriter, r)
	w.bytes += n
	return n, err
}

// Unwrap is for http.ResponseController.
func (w *responseWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
