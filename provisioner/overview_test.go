package provisioner

import (
	"context"
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"berth/internal/houseapi"
)

// TestOneLookIsTakenHoweverManyAsk: a look is shown for a minute while the next is taken, and older ones are not.
func TestOneLookIsTakenHoweverManyAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		looks := 0
		o := &overview{now: time.Now, base: ctx, look: func(ctx context.Context) *houseapi.Survey {
			looks++
			n := looks
			select {
			case <-time.After(2 * time.Second):
			case <-ctx.Done():
			}
			return &houseapi.Survey{Passed: n}
		}}
		ask := func() (n int, took time.Duration) {
			begun := time.Now()
			data, err := o.survey(t.Context())
			var s houseapi.Survey
			if err == nil {
				err = json.Unmarshal(data, &s)
			}
			if err != nil {
				t.Error(err)
			}
			return s.Passed, time.Since(begun)
		}
		for range 3 { // the first look is waited for, by all who ask meanwhile
			go func() {
				if n, took := ask(); n != 1 || took != 2*time.Second {
					t.Errorf("look %d after %v, want the first after two seconds", n, took)
				}
			}()
		}
		<-time.After(3 * time.Second)
		for _, c := range []struct {
			later time.Duration
			look  int
			waits time.Duration
		}{
			{0, 1, 0},                             // fresh
			{5 * time.Second, 1, 0},               // shown while the next is taken
			{3 * time.Second, 2, 0},               // which is there now
			{2 * time.Minute, 3, 2 * time.Second}, // too old to be shown
			{overviewFresh - time.Second, 3, 0},   // fresh
		} {
			<-time.After(c.later)
			if n, took := ask(); n != c.look || took != c.waits {
				t.Errorf("%v later: look %d after %v, want %d after %v", c.later, n, took, c.look, c.waits)
			}
		}
		if looks != 3 {
			t.Errorf("%d looks, want 3", looks)
		}
		cancel()
		o.all.Wait()
		<-time.After(time.Hour)
		if data, err := o.survey(t.Context()); err != nil || data == nil || looks != 3 {
			t.Errorf("after the stop: %s, %v, %d looks", data, err, looks)
		}
	})
}
