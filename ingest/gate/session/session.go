// Package session is what the sessions of every protocol that stays connected have in common: who sends, at what pace, the
// answers that wait to be written, and how it is dropped. A protocol's own session embeds a Base.
//
// Its one invariant: reading stops while what came is not paid for, or while answers are not taken; so what a sender makes
// the process hold is bounded.
package session

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"berth/ingest/gate/intake"
	"berth/ingest/limit"
)

const (
	// maxOut is how many bytes of answers may wait to be written before a connection is read no more.
	maxOut = 32 << 10
	// paceStep is how often a session that is slowed looks whether the limit was changed.
	paceStep = 500 * time.Millisecond
)

// ErrGone ends a session whose peer has failed, or does not take answers.
var ErrGone = errors.New("the connection is gone")

// longAgo is a deadline that wakes who reads.
var longAgo = time.Unix(1, 0)

// Base is a connection that shows a key and stays. One goroutine reads; answers are written by another that lives as long as
// there are some. It implements [intake.Session].
type Base struct {
	In   *intake.Intake
	Conn *intake.Conn
	ID   intake.Identity // who shows which key
	Keys *intake.Keys    // by which ID was last checked

	deadline       time.Time     // for reading, as last set
	sender         *limit.Sender // whose rate it counts for
	mark           limit.Mark    // it reads on when what it sent is paid for up to here
	readings, size int           // of what came and was not spent yet

	dropped atomic.Pointer[error] // why it is to end

	Mu      sync.Mutex // guards what follows, and what the protocol's session keeps with it
	Changed sync.Cond  // signaled when any of that changes for who waits
	Out     []byte     // answers to be written
	Writing bool       // a goroutine writes answers
	Broken  bool       // answers cannot be written any more
	InHand  int        // submissions that were handed over; who hears that one is committed counts it off

	flush func(out []byte) []byte
}

// Begin sets the session up. flush appends the answers that were put off until something is written, called with Mu held;
// nil: there are none.
func (s *Base) Begin(in *intake.Intake, c *intake.Conn, flush func(out []byte) []byte) {
	s.In, s.Conn, s.flush = in, c, flush
	s.Changed.L = &s.Mu
}

// Identity returns who shows which key.
func (s *Base) Identity() intake.Identity { return s.ID }

// Authenticate finds out who shows which key.
func (s *Base) Authenticate(gateway, key string) error {
	s.Keys = s.In.Keys()
	id, err := s.Keys.Authenticate(s.Conn, gateway, key)
	if err != nil {
		return err
	}
	s.ID = id
	s.Conn.Knows()
	return nil
}

// Admit counts the session towards the sender's limits. From then on the gate drops it when its key is revoked.
func (s *Base) Admit() (err error) {
	if s.sender, err = s.In.Admit(s.Conn, s.ID); err != nil {
		return err
	}
	s.mark = s.sender.Mark()
	s.Conn.Enter(s)
	return s.Recheck()
}

// Recheck returns an error when the session may not go on: it was dropped, or its key no longer holds.
func (s *Base) Recheck() error {
	if why := s.Dropped(); why != nil {
		return why
	}
	if keys := s.In.Keys(); keys != s.Keys {
		if err := keys.Check(s.ID); err != nil {
			return err
		}
		s.Keys = keys
	}
	return nil
}

// Drop lets the session end soon, and say why.
func (s *Base) Drop(why error) {
	s.Doom(why)
	s.Mu.Lock()
	s.Changed.Broadcast()
	s.Mu.Unlock()
}

// Doom is Drop for who holds Mu, and signals by itself.
func (s *Base) Doom(why error) {
	s.dropped.CompareAndSwap(nil, &why)
	_ = s.Conn.SetReadDeadline(longAgo) // wakes the reader; a closed connection needs no waking
}

// Dropped returns why the session is to end; nil: it is not.
func (s *Base) Dropped() error {
	if why := s.dropped.Load(); why != nil {
		return *why
	}
	return nil
}

// SetDeadline sets the deadline for reading. A session that was dropped is not to wait: a deadline set after the drop is
// seen by Recheck, which follows.
func (s *Base) SetDeadline(at time.Time) {
	s.deadline = at
	_ = s.Conn.SetReadDeadline(at) // a closed connection is noticed when it is read
}

// Read reads until the session ends, and returns why. consume takes every frame that is whole and returns how many bytes the
// rest lacks at least; 0 when the rest was left for the next time, because there was enough. Between frames nothing may come
// for silence, and a little longer.
func (s *Base) Read(in *intake.Input, silence time.Duration, consume func(in *intake.Input) (missing int, err error)) error {
	for {
		if err := s.pace(); err != nil {
			return err
		}
		missing, err := consume(in)
		s.spend()
		if err != nil {
			return err
		}
		switch {
		case in.Empty():
			err = s.idle(in, silence)
		case missing > 0:
			err = s.more(in, missing)
		}
		if err != nil {
			return err
		}
		if err := s.Recheck(); err != nil {
			return err
		}
	}
}

