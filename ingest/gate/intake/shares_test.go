package intake

import (
	"fmt"
	"testing"
	"time"
)

func TestOneSenderCannotPushOutTheOthers(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	s := shares{now: func() time.Time { return now }}
	got := map[share]int{}
	for range 1_000 {
		got[s.take("bad", 100<<10)]++
		now = now.Add(time.Second / 10)
	}
	if got[shareWhole] < 40 || got[shareWhole] > 42 || got[shareShort] != 2 || got[shareNone] < 950 {
		t.Errorf("of 1000 rejects of 100 KiB in 100 s: %d whole, %d short, %d not kept", got[shareWhole], got[shareShort], got[shareNone])
	}
	if s.take("good", 1<<20) != shareWhole {
		t.Error("another sender has no share left")
	}
	now = now.Add(time.Hour)
	if s.take("bad", 1<<20) != shareWhole {
		t.Error("an hour later it has no share")
	}
	for i := range 3 * shareSenders {
		s.take(fmt.Sprint(i), 0)
	}
	if len(s.senders) > shareSenders {
		t.Errorf("%d senders are remembered", len(s.senders))
	}
}
