package block

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestWhatStaysCostsItsMoves: a reading in ten that moves by one of ten steps takes 0.8 bits by its entropy.
func TestWhatStaysCostsItsMoves(t *testing.T) {
	const n = 5000
	v, at := make([]int64, n), int64(700)
	for i := range v {
		if goldenNoise(i, 10) == 0 {
			at += []int64{-5, -4, -3, -2, -1, 1, 2, 3, 4, 5}[goldenNoise(i/10, 10)]
		}
		v[i] = at
	}
	var e ints
	data := e.append(nil, v, boundsOf(v))
	if bits := 8 * float64(len(data)) / n; data[0]&formMask != formMoves || bits > 0.9 {
		t.Errorf("it takes %.2f bits a value, in form %d", bits, data[0]&formMask)
	}
}

// TestMovesAreReadBack: whatever moves, how often and how far, every form that is planned is read as it was written.
func TestMovesAreReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, most := rapid.IntRange(2, 400).Draw(t, "n"), rapid.SampledFrom([]int64{1, 2, 5, 600, 1 << 20, 1 << 62}).Draw(t, "most")
		v, at := make([]int64, n), rapid.Int64().Draw(t, "at")
		for i := range v {
			if pick(t, "moves", 7) == 0 {
				at += rapid.Int64Range(-most, most).Draw(t, "by")
			}
			v[i] = at
		}
		b := boundsOf(v)
		if b.min == b.max {
			return
		}
		var e ints
		e.normalize(v, b, 1)
		_, runs := e.planDeltas()
		p := e.planMoves(runs - 1)
		e.residuals()
		data, got := e.write([]byte{formMoves}, &p), make([]int64, n)
		if !readInts(got, data, b) || !slices.Equal(got, v) {
			t.Errorf("%d is read as %d", v, got)
		}
		if most := p.size()/8 + 2; uint64(len(data)) > most {
			t.Errorf("%d bytes were written, %d planned", len(data), most)
		}
	})
}
