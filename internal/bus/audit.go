package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// The audit log is a stream of the house. What it holds can be read and added to by web, and changed by nobody; the oldest
// entries go when it is full, old or one topic has too many, so that no topic can push out what another keeps.
const (
	auditStream = "AUDIT"
	auditPrefix = "audit."
	auditBytes  = 256 << 20
	auditTopic  = 20_000 // entries of one topic
	auditAge    = 400 * 24 * time.Hour
)

// prepareAudit makes the audit log, or finds it.
func (c *Conn) prepareAudit(ctx context.Context) error {
	return c.prepareStream(ctx, jetstream.StreamConfig{
		Name: auditStream, Subjects: []string{auditPrefix + "*"}, MaxBytes: auditBytes, MaxMsgsPerSubject: auditTopic, MaxAge: auditAge,
		Discard: jetstream.DiscardOld, Duplicates: time.Minute, AllowDirect: true, DenyDelete: true, Replicas: c.copies,
	})
}

// auditSubjects are those by which the audit log is added to and read.
func auditSubjects() []string {
	return []string{
		auditPrefix + "*",
		"$JS.API.STREAM.INFO." + auditStream,
		"$JS.API.STREAM.MSG.GET." + auditStream,
		"$JS.API.DIRECT.GET." + auditStream,
		"$JS.API.DIRECT.GET." + auditStream + ".>",
	}
}

// Record adds an entry to a topic of the audit log, a word, and returns when it is on disk.
func (c *Conn) Record(ctx context.Context, topic string, entry []byte) error {
	_, err := c.js.Publish(ctx, auditPrefix+topic, entry, jetstream.WithRetryAttempts(0))
	return failed("record a change", err)
}

// Recorded calls fn with the entries of a topic of the audit log, or with topic "" of all, the oldest first, as they are
// when it is called. It returns fn's error as it is.
func (c *Conn) Recorded(ctx context.Context, topic string, fn func(entry []byte) error) error {
	const act = "read the audit log"
	subject := auditPrefix + topic
	if topic == "" {
		subject = auditPrefix + "*"
	}
	stream, err := c.js.Stream(ctx, auditStream)
	if err != nil {
		return failed(act, err)
	}
	newest, err := stream.GetLastMsgForSubject(ctx, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil
	}
	if err != nil {
		return failed(act, err)
	}
	for next := uint64(1); next <= newest.Sequence; {
		portion, err := c.fetch(ctx, auditStream, fmt.Sprintf(`{"seq":%d,"batch":%d,"max_bytes":%d,"next_by_subj":%q}`, next, readMessages, readBytes, subject))
		if err != nil && len(portion) == 0 {
			return fmt.Errorf("%s: %w", act, err)
		}
		for _, m := range portion {
			if m.sequence > newest.Sequence {
				return nil
			}
			if err := fn(m.data); err != nil {
				return err
			}
			next = m.sequence + 1
		}
	}
	return nil
}
