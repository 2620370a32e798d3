package bus

import (
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"berth/schema"
)

// makingLimit is how long a stream's folder may be there before the stream is. The server makes the folder first, and until
// it has the stream too it says that this could not be recovered, as it does of one that is really broken.
const makingLimit = 3 * time.Second

// unwell remembers which streams were missing at earlier looks, so that one that is just being made is not taken for a
// broken one: reviving the server for its sake would cut everybody off.
type unwell struct {
	mu      sync.Mutex // guards missing
	missing map[string]time.Time
}

// trouble returns what is wrong for sure of what the server says; empty: nothing.
func (u *unwell) trouble(said []server.HealthzError, now time.Time) string {
	u.mu.Lock()
	defer u.mu.Unlock()
	before := u.missing
	u.missing = nil
	text := ""
	for i := range said {
		e := &said[i]
		if e.Type == server.HealthzErrorConn { // it had not a millisecond to look; who is cut off notices by itself
			continue
		}
		if e.Type == server.HealthzErrorStream && strings.HasSuffix(e.Error, "could not be recovered") {
			since, known := before[e.Error]
			if !known {
				since = now
			}
			if u.missing == nil {
				u.missing = map[string]time.Time{}
			}
			u.missing[e.Error] = since
			if now.Sub(since) < makingLimit {
				continue
			}
		}
		if text == "" {
			text = e.Error
		}
	}
	return text
}

// Healthy returns an error that says what of JetStream does not work: after a disk was full, streams stay broken until
// [Server.Revive]. A stream that is not there, though its folder is, counts when it is missing for longer than making it
// takes.
func (s *Server) Healthy() error {
	h := s.nats.Healthz(&server.HealthzOptions{Details: true})
	text := s.unwell.trouble(h.Errors, time.Now())
	if text == "" && len(h.Errors) == 0 && h.StatusCode >= 300 {
		text = h.Error
	}
	if text == "" {
		return nil
	}
	return schema.Errorf(schema.Unavailable, "the NATS server is not healthy: %s", text)
}
