package budget_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"berth/ingest/budget"
)

func TestTakeServesInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := budget.New(10)
		if err := b.Take(t.Context(), 8); err != nil {
			t.Fatal(err)
		}
		var order []int
		var mu sync.Mutex
		for i, n := range []int64{9, 1, 1} { // the large one asked first
			go func() {
				if err := b.Take(t.Context(), n); err != nil {
					t.Error(err)
				}
				mu.Lock()
				order = append(order, i)
				mu.Unlock()
			}()
			synctest.Wait()
		}
		if b.TryTake(1) {
			t.Error("passed by those who wait")
		}
		b.Give(8)
		synctest.Wait()
		mu.Lock()
		if len(order) != 2 || b.Used() != 10 {
			t.Errorf("served %v with %d used, want the first two and 10", order, b.Used())
		}
		mu.Unlock()
		b.Give(9)
		synctest.Wait()
		if len(order) != 3 || order[2] != 2 || b.Used() != 2 {
			t.Errorf("served %v with %d used, want all and 2", order, b.Used())
		}
	})
}

func TestOneThatIsLargerThanAllGoesAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := budget.New(10)
		if err := b.Take(t.Context(), 50); err != nil {
			t.Fatal(err)
		}
		if b.TryTake(1) {
			t.Error("something went beside it")
		}
		b.Give(50)
		if !b.TryTake(1) {
			t.Error("nothing goes after it")
		}
	})
}

func TestTakeEndsWithItsContextAndOnClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := budget.New(10)
		if err := b.Take(t.Context(), 10); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		errs := make([]error, 2)
		go func() { errs[0] = b.Take(ctx, 5) }()
		go func() { errs[1] = b.Take(t.Context(), 5) }()
		synctest.Wait()
		cancel()
		synctest.Wait()
		b.Close()
		synctest.Wait()
		if !errors.Is(errs[0], context.Canceled) || !errors.Is(errs[1], budget.ErrClosed) {
			t.Errorf("got %v", errs)
		}
		b.Give(10)
		if b.Used() != 0 {
			t.Errorf("%d used, want 0", b.Used())
		}
	})
}

func TestNeverMoreThanTheMost(t *testing.T) {
	b := budget.New(100)
	var used, beyond atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 2000 {
				n := rand.Int64N(60) + 1
				if err := b.Take(t.Context(), n); err != nil {
					t.Error(err)
					return
				}
				if used.Add(n) > 100 {
					beyond.Add(1)
				}
				used.Add(-n)
				b.Give(n)
			}
		})
	}
	wg.Wait()
	if beyond.Load() != 0 || b.Used() != 0 {
		t.Errorf("%d times beyond the most, %d left", beyond.Load(), b.Used())
	}
}

func BenchmarkTakeGive(b *testing.B) {
	x := budget.New(1 << 20)
	b.ReportAllocs()
	for b.Loop() {
		_ = x.Take(b.Context(), 100)
		x.Give(100)
	}
}
