package intake

import (
	"context"
	"sync"
	"time"

	"berth/schema"
)

// The sizes of buffers. Small ones are bounded by the number of connections; all others count against the memory that
// payloads may take together.
const (
	SmallBuffer  = 4 << 10
	MediumBuffer = 64 << 10
	PieceBuffer  = 256 << 10
	LargeBuffer  = schema.MaxFrame + SmallBuffer // a frame and its line
)

var sizes = [...]int{SmallBuffer, MediumBuffer, PieceBuffer, LargeBuffer}

var pools [len(sizes)]sync.Pool

// memoryWait is how long a sender waits for memory before he is told to come back.
const memoryWait = 30 * time.Second

// TakeBuffer returns a buffer of at least n bytes. It waits while others have the memory; the error is Unavailable.
func (in *Intake) TakeBuffer(ctx context.Context, n int) ([]byte, error) {
	class, size := classOf(n)
	if size > SmallBuffer && !in.memory.TryTake(int64(size)) {
		limited, cancel := context.WithTimeout(ctx, memoryWait)
		err := in.memory.Take(limited, int64(size))
		cancel()
		if err != nil {
			return nil, schema.Errorf(schema.Unavailable, "too much is being received at once").WithNext("send it again in a few seconds").WithCause(err)
		}
	}
	return buffer(class, size), nil
}

// TryBuffer returns a buffer of at least n bytes if there is memory for it now, else nil.
func (in *Intake) TryBuffer(n int) []byte {
	class, size := classOf(n)
	if size > SmallBuffer && !in.memory.TryTake(int64(size)) {
		return nil
	}
	return buffer(class, size)
}

// GiveBuffer gives a buffer back; nil is none.
func (in *Intake) GiveBuffer(b []byte) {
	if b == nil {
		return
	}
	b = b[:cap(b)]
	if len(b) > SmallBuffer {
		in.memory.Give(int64(len(b)))
	}
	if class, size := classOf(len(b)); class >= 0 && size == len(b) {
		pools[class].Put(&b)
	}
}

// TryHold takes n bytes of the memory that payloads may take together, for what was decoded and cannot be handed on yet;
// false: there are none. Release gives them back.
func (in *Intake) TryHold(n int64) bool { return in.memory.TryTake(n) }

// Release gives back what TryHold took.
func (in *Intake) Release(n int64) { in.memory.Give(n) }

// classOf returns the pool that has buffers of n bytes and their size; class -1 for those that are in none.
func classOf(n int) (class, size int) {
	for i, size := range sizes {
		if n <= size {
			return i, size
		}
	}
	return -1, n
}

func buffer(class, size int) []byte {
	if class >= 0 {
		if p, ok := pools[class].Get().(*[]byte); ok {
			return *p
		}
	}
	b := make([]byte, size)
	return b[:size:size]
}