// idle waits for the next frame without a buffer.
func (s *Base) idle(in *intake.Input, silence time.Duration) error {
	in.Release()
	now := time.Now()
	// A deadline that is good for little longer is left as it is.
	if left := s.deadline.Sub(now); left < silence || left > silence*66/64 {
		s.SetDeadline(now.Add(silence * 65 / 64))
	}
	if err := s.Recheck(); err != nil {
		return err
	}
	return in.ReadSmall()
}

// more reads more of a frame that is not whole; missing is how many bytes it lacks at least. One that has begun may take
// longer than the silence: nothing else can come meanwhile.
func (s *Base) more(in *intake.Input, missing int) error {
	if !in.Timed {
		in.Timed = true
		s.SetDeadline(time.Now().Add(s.In.Limits.FrameTime(missing)))
	}
	if err := s.Recheck(); err != nil {
		return err
	}
	return in.Read(len(in.Data()) + missing)
}

// Came counts what came, also what was refused of it, until it is spent.
func (s *Base) Came(readings, size int) {
	s.readings += readings
	s.size += size
}

// Enough reports whether so much came that nothing more is to be taken before it is spent.
func (s *Base) Enough() bool { return s.sender.Enough(s.readings, s.size) }

// spend spends what came.
func (s *Base) spend() {
	if s.readings == 0 && s.size == 0 {
		return
	}
	s.mark = s.sender.Spend(s.readings, s.size)
	s.readings, s.size = 0, 0
}

// pace waits, when there is more to take, until what was sent before is paid for. Nothing is read meanwhile, so that TCP
// holds the sender back, also one whom no missing answer would. What takes too long ends the session: nothing is refused
// then, and who comes again is behind those who wait.
func (s *Base) pace() error {
	wait, reason := s.sender.Due(s.mark)
	if wait <= 0 {
		return nil
	}
	s.In.Slowed(reason)
	for end := time.Now().Add(s.In.Limits.Slow); wait > 0; wait, reason = s.sender.Due(s.mark) {
		left := time.Until(end)
		if left <= 0 {
			return s.sender.Error(reason).WithNext("send more slowly; what is unanswered can be sent again")
		}
		s.rest(min(wait, left, paceStep))
		if err := s.Recheck(); err != nil {
			return err
		}
	}
	return nil
}

// rest lets time pass, less when the session is dropped.
func (s *Base) rest(d time.Duration) {
	over := false
	timer := time.AfterFunc(d, func() {
		s.Mu.Lock()
		over = true
		s.Changed.Broadcast()
		s.Mu.Unlock()
	})
	defer timer.Stop()
	s.Mu.Lock()
	for !over && s.dropped.Load() == nil && !s.Broken {
		s.Changed.Wait()
	}
	s.Mu.Unlock()
}

// Say appends an answer to those to be written. While many wait to be written it waits.
func (s *Base) Say(answer func(out []byte) []byte) {
	s.Mu.Lock()
	defer s.Mu.Unlock()
	for len(s.Out) > maxOut && !s.Broken {
		s.Changed.Wait()
	}
	s.Out = answer(s.Out)
	s.Write()
}

// Write has the answers written, unless somebody is at it. It is called with Mu held.
func (s *Base) Write() {
	if s.Writing || s.Broken {
		return
	}
	if s.flush != nil {
		s.Out = s.flush(s.Out)
	}
	if len(s.Out) == 0 {
		return
	}
	s.Writing = true
	go s.writeAll()
}

// writeAll writes answers until there are none.
func (s *Base) writeAll() {
	for {
		s.Mu.Lock()
		if s.flush != nil {
			s.Out = s.flush(s.Out)
		}
		out := s.Out
		s.Out = nil
		if len(out) == 0 || s.Broken {
			s.Writing = false
			s.Changed.Broadcast()
			s.Mu.Unlock()
			return
		}
		s.Changed.Broadcast()
		s.Mu.Unlock()
		_ = s.Conn.SetWriteDeadline(time.Now().Add(s.In.Limits.Write)) // a closed connection fails at the write
		if _, err := s.Conn.Write(out); err != nil {
			s.Mu.Lock()
			s.Broken = true
			s.Mu.Unlock()
			s.Drop(ErrGone)
		}
	}
}

// Close closes the connection: answers are not written any more.
func (s *Base) Close() {
	s.closeBy(s.Conn.Close)
}

// HangUp closes the connection, but its place among the provider's connections stays taken until Close: what it has in hand does not
// grow in number beyond them.
func (s *Base) HangUp() {
	s.closeBy(s.Conn.HangUp)
}

// closeBy closes the connection by one of its two ways.
func (s *Base) closeBy(closing func() error) {
	s.Mu.Lock()
	s.Broken = true
	s.Mu.Unlock()
	_ = closing() // nothing depends on how it ended
	s.Drain(s.In.Limits.Drain, func() bool { return !s.Writing })
}

// Drain waits until it is done, or for so long. done is called with Mu held.
func (s *Base) Drain(most time.Duration, done func() bool) {
	ctx, cancel := context.WithTimeout(s.In.Context(), most)
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		s.Mu.Lock()
		s.Changed.Broadcast()
		s.Mu.Unlock()
	})()
	s.Mu.Lock()
	defer s.Mu.Unlock()
	for !done() && ctx.Err() == nil {
		s.Changed.Wait()
	}
}
