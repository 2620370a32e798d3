package httpgate

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"

	"berth/ingest/gate/intake"
	"berth/schema"
)

// body is the body of a request, decompressed, within its limits of size and time.
type body struct {
	in      *intake.Intake
	control *http.ResponseController
	raw     *clocked
	plain   io.Reader // raw, decompressed
	unzip   *gzip.Reader
	start   time.Time
	size    int // decompressed, so far
	guess   int // of the decompressed size
}

var (
	errTooLarge = schema.Errorf(schema.TooLarge, "the body is larger than %d bytes", schema.MaxBody).WithNext("send it in smaller ones")
	errCut      = schema.Errorf(schema.Invalid, "the body did not come whole, or too slowly")
	errShort    = schema.Errorf(schema.Invalid, "the gzip data in the body are cut short")
	errGzip     = schema.Errorf(schema.Invalid, "the body is not what gzip makes")
)

// errPacked is in the chain of an error that says that a body came whole and cannot be decompressed.
var errPacked = errors.New("the body cannot be decompressed")

// unzippers keeps the memory of decompressors.
var unzippers sync.Pool

// openBody returns the body of a request; close gives back what it uses.
func (l *Listener) openBody(w http.ResponseWriter, r *http.Request) (*body, error) {
	if r.ContentLength > schema.MaxBody {
		return nil, errTooLarge
	}
	b := &body{in: l.in, control: http.NewResponseController(w), start: time.Now(), guess: int(r.ContentLength)}
	b.raw = &clocked{b: b, r: http.MaxBytesReader(w, r.Body, schema.MaxBody)}
	switch encoding := strings.ToLower(r.Header.Get("Content-Encoding")); encoding {
	case "", "identity":
		b.plain = b.raw
	case "gzip", "x-gzip":
		unzip, ok := unzippers.Get().(*gzip.Reader)
		if !ok {
			unzip = new(gzip.Reader)
		}
		b.unzip, b.plain, b.guess = unzip, unzip, 8*b.guess
		if err := unzip.Reset(b.raw); err != nil {
			b.close()
			return nil, b.broken(err)
		}
	default:
		return nil, schema.Errorf(schema.Invalid, "content encoding %q is unknown", encoding).WithNext("send it plain or with gzip")
	}
	return b, nil
}

// clocked gives each read of a body the time that a body as large as it has become may take.
type clocked struct {
	b    *body
	r    io.Reader
	size int
	err  error // how it ended
}

// Read reads some of the body.
func (c *clocked) Read(p []byte) (int, error) {
	_ = c.b.control.SetReadDeadline(c.b.start.Add(c.b.in.Limits.FrameTime(c.size))) // a closed connection fails at the read
	n, err := c.r.Read(p)
	c.size += n
	if err != nil { // it has ended: from now on the client waits for us
		c.err = err
		_ = c.b.control.SetReadDeadline(time.Time{}) // a closed connection is noticed when it is written to
	}
	return n, err
}

// fill reads until p is full or the body ends, and returns io.EOF then.
func (b *body) fill(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var got int
		got, err = b.plain.Read(p[n:])
		n += got
	}
	if b.size += n; b.size > schema.MaxBody {
		return n, errTooLarge
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = b.broken(err)
	}
	return n, err
}

// broken returns what the client is told when its body cannot be read.
func (b *body) broken(err error) error {
	_, large := errors.AsType[*http.MaxBytesError](err)
	switch {
	case large:
		return errTooLarge
	case b.raw.err != nil && !errors.Is(b.raw.err, io.EOF):
		return errCut.WithCause(err)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF): // the body came whole
		return errShort.WithCause(errors.Join(errPacked, err))
	default:
		return errGzip.WithCause(errors.Join(errPacked, err))
	}
}

// close gives back what the body uses.
func (b *body) close() {
	if b.unzip != nil {
		unzippers.Put(b.unzip)
		b.unzip = nil
	}
}
