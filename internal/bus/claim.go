package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"berth/schema"
)

// A claim names the last sequence that it expects, so that it carries on from the message before it and from no other.
// While another writer is busy that could fail for ever. Then a fence goes first, which expects nothing: it ends the
// other writer's chain, and the claim follows it. A fence is a claim too, for readers, but what it carries may be
// outdated; a claimant looks past it.
const fenceHeader = "Berth-Fence"

// ErrUnreadable is returned by a claim's payload for a message that it cannot carry on from.
var ErrUnreadable = errors.New("the message cannot be read")

// mostLookedPast is how many messages that cannot be read, or are lost, a claim looks past.
const mostLookedPast = 32

// message is a message of the log.
type message struct {
	id       string // empty when there is no message: then the log goes on after sequence
	sequence uint64
	fence    bool
	time     time.Time
	data     []byte
}

// permanent is an error that another attempt will not mend.
type permanent struct{ error }

// Claim makes the caller the log's one writer: it publishes a claim behind everything in the log, after which the log
// takes batches only from the returned Writer, until the next claim. id must never have been used before. above is the
// highest sequence that the keyspace knows: a log that begins anew, empty, begins above it. payload returns the claim's
// data; it is given that of the log's last message, nil if there is none, and may be called several times: when it returns
// ErrUnreadable, with the message before that. The claim's sequence is the end mark for reading what came before. Claim
// tries until ctx ends; Unavailable if the log is so full that not even a claim fits, *OlderLogError if it holds messages
// and ends before above.
func (l *Log) Claim(
	ctx context.Context, id string, above uint64, payload func(prev []byte) ([]byte, error),
) (*Writer, uint64, error) {
	for attempt := 1; ; attempt++ {
		c := claimant{log: l, claim: id, above: above, payload: payload}
		if attempt > 1 {
			c.claim = fmt.Sprintf("%s-%d", id, attempt) // the outcome of the one before is unknown
		}
		sequence, err := c.try(ctx)
		if err == nil {
			w, err := newWriter(l, c.claim, sequence)
			return w, sequence, err
		}
		if stop, ok := errors.AsType[*permanent](err); ok {
			return nil, 0, fmt.Errorf("claim the log: %w", stop.error)
		}
		if attempt == 1 {
			l.conn.log.Warn("the log is claimed anew", "claim", id, "error", err)
		}
		if wait(ctx, reconnectDelay(attempt)) != nil {
			return nil, 0, fmt.Errorf("claim the log: %w", err)
		}
	}
}

// claimant makes one attempt.
type claimant struct {
	log     *Log
	claim   string
	above   uint64
	payload func(prev []byte) ([]byte, error)
}

func (c *claimant) try(ctx context.Context) (sequence uint64, err error) {
	mark, err := c.log.mark(ctx) // a log that begins anew does not begin among what is taken for trimmed
	if err != nil {
		return 0, err
	}
	last, err := c.log.last(ctx)
	if err != nil {
		return 0, err
	}
	if above := max(c.above, mark); last.sequence < above {
		if err := c.log.begin(ctx, above+1); err != nil {
			return 0, err
		}
		last = message{sequence: above}
	}
	sequence, err = c.publish(ctx, last, false)
	if api, ok := errors.AsType[*jetstream.APIError](err); !ok || api.ErrorCode != codeWrongSequence {
		return sequence, err
	}
	fence, err := c.publish(ctx, last, true)
	if err != nil {
		return 0, err
	}
	return c.publish(ctx, message{sequence: fence, fence: true}, false)
}

// publish publishes the claim directly behind last, or a fence behind anything.
func (c *claimant) publish(ctx context.Context, last message, fence bool) (sequence uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	data, err := c.carryOn(ctx, last)
	if err != nil {
		return 0, err
	}
	id := newChain(c.claim, 0).id(0)
	msg := &nats.Msg{Subject: logSubject, Data: data}
	options := []jetstream.PublishOpt{jetstream.WithRetryAttempts(0)}
	if fence {
		msg.Header = nats.Header{fenceHeader: {"1"}}
		options = append(options, jetstream.WithMsgID(id+".fence"))
	} else {
		options = append(options, jetstream.WithMsgID(id), jetstream.WithExpectLastSequence(last.sequence))
	}
	ack, err := c.log.conn.js.PublishMsg(ctx, msg, options...)
	if api, ok := errors.AsType[*jetstream.APIError](err); ok && verdictOf(api.ErrorCode) == noRoom {
		return 0, &permanent{schema.Errorf(schema.Unavailable, "the log is full").
			WithNext("raise its quota, or wait until the keyspace takes what it holds").WithCause(err)}
	}
	if err != nil {
		return 0, failed("publish a claim", err)
	}
	c.log.bytes.Add(int64(len(data) + messageOverhead))
	return ack.Sequence, nil
}

