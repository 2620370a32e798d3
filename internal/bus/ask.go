package bus

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"berth/schema"
)

// A question is one message on its subject, with an inbox. The answer comes to the inbox in pieces:
//
//	kind (1 byte) | number of the piece, from 0 (4 bytes, big endian) | data
//
//	kind 'd'  the end of a chunk, or all of it       kind 'e'  the end of the answer
//	kind 'c'  more of this chunk follows             kind 'x'  the answer failed: answerError, JSON
//	kind 'h'  nothing yet, but at work
//
// Each piece names a flow subject. To it the asker reports how much it has consumed (8 bytes, big endian), so that at
// most answerWindow is under way, or that it has given up (no bytes). A piece counts as its data and pieceCost, which
// bounds their number too.
const (
	pieceData  = 'd'
	pieceMore  = 'c'
	pieceEnd   = 'e'
	pieceError = 'x'
	pieceAlive = 'h'

	pieceHeader = 5
	pieceMost   = 128 << 10
	pieceCost   = 1 << 10
	chunkMost   = 64 << 20

	answerWindow = 2 << 20
	answerReport = answerWindow / 4 // the asker reports after so many bytes
	answerBeat   = time.Second
	answerSilent = 5 * time.Second  // an answer silent for so long has broken off
	askerSilent  = 30 * time.Second // an asker that reports nothing for so long while it should is gone
)

// answerError is an error as it travels.
type answerError struct {
	Code schema.Code `json:"code"`
	Text string      `json:"text"`
	Next string      `json:"next,omitempty"`
}

var errServerAway = errors.New("the NATS server went away")

// Ask puts a question and hands each chunk of the answer to chunk, in order; the data is chunk's. It returns what chunk
// returns, the error that whoever answers gave, or Unavailable when nobody answers or the answer breaks off.
func (c *Conn) Ask(ctx context.Context, subject string, request []byte, chunk func([]byte) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer c.watchState(func(up bool) {
		if !up {
			cancel(errServerAway)
		}
	})()
	sub, err := c.nc.SubscribeSync(c.nc.NewInbox())
	if err != nil {
		return failed("ask "+subject, err)
	}
	defer sub.Unsubscribe()                              //nolint:errcheck // without a server there is nothing to end
	if err := sub.SetPendingLimits(-1, -1); err != nil { // answerWindow bounds it
		return failed("ask "+subject, err)
	}
	if err := c.nc.PublishRequest(subject, sub.Subject, request); err != nil {
		return failed("ask "+subject, err)
	}
	q := &question{conn: c, chunk: chunk}
	if err := q.receive(ctx, sub); err != nil {
		if q.flow != "" && !q.ended {
			_ = c.nc.Publish(q.flow, nil) // if it is lost, silence says it
		}
		return failed("ask "+subject, err)
	}
	return nil
}

// question is the state of a question.
type question struct {
	conn     *Conn
	chunk    func([]byte) error
	flow     string // of the first who answered; others are ignored
	number   uint32 // of the next piece
	part     []byte // of a chunk that is not whole yet
	consumed uint64
	reported uint64
	ended    bool
}

func (q *question) receive(ctx context.Context, sub *nats.Subscription) error {
	for !q.ended {
		next, cancel := context.WithTimeout(ctx, answerSilent)
		msg, err := sub.NextMsgWithContext(next)
		cancel()
		switch {
		case err == nil:
		case context.Cause(ctx) != nil && !errors.Is(context.Cause(ctx), context.Canceled):
			return brokenOff(context.Cause(ctx))
		case ctx.Err() != nil:
			return ctx.Err()
		default:
			return brokenOff(err)
		}
		if err := q.piece(msg); err != nil {
			return err
		}
	}
	return nil
}

func brokenOff(cause error) error {
	if errors.Is(cause, nats.ErrNoResponders) {
		return schema.Errorf(schema.Unavailable, "nobody is there to answer").WithCause(cause)
	}
	if errors.Is(cause, context.DeadlineExceeded) {
		return schema.Errorf(schema.Unavailable, "the answer, or its end, did not come in time").WithCause(cause)
	}
	return schema.Errorf(schema.Unavailable, "the answer broke off").WithCause(cause)
}

func (q *question) piece(msg *nats.Msg) error {
	if len(msg.Data) < pieceHeader {
		return brokenOff(fmt.Errorf("a piece of %d bytes", len(msg.Data)))
	}
	if q.flow == "" {
		q.flow = msg.Reply
	}
	if q.flow != msg.Reply {
		return nil
	}
	kind, number, data := msg.Data[0], binary.BigEndian.Uint32(msg.Data[1:]), msg.Data[pieceHeader:]
	if number != q.number {
		return brokenOff(fmt.Errorf("piece %d came instead of %d", number, q.number))
	}
	q.number++
	switch kind {
	case pieceAlive:
		return nil
	case pieceMore, pieceData:
		return q.data(kind == pieceMore, data)
	case pieceEnd:
		q.ended = true
		return nil
	case pieceError:
		q.ended = true
		var e answerError
		if err := json.Unmarshal(data, &e); err != nil {
			return brokenOff(err)
		}
		return &schema.Error{Code: e.Code, Text: e.Text, Next: e.Next}
	default:
		return brokenOff(fmt.Errorf("a piece of kind %q", kind))
	}
}

func (q *question) data(more bool, data []byte) error {
	q.consumed += pieceCost + uint64(len(data))
	switch {
	case len(q.part)+len(data) > chunkMost:
		return schema.Errorf(schema.TooLarge, "a chunk of the answer is longer than %d bytes", chunkMost)
	case more:
		q.part = append(q.part, data...)
	default:
		if q.part != nil {
			data = append(q.part, data...)
			q.part = nil
		}
		if err := q.chunk(data); err != nil {
			return err
		}
	}
	return q.report()
}

// report tells whoever answers how much was consumed.
func (q *question) report() error {
	if q.consumed-q.reported < answerReport {
		return nil
	}
	q.reported = q.consumed
	if err := q.conn.nc.Publish(q.flow, binary.BigEndian.AppendUint64(nil, q.consumed)); err != nil {
		return brokenOff(err)
	}
	return nil
}
