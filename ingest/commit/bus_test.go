package commit_test

import (
	"context"
	"fmt"
	"math"
	"testing"
	"time"

	"berth/ingest/commit"
	"berth/internal/bus"
	"berth/internal/bus/bustest"
	"berth/schema"
	"berth/schema/batch"
)

// openLog returns the log of a provider on a real bus.
func openLog(t testing.TB) *bus.Log {
	t.Helper()
	house := bustest.New(t)
	_, pipeline := house.Provider("provider1", bus.LogOptions{})
	log, err := house.Connect(pipeline).OpenLog(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return log
}

func claim(t testing.TB, log *bus.Log, id string) *bus.Writer {
	t.Helper()
	var encoder batch.Encoder
	w, _, err := log.Claim(t.Context(), id, 0, func([]byte) ([]byte, error) {
		return encoder.Encode(nil, &batch.Header{Kind: batch.Claim, Claim: id}), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

func TestOnTheRealLog(t *testing.T) {
	log, s := openLog(t), &sender{}
	first := claim(t, log, "first")
	c := commit.New(commit.Options{Writer: first, Claim: "first", Logger: quiet, MaxBatch: 8 << 10, MinBatch: 1 << 10})
	const frames = 500
	value := 0
	for i := range frames {
		rows := 1 + i%7
		if i == 100 {
			rows = 2000
		}
		if err := c.Submit(t.Context(), submission("g", value, rows, s, uint64(i+1))); err != nil {
			t.Fatal(err)
		}
		value += rows
	}
	closeIt(t, c)
	if tokens, failed := s.answered(); len(tokens) != frames || failed != 0 {
		t.Errorf("%d answers, %d failed", len(tokens), failed)
	}
	var messages [][]byte
	if err := log.Read(t.Context(), 2, c.Sequence(), func(_ uint64, data []byte) error {
		messages = append(messages, append([]byte(nil), data...))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	got := values(t, messages)["g"]
	for i, v := range got {
		if v != i {
			t.Fatalf("row %d is %d", i, v)
		}
	}
	if totals := lastTotals(t, messages); len(got) != value || totals.FramesCommitted != frames {
		t.Errorf("%d rows of %d in %d messages, totals %+v", len(got), value, len(messages), totals)
	}
}

func TestATakeOverOfTheRealLog(t *testing.T) {
	log, s := openLog(t), &sender{}
	c := commit.New(commit.Options{Writer: claim(t, log, "first"), Claim: "first", Logger: quiet})
	if err := c.Submit(t.Context(), submission("g", 0, 1, s, 1)); err != nil {
		t.Fatal(err)
	}
	claim(t, log, "second")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for i := 2; c.Err() == nil; i++ { // what is sent fails sooner or later, or an idle look finds out
		if err := c.Submit(ctx, submission("g", i, 1, s, uint64(i))); err != nil {
			break
		}
		select {
		case <-c.Done():
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			t.Fatal("the take-over was not noticed")
		}
	}
	<-c.Done()
	if err := c.Close(ctx); err == nil {
		t.Error("closed without an error")
	}
}

// BenchmarkRealLog is the acknowledged path from submissions to the disk and back: bursts of 50 frames of one reading,
// and frames of 1,000 readings.
func BenchmarkRealLog(b *testing.B) {
	for _, k := range []struct{ burst, rows, sensors int }{{1, 1, 1}, {50, 1, 1}, {1, 100, 10}} {
		b.Run(fmt.Sprintf("burst=%d/readings=%d", k.burst, k.rows*k.sensors), func(b *testing.B) {
			c := commit.New(commit.Options{
				Writer: claim(b, openLog(b), "bench"), Logger: quiet,
				Follow: func(_ uint64, _ *batch.Header, rows *batch.Rows) { commit.GiveRows(rows) },
			})
			sensors, kinds := make([]string, k.sensors), make([]schema.Kind, k.sensors)
			for i := range kinds {
				sensors[i], kinds[i] = fmt.Sprint("sensor", i), schema.Float
			}
			shape := interner.Shape("truck_1", sensors, kinds, nil)
			w := &counter{free: make(chan struct{}, 4096/k.burst)}
			b.ReportAllocs()
			frames, token := 0, uint64(0)
			for b.Loop() {
				r := commit.TakeRows()
				for j := range k.burst * k.rows {
					r.Rows = append(r.Rows, batch.Row{Shape: shape, Time: int64(j), First: uint32(len(r.Bits))})
					for range sensors {
						r.Bits = append(r.Bits, math.Float64bits(float64(j)))
					}
				}
				w.free <- struct{}{}
				token++
				frames += k.burst
				s := commit.Submission{Rows: r, Counts: commit.Counts{Frames: uint64(k.burst), Accepted: uint64(len(r.Bits))}, Waiter: w, Token: token}
				if err := c.Submit(b.Context(), &s); err != nil {
					b.Fatal(err)
				}
			}
			if err := c.Close(b.Context()); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(frames)/b.Elapsed().Seconds(), "frames/s")
			b.ReportMetric(float64(frames*k.rows*k.sensors)/b.Elapsed().Seconds(), "readings/s")
		})
	}
}
