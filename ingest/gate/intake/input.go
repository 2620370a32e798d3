package intake

import (
	"io"
)

// Input is what was read of a connection and not yet consumed. Its buffer is there only while there is something in it: a
// connection that waits has none. It is for one reader.
type Input struct {
	// Timed says that the deadline is that of the frame that has begun. It ends with what is consumed.
	Timed bool

	in   *Intake
	conn *Conn
	buf  []byte
	r, w int
	skip int // bytes of a payload that is not wanted
}

// Input returns the input of a connection, of which nothing was read yet. Release gives back what it uses.
func (in *Intake) Input(c *Conn) Input { return Input{in: in, conn: c} }

// Begin puts in what somebody else has read of the connection, before anything is read.
func (i *Input) Begin(p []byte) (err error) {
	if len(p) == 0 {
		return nil
	}
	if i.buf, err = i.in.TakeBuffer(i.in.Context(), max(len(p), SmallBuffer)); err != nil {
		return err
	}
	i.r, i.w = 0, copy(i.buf, p)
	return nil
}

// Data returns what was read and not yet consumed.
func (i *Input) Data() []byte { return i.buf[i.r:i.w] }

// Empty reports whether there is nothing, and nothing is to be skipped.
func (i *Input) Empty() bool { return i.r == i.w && i.skip == 0 }

// Consume drops n bytes from the front.
func (i *Input) Consume(n int) {
	i.r += n
	i.Timed = false
}

// Skip has the next n bytes dropped, whether they have come yet or not.
func (i *Input) Skip(n int) { i.skip = n }

// Skipped drops what is to be skipped, as far as it has come, and returns how many bytes are missing of it.
func (i *Input) Skipped() int {
	if i.skip > 0 {
		n := min(i.skip, i.w-i.r)
		i.r += n
		i.skip -= n
	}
	return i.skip
}

// ReadSmall reads without a buffer and takes one when something came. It is for when there is nothing.
func (i *Input) ReadSmall() error {
	p, err := i.conn.ReadSmall()
	if len(p) == 0 {
		return noMore(err)
	}
	if i.buf, err = i.in.TakeBuffer(i.in.Context(), SmallBuffer); err != nil {
		return err
	}
	i.r, i.w = 0, copy(i.buf, p)
	return nil
}

// Read reads more into the buffer, after making room for what begins in it and is total bytes long at least.
func (i *Input) Read(total int) error {
	if i.buf == nil {
		return i.ReadSmall()
	}
	if i.skip > 0 {
		total = 0
	}
	if err := i.makeRoom(total); err != nil {
		return err
	}
	n, err := i.conn.Read(i.buf[i.w:])
	i.w += n
	if n == 0 {
		return noMore(err)
	}
	if i.w == len(i.buf) && i.w == SmallBuffer && i.conn.Known() {
		i.grow(i.in.TryBuffer(MediumBuffer)) // there is more, probably; without memory for it, it goes on as it is
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

// makeRoom moves what there is to the front, or into a larger buffer when it fills the one that there is: what a sender has only
// announced takes no memory.
func (i *Input) makeRoom(total int) error {
	if total > len(i.buf) && len(i.Data()) == len(i.buf) {
		larger, err := i.in.TakeBuffer(i.in.Context(), min(total, 4*len(i.buf)))
		if err != nil {
			return err
		}
		i.grow(larger)
		return nil
	}
	if i.r > 0 && (i.w == len(i.buf) || i.r+total > len(i.buf) || i.r == i.w) {
		i.w = copy(i.buf, i.Data())
		i.r = 0
	}
	return nil
}

// grow goes on with a larger buffer, if it is one.
func (i *Input) grow(larger []byte) {
	if larger == nil {
		return
	}
	i.w = copy(larger, i.Data())
	i.r = 0
	i.in.GiveBuffer(i.buf)
	i.buf = larger
}

// Release gives the buffer back.
func (i *Input) Release() {
	i.in.GiveBuffer(i.buf)
	i.buf, i.r, i.w, i.Timed = nil, 0, 0, false
}
