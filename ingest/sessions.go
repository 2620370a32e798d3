package ingest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"berth/ingest/commit"
	"berth/schema/batch"
)

// readSessions reads which sessions the log knows up to the claim. That is a small part of it, whatever the rest holds
// (ingest/commit, sessions.go), so that it can be done before the port opens.
func (i *Ingest) readSessions(ctx context.Context, c *claim) error {
	if c.from == 0 || c.from > c.sequence {
		return nil
	}
	now := i.o.Now()
	all := make(map[string]commit.Kept)
	lost := 0
	err := i.journal.Read(ctx, max(c.from, c.first), c.sequence, func(sequence uint64, data []byte) error {
		h, err := batch.DecodeHeader(data)
		if err != nil {
			lost++     // the head reads it too, and sets it aside
			return nil //nolint:nilerr // what else there is matters no less
		}
		for _, s := range h.Sessions {
			if delete(all, s.Key); s.Expiry > 0 {
				all[s.Key] = commit.Kept{Session: s, After: sequence - 1}
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read the sessions that the log knows: %w", err)
	}
	for _, s := range all {
		if s.Left == 0 { // its connection ended with the instance before
			s.Left = now.UnixNano()
		}
		if now.Before(time.Unix(0, s.Left).Add(time.Duration(s.Expiry) * time.Second)) {
			c.sessions = append(c.sessions, s)
		}
	}
	slices.SortFunc(c.sessions, func(a, b commit.Kept) int { return cmp.Compare(a.After, b.After) })
	i.log.Info("sessions are carried on", "sessions", len(c.sessions), "messages", c.sequence+1-max(c.from, c.first))
	if lost > 0 {
		i.log.Warn("sessions may be lost with messages that cannot be read", "messages", lost)
	}
	return nil
}
