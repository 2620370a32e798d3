package install

import (
	"bytes"
	"io"
	"slices"
	"sync"
)

// saidMost is how much of what was printed is kept.
const saidMost = 4 << 10

// said passes on what is printed, and keeps the last of it.
type said struct {
	to io.Writer

	mu   sync.Mutex // guards kept; what is passed on is passed on under it too
	kept []byte
}

// Write passes p on.
func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept = append(s.kept, p...)
	if over := len(s.kept) - saidMost; over > 0 {
		s.kept = slices.Delete(s.kept, 0, over)
	}
	return s.to.Write(p)
}

// last returns whole lines, as many as are kept.
func (s *said) last() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := s.kept
	if len(text) == saidMost {
		_, text, _ = bytes.Cut(text, []byte("\n"))
	}
	return string(text)
}
