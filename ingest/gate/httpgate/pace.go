package httpgate

import (
	"net/http"
	"strconv"
	"time"

	"berth/ingest/commit"
	"berth/ingest/gate/intake"
	"berth/ingest/limit"
)

const (
	// maxPace is how long a request is let wait for its turn; clients do not wait for long.
	maxPace = time.Second
	// retryFull is when a sender may come back who was refused since the keyspace is full, in seconds.
	retryFull = "60"
)

// pace lets a request wait until its sender's turn comes, a little at most, and refuses it when that takes longer, or when
// the keyspace is full. A request whose turn has come is taken whole: who comes after it pays for it.
func (l *Listener) pace(w http.ResponseWriter, sender *limit.Sender) error {
	if full := l.in.Full(); full != nil {
		w.Header().Set("Retry-After", retryFull)
		l.in.Committer.Count(commit.Counts{FramesRejected: 1, Reasons: map[string]int{intake.ReasonKeyspace: 1}})
		return full
	}
	wait, reason := sender.Due(sender.Mark())
	if wait <= 0 {
		return nil
	}
	if wait > maxPace {
		seconds := strconv.Itoa(int((wait + time.Second - 1) / time.Second))
		w.Header().Set("Retry-After", seconds)
		l.in.Committer.Count(commit.Counts{FramesRejected: 1, Reasons: map[string]int{reason: 1}})
		return sender.Error(reason).WithNext("send it again in %s seconds", seconds)
	}
	l.in.Slowed(reason)
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C: // also for a client that is gone: it could come again at once
	case <-l.in.Context().Done():
	}
	return nil
}
