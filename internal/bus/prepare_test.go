package bus

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestARequestThatReachesNoLeaderIsMadeAgain has two tries that are never answered, as while a cluster elects.
func TestARequestThatReachesNoLeaderIsMadeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun, tried := time.Now(), 0
		err := Insist(t.Context(), func(ctx context.Context) error {
			if tried++; tried == 3 {
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		})
		if err != nil || tried != 3 || time.Since(begun) != 2*tryFor {
			t.Errorf("%v after %d tries and %v", err, tried, time.Since(begun))
		}
		tried = 0
		refused := errors.New("refused")
		if err := Insist(t.Context(), func(context.Context) error { tried++; return refused }); !errors.Is(err, refused) || tried != 1 {
			t.Errorf("what is refused is tried %d times: %v", tried, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := Insist(ctx, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("beyond the caller's time: %v", err)
		}
		tried = 0
		if err := Insist(t.Context(), func(ctx context.Context) error { tried++; <-ctx.Done(); return ctx.Err() }); err == nil || tried != tries {
			t.Errorf("it is given up after %d tries: %v", tried, err)
		}
	})
}
