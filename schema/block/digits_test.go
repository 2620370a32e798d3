package block

import (
	"slices"
	"testing"
)

// TestDigitsOfEveryBase writes and reads the largest words of every base, where a division by multiplication would err first.
func TestDigitsOfEveryBase(t *testing.T) {
	for most := range uint64(digitMost + 1) {
		d := digitsOf(most)
		for n := 1; n <= d.count+1; n++ {
			x := slices.Repeat([]uint64{most}, n)
			x[n/2] = most / 2
			w := bitWriter{}
			w.reserve(d.size(n))
			w.writeDigits(d, x)
			data, got := w.close(), make([]uint64, n)
			if r := (bitReader{data: data}); !readDigits(&r, d, got) || r.at != d.size(n) || !slices.Equal(got, x) {
				t.Fatalf("%d digits of 0 to %d, %+v: %d, want %d", n, most, d, got, x)
			}
		}
		if d.size(1000) > 1000*uint64(spanOf(most).width) {
			t.Errorf("digits of 0 to %d take %d bits, %+v", most, d.size(1000), d)
		}
	}
}

// TestAWordThatIsTooLargeIsNoDigits: a word may be larger than its digits can say.
func TestAWordThatIsTooLargeIsNoDigits(t *testing.T) {
	d := digitsOf(2)
	w := bitWriter{}
	w.reserve(64)
	w.writeWide(1<<d.width-1, d.width)
	if r := (bitReader{data: w.close()}); readDigits(&r, d, make([]uint64, d.count)) {
		t.Errorf("a word of %d ones was read as %d digits of base 3", d.width, d.count)
	}
}

// TestAJumpCostsItselfOnly: a stretch without readings and a jump of the value make a few bytes more, not another code for all.
func TestAJumpCostsItselfOnly(t *testing.T) {
	const n = 300
	var e ints
	for _, most := range []int{2, 10, 20, 100, 1000, 3000} {
		size := func(jump int64) int {
			v, at := make([]int64, n), int64(0)
			for i := range v {
				at += int64(goldenNoise(i, most+1) - most/2)
				if i == n/3 {
					at += jump
				}
				v[i] = at
			}
			data := e.append(nil, v, boundsOf(v))
			got := make([]int64, n)
			if !readInts(got, data, boundsOf(v)) || !slices.Equal(got, v) {
				t.Fatal("it is not read back")
			}
			return len(data)
		}
		for _, jump := range []int64{1e5, -1e5, 1e9, -1e12} {
			if before, after := size(0), size(jump); after > before+12 {
				t.Errorf("a jump by %d among differences to %d makes %d bytes of %d", jump, most, after, before)
			}
		}
	}
}
