package frames

import (
	"io"

	"berth/ingest/gate/intake"
)

// input is what was read and not yet consumed. Its buffer is there only while there is something in it.
type input struct {
	s     *session
	buf   []byte
	r, w  int
	skip  int  // bytes of a payload that is not wanted
	timed bool // the deadline is that of the frame that has begun
}

// data returns what was read and not yet consumed.
func (in *input) data() []byte { return in.buf[in.r:in.w] }

// empty reports whether there is nothing, and nothing is to be skipped.
func (in *input) empty() bool { return in.r == in.w && in.skip == 0 }

// begun reports whether a frame has begun and is not whole.
func (in *input) begun() bool {
	d := in.data()
	return len(d) >= 4 && string(d[:4]) == "PUT "
}

// consume drops n bytes from the front.
func (in *input) consume(n int) {
	in.r += n
	in.timed = false
}

// skipSome drops what is to be skipped, as far as it has come.
func (in *input) skipSome() {
	if in.skip > 0 {
		n := min(in.skip, in.w-in.r)
		in.r += n
		in.skip -= n
	}
}

// readSmall reads without a buffer and takes one when something came.
func (in *input) readSmall() error {
	p, err := in.s.conn.ReadSmall()
	if len(p) == 0 {
		return noMore(err)
	}
	if in.buf, err = in.s.in.TakeBuffer(in.s.in.Context(), intake.SmallBuffer); err != nil {
		return err
	}
	in.r, in.w = 0, copy(in.buf, p)
	return nil
}

// read reads more into the buffer, after making room for what begins in it and is total bytes long at least.
func (in *input) read(total int) error {
	if in.buf == nil {
		return in.readSmall()
	}
	if in.skip > 0 {
		total = 0
	}
	if err := in.makeRoom(total); err != nil {
		return err
	}
	n, err := in.s.conn.Read(in.buf[in.w:])
	in.w += n
	if n == 0 {
		return noMore(err)
	}
	if in.w == len(in.buf) && in.w == intake.SmallBuffer && in.s.conn.Known() {
		in.grow(in.s.in.TryBuffer(intake.MediumBuffer)) // there is more, probably; without memory for it, it goes on as it is
	}
	return nil
}

// noMore returns why nothing was read.
func noMore(err error) error {
	if err == nil {
		return io.ErrNoProgress
	}
	return err
}

// makeRoom moves what there is to the front, or into a larger buffer.
func (in *input) makeRoom(total int) error {
	if total > len(in.buf) {
		larger, err := in.s.in.TakeBuffer(in.s.in.Context(), total)
		if err != nil {
			return err
		}
		in.grow(larger)
		return nil
	}
	if in.r > 0 && (in.w == len(in.buf) || in.r+total > len(in.buf) || in.r == in.w) {
		in.w = copy(in.buf, in.data())
		in.r = 0
	}
	return nil
}

// grow goes on with a larger buffer, if it is one.
func (in *input) grow(larger []byte) {
	if larger == nil {
		return
	}
	in.w = copy(larger, in.data())
	in.r = 0
	in.s.in.GiveBuffer(in.buf)
	in.buf = larger
}

// release gives the buffer back.
func (in *input) release() {
	in.s.in.GiveBuffer(in.buf)
	in.buf, in.r, in.w, in.timed = nil, 0, 0, false
}
