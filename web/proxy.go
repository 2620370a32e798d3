package web

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"sync"
	"time"

	"berth/internal/httpserver"
	"berth/schema"
)

// kept are the headers of a request that reports may see. Cookies and tokens are not among them.
var kept = []string{"Accept", "Accept-Language", "Last-Event-Id", "Range", "If-None-Match", "User-Agent"}

// pass hands a request of the API on to a reports instance of the provider and its answer back, as it comes. A request
// that goes on is asked again now and then whether it still may.
func (w *Web) pass(rw http.ResponseWriter, r *http.Request) error {
	p := requestOf(r).provider
	stream := httpserver.NewStream(rw, r)
	defer stream.Close()
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	stop := w.keepAsking(r, cancel)
	defer stop()

	var failed error
	proxy := &httputil.ReverseProxy{
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.Out.URL.Scheme, pr.Out.URL.Host = "http", p.Name // RoundTrip finds the instance
			header := http.Header{httpserver.RequestIDHeader: {httpserver.RequestID(r)}}
			for _, k := range kept {
				if v := pr.In.Header.Values(k); len(v) > 0 {
					header[k] = v
				}
			}
			pr.Out.Header = header
			pr.Out.Body = http.NoBody
			pr.Out.ContentLength = 0
		},
		Transport:     w.up,
		FlushInterval: -1, // each write goes out at once
		BufferPool:    &w.passing,
		ModifyResponse: func(resp *http.Response) error {
			if resp.StatusCode == http.StatusUnauthorized { // our signature, not the visitor's sign-in
				return errors.New("reports refuses our signature")
			}
			for k := range rw.Header() {
				resp.Header.Del(k) // ours hold
			}
			resp.Header.Del("Set-Cookie")
			return nil
		},
		ErrorLog:     slog.NewLogLogger(w.o.Logger.Handler(), slog.LevelDebug),
		ErrorHandler: func(_ http.ResponseWriter, _ *http.Request, err error) { failed = err },
	}
	proxy.ServeHTTP(&streamWriter{ResponseWriter: rw, stream: stream}, r.WithContext(ctx))
	if failed == nil {
		return nil
	}
	if cause := context.Cause(ctx); cause != nil && schema.Is(cause, schema.Unauthorized) {
		return cause
	}
	if _, ok := errors.AsType[*schema.Error](failed); ok {
		return failed
	}
	if ctx.Err() != nil {
		return whyAway(failed)
	}
	return failed
}

// passBuffers are what answers are handed on by way of; they are kept between requests. The zero value is ready.
type passBuffers struct{ free sync.Pool }

// passBytes is the length of one.
const passBytes = 64 << 10

// Get returns a buffer.
func (p *passBuffers) Get() []byte {
	b, ok := p.free.Get().(*[passBytes]byte)
	if !ok {
		b = new([passBytes]byte)
	}
	return b[:]
}

// Put takes one back.
func (p *passBuffers) Put(b []byte) { p.free.Put((*[passBytes]byte)(b)) }

// keepAsking ends a request that goes on when its sign-in, its token or its provider is no longer good.
func (w *Web) keepAsking(r *http.Request, end context.CancelCauseFunc) (stop func()) {
	done := make(chan struct{})
	go func() {
		tick := time.NewTicker(w.recheck)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			ctx, cancel := context.WithTimeout(context.Background(), w.recheck) // not r's: it holds the session as it was
			_, _, err := w.allow(requestOf(r).route, r.WithContext(ctx))
			cancel()
			if err != nil && !schema.Is(err, schema.Unavailable) && !schema.Is(err, schema.Internal) {
				end(schema.Errorf(schema.Unauthorized, "the sign-in or token has ended").WithCause(err))
				return
			}
		}
	}()
	return func() { close(done) }
}

// streamWriter writes through a stream, whose time limit is that of each write.
type streamWriter struct {
	http.ResponseWriter
	stream *httpserver.Stream
}

// Write sends p.
func (s *streamWriter) Write(p []byte) (int, error) { return s.stream.Write(p) }

// FlushError sends out what was written.
func (s *streamWriter) FlushError() error { return s.stream.Flush() }
