package coap

import (
	"hash/maphash"
	"time"

	"berth/ingest/commit"
	"berth/ingest/gate/coap/packet"
	"berth/ingest/gate/intake"
	"berth/schema"
)

const (
	// maxBodies is how many bodies may be received in blocks at once, and maxBodiesEach is how many of one gateway.
	maxBodies     = 1024
	maxBodiesEach = 16
	// bodyIdle is how long no block may come before a body is forgotten: longer than a block may be repeated, which is
	// MAX_TRANSMIT_WAIT (RFC 7252 §4.8.2).
	bodyIdle = 2 * time.Minute
	// bodyYield is how long a body must have been idle to make room for another.
	bodyYield = 10 * time.Second
)

// body is a body that is being received in blocks.
type body struct {
	buf     []byte // of the memory that payloads may take together
	have    int
	gateway string
	last    time.Time
}

// assemble returns the body of a request when all of it is there; nil: there is more to come, and the block was answered.
func (r *reader) assemble(q *request) ([]byte, error) {
	at, inBlocks := q.Block()
	if !inBlocks {
		return q.Payload, nil
	}
	size := at.Size()
	switch from := at.Number() * size; {
	case size == 0: // RFC 7959 §2.2
		return nil, schema.Errorf(schema.Invalid, "the size of the block is the reserved one")
	case at.More() && len(q.Payload) != size, !at.More() && len(q.Payload) > size:
		return nil, schema.Errorf(schema.Invalid, "a block of %d bytes has %d", size, len(q.Payload))
	case max(q.Size1(), from+len(q.Payload)) > schema.MaxFrame:
		r.dropBody(r.bodyKey(q))
		r.l.refused(intake.ReasonFrameSize)
		return nil, schema.Errorf(schema.TooLarge, "a body is longer than %d bytes", schema.MaxFrame)
	case from == 0 && !at.More():
		return q.Payload, nil
	default:
		return r.block(q, at, from)
	}
}

// block adds a block to its body.
func (r *reader) block(q *request, at packet.Block, from int) ([]byte, error) {
	key := r.bodyKey(q)
	if from == 0 { // RFC 7959 §2.5: it begins anew
		r.dropBody(key)
		if err := r.openBody(key, q); err != nil {
			return nil, err
		}
	}
	b := r.bodies[key]
	switch {
	case b == nil || from > b.have:
		return nil, schema.Errorf(schema.Unavailable, "the blocks before it are not here").WithNext("send the body from its beginning").WithCause(errIncomplete)
	case from+len(q.Payload) > b.have: // else it is here already
		if err := r.grow(b, from+len(q.Payload)); err != nil {
			return nil, err
		}
		b.have = from + copy(b.buf[from:], q.Payload)
	}
	b.last = q.came
	if !at.More() {
		return b.buf[:from+len(q.Payload)], nil
	}
	a := packet.Answer{Code: packet.Continue, Block: at, HasBlock: true} // §2.9.1
	r.answer(q, &a)
	r.l.remember(q, &a)
	return nil, nil
}

// openBody makes room for a body.
func (r *reader) openBody(key uint64, q *request) error {
	each := 0
	for other, b := range r.bodies {
		if len(r.bodies) >= maxBodies && q.came.Sub(b.last) > bodyYield {
			r.dropBody(other)
		} else if b.gateway == q.id.Gateway {
			each++
		}
	}
	if len(r.bodies) >= maxBodies || each >= maxBodiesEach {
		return later(schema.Errorf(schema.Unavailable, "too many bodies are being received in blocks"), slowAge)
	}
	buf := r.l.in.TryBuffer(intake.SmallBuffer)
	if buf == nil {
		return later(errMemory, slowAge)
	}
	r.bodies[key] = &body{buf: buf, gateway: q.id.Gateway, last: q.came}
	return nil
}

var errMemory = schema.Errorf(schema.Unavailable, "too much is being received at once")

// grow makes room for so many bytes of a body.
func (r *reader) grow(b *body, n int) error {
	if n <= len(b.buf) {
		return nil
	}
	larger := r.l.in.TryBuffer(max(n, min(4*len(b.buf), intake.LargeBuffer)))
	if larger == nil {
		return later(errMemory, slowAge)
	}
	copy(larger, b.buf[:b.have])
	r.l.in.GiveBuffer(b.buf)
	b.buf = larger
	return nil
}

// bodyKey returns what all blocks of a body have in common (RFC 7959 §2.5).
func (r *reader) bodyKey(q *request) uint64 {
	var h maphash.Hash
	h.SetSeed(r.l.seed)
	q.peer.hash(&h)
	_ = h.WriteByte(byte(q.Code))                 // it never returns an error
	q.Whole(func(p []byte) { _, _ = h.Write(p) }) // nor does this
	return h.Sum64()
}

// dropBody forgets a body that is not whole.
func (r *reader) dropBody(key uint64) {
	if b := r.bodies[key]; b != nil {
		r.l.in.GiveBuffer(b.buf)
		delete(r.bodies, key)
		r.l.in.Committer.Count(commit.Counts{FramesGivenUp: 1})
	}
}

// finishBody forgets a body that was taken, or refused as a whole.
func (r *reader) finishBody(q *request) {
	at, inBlocks := q.Block()
	if !inBlocks || at.Number() == 0 {
		return
	}
	key := r.bodyKey(q)
	if b := r.bodies[key]; b != nil {
		r.l.in.GiveBuffer(b.buf)
		delete(r.bodies, key)
	}
}

// tooLarge refuses a datagram that is longer than what is read: its body is to be sent in blocks (RFC 7959 §2.9.3).
func (r *reader) tooLarge(q *request) {
	r.l.refused(intake.ReasonFrameSize)
	r.answer(q, &packet.Answer{
		Code: packet.TooLarge, Block: wantedBlock, HasBlock: true, Size1: schema.MaxFrame,
		Payload: "the datagram is too long: send the body in blocks",
	})
}

// wantedBlock is the block that is asked for: the first, of 1024 bytes, and more to come.
const wantedBlock packet.Block = 0<<4 | 1<<3 | 6
