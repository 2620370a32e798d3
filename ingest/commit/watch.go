package commit

import (
	"time"

	"berth/internal/metrics"
)

// watched is what is counted of batches, by the goroutine that confirms them.
type watched struct {
	acks, sizes, frames *metrics.Spread
	took                []float64
}

func (w *watched) begin(set *metrics.Set) {
	w.acks, w.sizes, w.frames = set.Spread(metrics.AckSeconds), set.Spread(metrics.BatchBytes), set.Spread(metrics.BatchFrames)
}

// confirmed counts a batch that was confirmed, of so many bytes, after all of its frames were answered: that is the time
// of the last of them, and taken for that of each.
func (w *watched) confirmed(b *cut, size int) {
	now := time.Now()
	w.took = w.took[:0]
	for i := range b.answers {
		if b.answers[i].received.IsZero() {
			continue // a piece of a frame: its last piece is acknowledged
		}
		w.took = append(w.took, now.Sub(b.answers[i].received).Seconds())
	}
	w.acks.ObserveAll(w.took)
	w.sizes.Observe(float64(size))
	w.frames.Observe(float64(b.counts.Frames))
}
