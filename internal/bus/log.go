package bus

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"berth/schema"
)

const (
	// requestLimit bounds one request of many that are tried again.
	requestLimit = 5 * time.Second
	// trimStep is about how much one purge removes: the stream stands still meanwhile.
	trimStep = 64 << 20
	// claimReserve is room that batches leave in the quota, so that a claim fits into a log that is full: a start needs
	// one. A log of less than sixteen times as much leaves a sixteenth.
	claimReserve = 1 << 20
	// messageOverhead is more than a message of the log takes beside its data.
	messageOverhead = 512
)

// Codes of JetStream's answers that decide something.
const (
	codeNoMessage      jetstream.ErrorCode = 10037
	codeWrongSequence  jetstream.ErrorCode = 10071
	codeWrongMessageID jetstream.ErrorCode = 10070
	codeStoreFailed    jetstream.ErrorCode = 10077 // the stream's quota, of a stream that discards what is new
	codeStoreNotMade   jetstream.ErrorCode = 10049 // the folder of a new stream
	codeAccountFull    jetstream.ErrorCode = 10002
	codeServerFull     jetstream.ErrorCode = 10023
)

// Log is a provider's log. Its methods may be called concurrently.
type Log struct {
	conn   *Conn
	stream jetstream.Stream

	bytes atomic.Int64 // what the log holds, estimated from above between looks at it
	quota atomic.Int64
	limit atomic.Int64 // see Limit

	clustered atomic.Bool // the stream is one of a cluster, with one replica or several

	bucket  atomic.Pointer[Bucket] // of the mark; nil before its first use
	trimmed atomic.Uint64          // up to where the last Trim went; the last message stays all the same
}

// LogState is what a log holds.
type LogState struct {
	First    uint64 `json:"first"` // sequences; when there is no message First is Last + 1
	Last     uint64 `json:"last"`
	Messages uint64 `json:"messages"`
	Bytes    uint64 `json:"bytes"`
	Quota    uint64 `json:"quota"`
}

// OpenLog opens the log of the connection's account. While NATS does not answer it waits, until ctx ends.
func (c *Conn) OpenLog(ctx context.Context) (*Log, error) {
	l := &Log{conn: c}
	for attempt := 1; ; attempt++ {
		stream, err := c.js.Stream(ctx, logStream)
		if err == nil {
			l.stream = stream
			l.note(stream.CachedInfo())
			return l, nil
		}
		err = failed("open the log", err)
		if !schema.Is(err, schema.Unavailable) || wait(ctx, reconnectDelay(attempt)) != nil {
			return nil, err
		}
	}
}

// State returns what the log holds.
func (l *Log) State(ctx context.Context) (LogState, error) {
	info, err := l.stream.Info(ctx)
	if err != nil {
		return LogState{}, failed("look at the log", err)
	}
	return l.note(info), nil
}

// Limit bounds what the log may hold below the quota that its stream has: a stream that holds more than its new quota keeps
// the old one. It counts from the next State on; 0 is no bound.
func (l *Log) Limit(bytes int64) { l.limit.Store(bytes) }

// note remembers what the log held when it was looked at.
func (l *Log) note(info *jetstream.StreamInfo) LogState {
	s := LogState{
		First: info.State.FirstSeq, Last: info.State.LastSeq, Messages: info.State.Msgs, Bytes: info.State.Bytes,
		Quota: uint64(max(info.Config.MaxBytes, 0)),
	}
	if limit := l.limit.Load(); limit > 0 {
		s.Quota = min(s.Quota, uint64(limit))
	}
	if s.Messages == 0 {
		s.First = s.Last + 1
	}
	l.bytes.Store(int64(s.Bytes))
	l.quota.Store(int64(s.Quota))
	l.clustered.Store(info.Cluster != nil && info.Cluster.Name != "") // a single server names itself as leader, and no cluster
	return s
}

// Oldest returns when the oldest message came that no Trim has covered; zero when there is none. After a start it may
// be one that an instance before has stored, and left since it was the last, until the first Trim.
func (l *Log) Oldest(ctx context.Context) (time.Time, error) {
	info, err := l.stream.Info(ctx)
	if err != nil {
		return time.Time{}, failed("look at the log", err)
	}
	s, trimmed := l.note(info), l.trimmed.Load()
	switch {
	case s.Messages == 0 || s.Last <= trimmed:
		return time.Time{}, nil
	case s.First > trimmed:
		return info.State.FirstTime, nil
	}
	msg, err := l.get(ctx, fmt.Sprintf(`{"seq":%d}`, trimmed+1)) // the first was kept because it was the last
	if err != nil {
		return time.Time{}, err
	}
	return msg.time, nil // zero when it was trimmed meanwhile
}

// room reports whether a batch of so many bytes fits, with so many under way, and a claim after it.
func (l *Log) room(underWay, size int) bool {
	quota := l.quota.Load()
	return l.bytes.Load()+int64(underWay+size+messageOverhead) <= quota-min(claimReserve, quota/16)
}

// Trim removes everything up to the given sequence, but never the last message: it knows the log's position and its
// chain.
func (l *Log) Trim(ctx context.Context, upTo uint64) error {
	s, err := l.State(ctx)
	if err != nil {
		return err
	}
	defer l.trimmed.Store(min(upTo, s.Last)) // one that fails is tried again by its caller
	first := min(upTo+1, s.Last)             // beyond the last a purge would move the log's end
	if s.Messages < 2 || first <= s.First {
		return nil
	}
	l.setMark(ctx, first-1)
	step := max(trimStep/(s.Bytes/s.Messages+1), 1)
	for at := s.First; at < first; {
		at = min(at+step, first) // at least 2: 0 would purge everything
		if err := l.stream.Purge(ctx, jetstream.WithPurgeSequence(at)); err != nil {
			return failed("trim the log", err)
		}
	}
	_, err = l.State(ctx)
	return err
}

// verdictOf returns what an error answered to a batch means.
func verdictOf(code jetstream.ErrorCode) verdict {
	switch code {
	case codeWrongMessageID, codeWrongSequence:
		return refused
	case codeStoreFailed, codeAccountFull, codeServerFull:
		return noRoom
	default:
		return failure
	}
}
