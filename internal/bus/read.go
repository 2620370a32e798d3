package bus

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"berth/schema"
)

const (
	// readBytes and readMessages bound one portion of a reading; up to three are in memory.
	readBytes    = 4 << 20
	readMessages = syncQueue / 2
	// readPatience is how long a reading goes on trying without getting anything.
	readPatience = 30 * time.Second
)

// stored messages as they are read back.
type readMessage struct {
	sequence uint64
	data     []byte
}

// Read calls fn with the messages of the log from sequence from up to upTo, in order; the data is fn's. If the log was
// trimmed beyond from, or a trim was cut short there, it begins behind that. Every message is there: for one that the log has lost, because its bytes
// have rotted, fn is called with nil. One that is missing because the log was trimmed meanwhile is a Conflict, as is a log
// that ends before upTo. Read returns fn's error as it is.
func (l *Log) Read(ctx context.Context, from, upTo uint64, fn func(sequence uint64, data []byte) error) error {
	state, mark, err := l.extent(ctx)
	if err != nil {
		return fmt.Errorf("find where the log begins: %w", err)
	}
	next := max(from, state.First, mark+1)
	if next > upTo {
		return nil
	}
	if upTo > state.Last {
		return schema.Errorf(schema.Conflict, "the log ends at %d, before %d", state.Last, upTo)
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	portions := make(chan []readMessage, 1)
	var fetchErr error // set before portions is closed
	wg.Go(func() {
		defer close(portions)
		fetchErr = l.fetchAll(ctx, next, upTo, portions)
	})
	for portion := range portions {
		for _, m := range portion {
			for ; next < m.sequence; next++ {
				data, err := l.missing(ctx, next)
				if err != nil {
					return err
				}
				if err := fn(next, data); err != nil {
					return err
				}
			}
			if err := fn(m.sequence, m.data); err != nil {
				return err
			}
			next++
		}
	}
	if fetchErr != nil {
		return fmt.Errorf("read the log from %d: %w", next, fetchErr)
	}
	return nil
}

// extent returns what the log holds, and its mark. It has patience: in a cluster a stream has no leader for some seconds
// after a server has gone.
func (l *Log) extent(ctx context.Context) (state LogState, mark uint64, err error) {
	limit := time.Now().Add(readPatience)
	for attempt := 1; ; attempt++ {
		if state, err = l.State(ctx); err == nil {
			mark, err = l.mark(ctx)
		}
		if err == nil || !schema.Is(err, schema.Unavailable) || time.Now().After(limit) {
			return state, mark, err
		}
		if waitErr := wait(ctx, reconnectDelay(attempt)); waitErr != nil {
			return state, mark, err
		}
	}
}

// missing returns the data of a message that was not given, from the log's leader: nil if the log has lost it.
func (l *Log) missing(ctx context.Context, sequence uint64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	m, err := l.get(ctx, fmt.Sprintf(`{"seq":%d}`, sequence))
	if err != nil || m.sequence != 0 {
		return append([]byte{}, m.data...), err
	}
	state, err := l.State(ctx)
	if err == nil && (sequence < state.First || sequence > state.Last) {
		err = schema.Errorf(schema.Conflict, "message %d of the log is gone: it was trimmed while it was read", sequence)
	}
	return nil, err
}

// fetchAll hands over portions from next up to upTo.
func (l *Log) fetchAll(ctx context.Context, next, upTo uint64, portions chan<- []readMessage) error {
	limit := time.Now().Add(readPatience)
	for attempt := 1; next <= upTo; attempt++ {
		portion, err := l.fetch(ctx, next, upTo)
		if len(portion) == 0 && errors.Is(err, jetstream.ErrMsgNotFound) {
			if data, lostErr := l.missing(ctx, next); lostErr == nil {
				portion, err = []readMessage{{next, data}}, nil
			}
		}
		if len(portion) > 0 { // what came before an error is good
			select {
			case portions <- portion:
			case <-ctx.Done():
				return ctx.Err()
			}
			next = portion[len(portion)-1].sequence + 1
			attempt, limit = 0, time.Now().Add(readPatience)
		}
		if err == nil {
			continue
		}
		if time.Now().After(limit) {
			return err
		}
		if waitErr := wait(ctx, reconnectDelay(attempt)); waitErr != nil {
			return waitErr
		}
	}
	return nil
}

// fetch asks for one portion, and returns what came of it: without an error at least one message.
func (l *Log) fetch(ctx context.Context, from, upTo uint64) (portion []readMessage, err error) {
	return l.conn.fetch(ctx, logStream, fmt.Sprintf(`{"seq":%d,"batch":%d,"max_bytes":%d}`, from, min(upTo-from+1, readMessages), readBytes))
}

// fetch asks a stream for a portion of messages, and returns what came of it: without an error at least one message.
func (c *Conn) fetch(ctx context.Context, stream, request string) (portion []readMessage, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	nc := c.nc
	sub, err := nc.SubscribeSync(nc.NewInbox())
	if err != nil {
		return nil, failed("ask for messages", err)
	}
	defer sub.Unsubscribe()                              //nolint:errcheck // without a server there is nothing to end
	if err := sub.SetPendingLimits(-1, -1); err != nil { // the portion is bounded
		return nil, failed("ask for messages", err)
	}
	if err := nc.PublishRequest("$JS.API.DIRECT.GET."+stream, sub.Subject, []byte(request)); err != nil {
		return nil, failed("ask for messages", err)
	}
	for {
		msg, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			return portion, failed("wait for messages", err)
		}
		switch status := msg.Header.Get("Status"); status {
		case "":
		case "204": // the end of the portion
			if len(portion) == 0 {
				return nil, failed("ask for messages", jetstream.ErrMsgNotFound)
			}
			return portion, nil
		case "404":
			return portion, failed("ask for messages", jetstream.ErrMsgNotFound)
		default:
			return portion, schema.Errorf(schema.Unavailable, "messages are not given: status %s", status)
		}
		sequence, err := strconv.ParseUint(msg.Header.Get(jetstream.SequenceHeader), 10, 64)
		if err != nil {
			return portion, fmt.Errorf("read a message's sequence: %w", err)
		}
		portion = append(portion, readMessage{sequence, msg.Data})
	}
}
