package commit_test

import (
	"math"
	"sync/atomic"
	"testing"

	"berth/ingest/commit"
	"berth/ingest/commit/committest"
	"berth/schema"
	"berth/schema/batch"
)

// counter is a Waiter that lets its sender have a window of submissions in hand.
type counter struct {
	free chan struct{}
	last atomic.Uint64
}

func (c *counter) Committed(token uint64, _ error) {
	c.last.Store(token)
	<-c.free
}

// BenchmarkFrame is the cost of a frame of one reading, each a submission of its own: queue, batch, encoding, answer.
func BenchmarkFrame(b *testing.B) { benchmarkFrames(b, 1, 1) }

// BenchmarkBurst is the cost of a frame of one reading in bursts of 50, as a connection hands them over.
func BenchmarkBurst(b *testing.B) { benchmarkFrames(b, 50, 1) }

// BenchmarkThousand is the cost of a frame of 1,000 readings.
func BenchmarkThousand(b *testing.B) { benchmarkFrames(b, 1, 100) }

func benchmarkFrames(b *testing.B, burst, rows int) {
	b.Helper()
	log := committest.NewDiscard()
	c := commit.New(commit.Options{Writer: log, Logger: quiet, Follow: func(_ uint64, _ *batch.Header, rows *batch.Rows) { commit.GiveRows(rows) }})
	sensors := []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"}
	if rows == 1 {
		sensors = sensors[:1]
	}
	kinds := make([]schema.Kind, len(sensors))
	for i := range kinds {
		kinds[i] = schema.Float
	}
	shape := interner.Shape("truck_1", sensors, kinds, nil)
	w := &counter{free: make(chan struct{}, 1000)}
	b.ReportAllocs()
	token := uint64(0)
	for i := 0; b.Loop(); i++ {
		if i%burst != 0 {
			continue
		}
		r := commit.TakeRows()
		for j := range burst * rows {
			r.Rows = append(r.Rows, batch.Row{Shape: shape, Time: int64(j), First: uint32(len(r.Bits))})
			for range sensors {
				r.Bits = append(r.Bits, math.Float64bits(float64(j)))
			}
		}
		w.free <- struct{}{}
		token++
		s := commit.Submission{Rows: r, Counts: commit.Counts{Frames: uint64(burst), Accepted: uint64(len(r.Bits))}, Waiter: w, Token: token}
		if err := c.Submit(b.Context(), &s); err != nil {
			b.Fatal(err)
		}
	}
	if err := c.Close(b.Context()); err != nil {
		b.Fatal(err)
	}
}
