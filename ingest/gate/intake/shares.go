package intake

import (
	"sync"
	"time"
)

// What of one sender is kept among the rejects, so that it cannot push out all others': so many bytes at once, and again
// in each hour; beyond that the beginning of one a minute, and the rest is counted.
const (
	shareBytes    = 4 << 20
	shareHour     = time.Hour
	shareOverhead = 1 << 10 // what a reject takes beside its bytes
	shareTrickle  = time.Minute
	shareSenders  = 10_000 // that are remembered
)

// share is how much of a reject is kept.
type share int

const (
	shareNone share = iota
	shareShort
	shareWhole
)

// shares are how much more of each sender may be kept. The zero value is ready.
type shares struct {
	now func() time.Time // nil: time.Now

	mu      sync.Mutex // guards senders
	senders map[string]*allowance
}

type allowance struct {
	left    int64
	at      time.Time // when left was true
	trickle time.Time // when the last was kept beyond the share
}

// refill adds what time has brought.
func (a *allowance) refill(now time.Time) {
	a.left = min(shareBytes, a.left+int64(float64(shareBytes)*float64(now.Sub(a.at))/float64(shareHour)))
	a.at = now
}

// take takes a reject of so many bytes out of its sender's share.
func (s *shares) take(sender string, size int) share {
	now := time.Now
	if s.now != nil {
		now = s.now
	}
	at := now()
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.senders[sender]
	if a == nil {
		s.forget(at)
		a = &allowance{left: shareBytes, at: at}
		s.senders[sender] = a
	}
	a.refill(at)
	switch cost := int64(size) + shareOverhead; {
	case cost <= a.left:
		a.left -= cost
		return shareWhole
	case at.Sub(a.trickle) >= shareTrickle:
		a.trickle = at
		return shareShort
	default:
		return shareNone
	}
}

// forget makes room for another sender: those that have their whole share again are forgotten, and if there are none all
// are.
func (s *shares) forget(at time.Time) {
	if s.senders == nil {
		s.senders = map[string]*allowance{}
	}
	if len(s.senders) < shareSenders {
		return
	}
	for name, a := range s.senders {
		if a.refill(at); a.left == shareBytes {
			delete(s.senders, name)
		}
	}
	if len(s.senders) >= shareSenders {
		clear(s.senders)
	}
}
