// Package committest gives tests a log in memory that fails when it is told to.
package committest

import (
	"bytes"
	"context"
	"sync"
	"time"

	"berth/internal/bus"
)

// Log is a log in memory. It is a commit.Writer.
type Log struct {
	// Delay says how long each confirmation takes; nil: no time. It is called by one goroutine.
	Delay func() time.Duration

	mu        sync.Mutex // guards what follows
	stored    [][]byte
	flight    []*entry
	room      int // messages that still fit; negative: any number
	held      bool
	takenOver bool
	changed   chan struct{} // closed and made anew with each change
}

// entry is a message in flight.
type entry struct {
	data     []byte
	sequence uint64 // 0: refused
}

// New returns an empty log with room for any number of messages.
func New() *Log { return &Log{room: -1, changed: make(chan struct{})} }

// Append stores a copy of data if there is room, and nothing before it was refused.
func (l *Log) Append(data []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.takenOver {
		return bus.ErrTakenOver
	}
	e := &entry{data: bytes.Clone(data)}
	l.flight = append(l.flight, e)
	l.store()
	l.wake()
	return nil
}

// store stores what is in flight as far as there is room.
func (l *Log) store() {
	for _, e := range l.flight {
		if e.sequence != 0 {
			continue
		}
		if l.room == 0 {
			return
		}
		if l.room > 0 {
			l.room--
		}
		l.stored = append(l.stored, e.data)
		e.sequence = uint64(len(l.stored))
	}
}

// Next confirms the oldest message in flight.
func (l *Log) Next(ctx context.Context) (bus.Confirmed, error) {
	if l.Delay != nil {
		select {
		case <-time.After(l.Delay()):
		case <-ctx.Done():
			return bus.Confirmed{}, ctx.Err()
		}
	}
	for {
		l.mu.Lock()
		switch {
		case l.takenOver:
			l.mu.Unlock()
			return bus.Confirmed{}, bus.ErrTakenOver
		case len(l.flight) > 0 && !l.held:
			e := l.flight[0]
			if e.sequence != 0 {
				l.flight = l.flight[1:]
			}
			l.mu.Unlock()
			if e.sequence == 0 {
				return bus.Confirmed{}, bus.ErrLogFull
			}
			return bus.Confirmed{Sequence: e.sequence}, nil
		}
		changed := l.changed
		l.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return bus.Confirmed{}, ctx.Err()
		}
	}
}

// Retry stores what was refused, as far as there is room now.
func (l *Log) Retry() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.store()
	l.wake()
}

// Room sets how many more messages fit; a negative number is any number. What was refused stays so until Retry.
func (l *Log) Room(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.room = n
}

// Hold withholds confirmations, or no longer.
func (l *Log) Hold(on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held = on
	l.wake()
}

// TakeOver lets another instance have the log: what is in flight may be stored, but is not confirmed any more.
func (l *Log) TakeOver() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.takenOver = true
	l.wake()
}

// Messages returns what is stored, in order.
func (l *Log) Messages() [][]byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([][]byte(nil), l.stored...)
}

func (l *Log) wake() {
	close(l.changed)
	l.changed = make(chan struct{})
}
