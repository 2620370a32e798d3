package mqtt

import "time"

// paceStep is how often a session that is slowed looks whether the limit was changed.
const paceStep = 500 * time.Millisecond

// came is what came and was not spent yet.
type came struct{ readings, bytes int }

// spend spends what was read together, also what was refused of it.
func (s *session) spend() {
	if s.came == (came{}) {
		return
	}
	s.mark = s.sender.Spend(s.came.readings, s.came.bytes)
	s.came = came{}
}

// pace waits, when there is more to take, until what was sent before is paid for. Nothing is read meanwhile, so that TCP
// holds the sender back, also one of QoS 0, whom no missing answer would. What takes too long ends the session: nothing is
// refused then, and who comes again is behind those who wait.
func (s *session) pace() error {
	wait, reason := s.sender.Due(s.mark)
	if wait <= 0 {
		return nil
	}
	s.in.Slowed(reason)
	for end := time.Now().Add(s.in.Limits.Slow); wait > 0; wait, reason = s.sender.Due(s.mark) {
		left := time.Until(end)
		if left <= 0 {
			return s.sender.Error(reason).WithNext("send more slowly; what is unanswered can be sent again")
		}
		s.rest(min(wait, left, paceStep))
		if err := s.recheck(); err != nil {
			return err
		}
	}
	return nil
}

// rest lets time pass, less when the session is dropped.
func (s *session) rest(d time.Duration) {
	over := false
	timer := time.AfterFunc(d, func() {
		s.mu.Lock()
		over = true
		s.changed.Broadcast()
		s.mu.Unlock()
	})
	defer timer.Stop()
	s.mu.Lock()
	for !over && s.dropped.Load() == nil && !s.broken {
		s.changed.Wait()
	}
	s.mu.Unlock()
}
