package session

import (
	"context"

	"berth/ingest/commit"
)

// Submit hands a submission over when fewer than most of the session's are in hand, and its answers are taken. After an error
// nothing of it is.
func (s *Base) Submit(ctx context.Context, sub *commit.Submission, most int) error {
	s.Mu.Lock()
	for (s.InHand >= most || len(s.Out) > maxOut && !s.Broken) && s.Dropped() == nil {
		s.Changed.Wait()
	}
	s.InHand++
	s.Mu.Unlock()
	err := s.In.Committer.Submit(ctx, sub)
	if err != nil {
		commit.GiveRows(sub.Rows)
		s.Mu.Lock()
		s.InHand--
		s.Mu.Unlock()
	}
	return err
}