// carryOn returns the claim's data, which carries on from last, or from the newest message before it that can be read.
func (c *claimant) carryOn(ctx context.Context, last message) ([]byte, error) {
	prev, err := c.log.lookPast(ctx, last)
	if err != nil {
		return nil, err
	}
	for n := 0; n <= mostLookedPast && prev.sequence > 0; n++ {
		if prev.data != nil { // else it is lost, or there never was one
			data, err := c.payload(prev.data)
			if err == nil {
				return data, nil
			}
			if !errors.Is(err, ErrUnreadable) {
				return nil, &permanent{err}
			}
		}
		before := prev.sequence - 1
		if before == 0 {
			break // there never was a message before the first
		}
		if prev, err = c.log.get(ctx, fmt.Sprintf(`{"seq":%d}`, before)); err != nil {
			return nil, err
		}
		prev.sequence = before
	}
	data, err := c.payload(nil)
	if err != nil {
		return nil, &permanent{err}
	}
	return data, nil
}

// OlderLogError says that a log holds messages and yet ends before what the keyspace knows: it was restored from an older
// copy, or is not the keyspace's log at all.
type OlderLogError struct {
	LogState
	Above uint64 // the highest sequence that the keyspace knows
}

func (e *OlderLogError) Error() string {
	return fmt.Sprintf("the log ends at message %d, and the keyspace already has what came up to %d", e.Last, e.Above)
}

// begin moves the end of an empty log that is behind the keyspace, so that its next message has the given sequence.
func (l *Log) begin(ctx context.Context, sequence uint64) error {
	s, err := l.State(ctx)
	if err != nil {
		return err
	}
	if s.Messages > 0 {
		return &permanent{&OlderLogError{s, sequence - 1}}
	}
	return failed("move the log's end", l.stream.Purge(ctx, jetstream.WithPurgeSequence(sequence)))
}

// Abandon gives up what the log holds, if it ends at last: a log that an [OlderLogError] told of and that nobody wants.
// It is empty then, and begins anew with the next claim.
func (l *Log) Abandon(ctx context.Context, last uint64) error {
	s, err := l.State(ctx)
	if err != nil || s.Messages == 0 || s.Last != last {
		return err
	}
	l.conn.log.Warn("what the log holds is given up, as ordered", "first", s.First, "last", s.Last, "messages", s.Messages)
	return failed("empty the log", l.stream.Purge(ctx))
}

// lookPast returns the newest message that is no fence, from m backwards; m when there is none.
func (l *Log) lookPast(ctx context.Context, m message) (message, error) {
	for at := m; at.fence; {
		before, err := l.get(ctx, fmt.Sprintf(`{"seq":%d}`, at.sequence-1))
		switch {
		case err != nil:
			return message{}, err
		case before.id == "":
			return m, nil
		case !before.fence:
			return before, nil
		}
		at = before
	}
	return m, nil
}

// last returns the log's last message. Its leader is asked, as for all that decides something. A server whose disk failed
// at a sync may give, from memory, a message that it has not counted as stored: that is an error here, and Unavailable.
func (l *Log) last(ctx context.Context) (message, error) {
	ctx, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	state, err := l.State(ctx)
	if err != nil {
		return message{}, err
	}
	m, err := l.get(ctx, `{"last_by_subj":"`+logSubject+`"}`)
	if err != nil {
		return message{}, err
	}
	if m.id == "" {
		m.sequence = state.Last
		return m, nil
	}
	if state, err = l.State(ctx); err != nil {
		return message{}, err
	}
	if m.sequence > state.Last {
		return message{}, schema.Errorf(schema.Unavailable, "message %d of the log is not stored: its disk failed", m.sequence)
	}
	return m, nil
}

// get asks for one message; without an id there is none.
func (l *Log) get(ctx context.Context, request string) (message, error) {
	msg, err := l.conn.nc.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+logStream, []byte(request))
	if err != nil {
		return message{}, failed("get a message of the log", err)
	}
	var answer struct {
		Error   *jetstream.APIError `json:"error"`
		Message struct {
			Sequence uint64    `json:"seq"`
			Header   []byte    `json:"hdrs"`
			Data     []byte    `json:"data"`
			Time     time.Time `json:"time"`
		} `json:"message"`
	}
	if err := json.Unmarshal(msg.Data, &answer); err != nil {
		return message{}, fmt.Errorf("read a message of the log: %w", err)
	}
	switch {
	case answer.Error != nil && answer.Error.ErrorCode == codeNoMessage:
		return message{}, nil
	case answer.Error != nil:
		return message{}, failed("get a message of the log", answer.Error)
	}
	header, err := nats.DecodeHeadersMsg(answer.Message.Header)
	if err != nil {
		return message{}, fmt.Errorf("read the header of message %d: %w", answer.Message.Sequence, err)
	}
	return message{
		id: header.Get(nats.MsgIdHdr), sequence: answer.Message.Sequence, data: answer.Message.Data,
		fence: header.Get(fenceHeader) != "", time: answer.Message.Time,
	}, nil
}
