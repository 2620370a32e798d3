package head

import (
	"testing"

	"berth/schema"
	"berth/schema/batch"
)

// TestADayThatAGatewayHasLeftIsClosed: who sends many days at once has one part of them open, not all; and days that come in
// turn are not cut to pieces.
func TestADayThatAGatewayHasLeftIsClosed(t *testing.T) {
	const full, step = 80, int64(10e9)
	for name, test := range map[string]struct {
		day    func(i int) int64 // that row i is of
		closed int               // parts, after 160 rows
	}{
		"one after the other":           {func(i int) int64 { return int64(i / 40) }, 3},
		"in turn":                       {func(i int) int64 { return int64(i % 4) }, 0},
		"back and forth":                {func(i int) int64 { return int64(i/80*2) + int64(i%2) }, 2},
		"the older ones after the last": {func(i int) int64 { return 3 - int64(i/40) }, 0},
		"first a few":                   {func(i int) int64 { return int64((i + 35) / 50) }, 2},
	} {
		h, in := New(Options{PartTimes: full}, 1, 1), batch.NewInterner(16)
		for i := range 160 {
			h.Follow(uint64(i+2), &batch.Header{Kind: batch.Data}, truckRows(in, 1, 1, aDay+test.day(i)*schema.DaySpan+int64(i)*step))
		}
		parts := h.Closed(1 << 40)
		if len(parts) != test.closed {
			t.Errorf("%s: %d parts are closed, not %d", name, len(parts), test.closed)
		}
		for _, p := range parts {
			if p.p.times < full/4 {
				t.Errorf("%s: a part of %d times is closed", name, p.p.times)
			}
		}
	}
}
