package bus

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"
)

// BenchmarkAppend measures synced batches of 64 KB, and the time from Append to the confirmation.
func BenchmarkAppend(b *testing.B) {
	h := newHouse(b)
	l := openLog(h, LogOptions{Quota: 8 << 30})
	w, _ := claim(b, l, "one", 0)
	data := make([]byte, 64<<10)
	begun := make(chan time.Time, 2*Window)
	waits := make([]time.Duration, 0, b.N)
	done := make(chan error, 1)
	b.SetBytes(int64(len(data)))
	b.ResetTimer()
	go func() {
		for range b.N {
			if _, err := w.Next(b.Context()); err != nil {
				done <- err
				return
			}
			waits = append(waits, time.Since(<-begun))
		}
		done <- nil
	}()
	for range b.N {
		begun <- time.Now()
		if err := w.Append(data); err != nil {
			b.Fatal(err)
		}
	}
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	slices.Sort(waits)
	b.ReportMetric(float64(waits[len(waits)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(waits[len(waits)*99/100].Microseconds()), "p99-µs")
}

// BenchmarkRead measures reading a log back.
func BenchmarkRead(b *testing.B) {
	h := newHouse(b)
	l := openLog(h, LogOptions{})
	w, _ := claim(b, l, "one", 0)
	const n, size = 800, 128 << 10
	go func() {
		for range n {
			if err := w.Append(make([]byte, size)); err != nil {
				b.Error(err)
			}
		}
	}()
	for range n {
		must(w.Next(b.Context()))(b)
	}
	b.SetBytes(n * size)
	for b.Loop() {
		got := 0
		if err := l.Read(b.Context(), 2, n+1, func(uint64, []byte) error { got++; return nil }); err != nil || got != n {
			b.Fatal(got, err)
		}
	}
}

// BenchmarkAsk measures answers of 64 chunks of 16 KB.
func BenchmarkAsk(b *testing.B) {
	for _, chunks := range []int{1, 64} {
		b.Run(fmt.Sprint(chunks, "x16KB"), func(b *testing.B) {
			h := newHouse(b)
			_, c := h.provider("acme", LogOptions{})
			data := make([]byte, 16<<10)
			stop := must(c.Answer("head.x", func(_ context.Context, _ []byte, reply func([]byte) error) error {
				for range chunks {
					if err := reply(data); err != nil {
						return err
					}
				}
				return nil
			}))(b)
			defer stop()
			b.SetBytes(int64(chunks * len(data)))
			for b.Loop() {
				if err := c.Ask(b.Context(), "head.x", nil, func([]byte) error { return nil }); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
