package httpserver

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// Lack is a part of a program that it cannot do its work without, and why that does not work. Strangers may read both.
type Lack struct {
	Part string `json:"part"` // one word, such as nats
	Why  string `json:"why"`
}

// Readiness is the answer to whether a program can do its work.
type Readiness struct {
	Ready bool   `json:"ready"`
	Lacks []Lack `json:"lacks,omitempty"`
}

// Bounds of looking whether a program is ready.
const (
	readyLimit = time.Second // for one look
	readyFor   = time.Second // how long what was seen is answered, so that asking often costs little
)

// Alive answers that the program runs.
func Alive(w http.ResponseWriter, _ *http.Request) error {
	return JSON(w, http.StatusOK, map[string]bool{"alive": true})
}

// Ready returns a handler that answers whether the program is ready; look returns what it lacks.
func Ready(look func(ctx context.Context) []Lack) Handler {
	var (
		mu    sync.Mutex // guards what was seen, and is held while looking: all who ask meanwhile are answered by that
		at    time.Time
		lacks []Lack
	)
	return func(w http.ResponseWriter, r *http.Request) error {
		mu.Lock()
		if now := time.Now(); at.IsZero() || now.Sub(at) >= readyFor {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), readyLimit)
			lacks, at = look(ctx), now
			cancel()
		}
		answer := Readiness{Ready: len(lacks) == 0, Lacks: lacks}
		mu.Unlock()
		if answer.Ready {
			return JSON(w, http.StatusOK, &answer)
		}
		w.Header().Set("Retry-After", "1")
		return JSON(w, http.StatusServiceUnavailable, &answer)
	}
}

// AwayNATS is what a program lacks whose connection to NATS is broken.
func AwayNATS() Lack { return Lack{Part: "nats", Why: "the NATS server is away"} }
