// Package audit keeps who changed what, in the house's audit log, and reads it back. What is a change is said by those
// who record it: the tables of routes of web and of the provisioner's control.
//
// Its one invariant: what was recorded is changed by nobody; it goes only when it is old or there is too much of it.
package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"berth/internal/bus"
	"berth/schema/record"
)

// house is the topic of what is no provider's. No provider is called so.
const house = "_house"

// recordLimit is how long a change may take to be recorded.
const recordLimit = 5 * time.Second

// Log is the audit log. Its methods may be called concurrently.
type Log struct{ conn *bus.Conn }

// New returns the audit log of a house.
func New(conn *bus.Conn) *Log { return &Log{conn: conn} }

// Record keeps a change that was made, or tried. It outlasts the context of who made it.
func (l *Log) Record(ctx context.Context, c record.Change) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordLimit)
	defer cancel()
	c.Version = record.Version
	data, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("write a change: %w", err)
	}
	topic := c.Provider
	if topic == "" {
		topic = house
	}
	return l.conn.Record(ctx, topic, data)
}

// Newest returns a provider's newest changes since a time, the newest first, at most limit; "" are those of all providers and
// of the house.
func (l *Log) Newest(ctx context.Context, provider string, since time.Time, limit int) ([]record.Change, error) {
	ring, n := make([]record.Change, limit), 0
	err := l.Each(ctx, provider, since, func(c record.Change) error {
		ring[n%limit] = c
		n++
		return nil
	})
	if err != nil {
		return nil, err
	}
	newest := make([]record.Change, 0, min(n, limit))
	for i := n - 1; i >= max(n-limit, 0); i-- {
		newest = append(newest, ring[i%limit])
	}
	return newest, nil
}

// Each calls fn with a provider's changes since a time, the oldest first; "" are those of all. It returns fn's error as it is.
func (l *Log) Each(ctx context.Context, provider string, since time.Time, fn func(c record.Change) error) error {
	return l.conn.Recorded(ctx, provider, func(entry []byte) error {
		var c record.Change
		if err := json.Unmarshal(entry, &c); err != nil {
			return fmt.Errorf("read a change: %w", err)
		}
		if c.Time.Before(since) {
			return nil
		}
		return fn(c)
	})
}
