package block

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"berth/schema"
)

func TestWhatIsEncodedIsReadBackBitForBit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := contentGen(t)
		prefix := []byte("before")
		data, err := Encode(prefix, want)
		if err != nil {
			t.Fatal(err)
		}
		r, err := Open(data[len(prefix):])
		if err != nil {
			t.Fatal(err)
		}
		got, err := r.Content()
		if err != nil {
			t.Fatal(err)
		}
		if diff := diff(want, got); diff != "" {
			t.Fatal(diff)
		}
		var column Column
		for i := range want.Columns {
			if err := r.Column(i, &column); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want.Columns[i], column, cmpopts.EquateEmpty()); diff != "" {
				t.Fatal(diff)
			}
		}
	})
}

func TestDirectorySaysWhatTheColumnsHold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := contentGen(t)
		data, err := Encode(nil, c)
		if err != nil {
			t.Fatal(err)
		}
		r, err := Open(data)
		if err != nil {
			t.Fatal(err)
		}
		first, last := c.Span()
		if r.Gateway() != c.Gateway || r.From() != c.From || r.To() != c.To || r.First() != first || r.Last() != last {
			t.Fatalf("header: %q %s %s %d %d", r.Gateway(), r.From(), r.To(), r.First(), r.Last())
		}
		for i, info := range r.Columns() {
			checkInfo(t, &c.Columns[i], info)
		}
	})
}

// checkInfo compares a directory's statistics with sums over the column.
func checkInfo(t *rapid.T, c *Column, info Info) {
	n := c.Len()
	want := Info{
		Sensor: c.Sensor, Kind: c.Kind, Count: uint64(n), First: c.Value(0), Last: c.Value(n - 1),
		FirstTime: c.Times[0], LastTime: c.Times[n-1],
	}
	magnitude := 0.0
	for i := range n {
		x, ok := c.Value(i).Number()
		if !ok {
			continue
		}
		if want.Numbers == 0 {
			want.Min, want.Max = x, x
		}
		want.Numbers++
		want.Min, want.Max, want.Sum = min(want.Min, x), max(want.Max, x), want.Sum+x
		magnitude += math.Abs(x)
	}
	finite := !math.IsInf(magnitude, 0)
	if finite && math.Abs(want.Sum-info.Sum) > 1e-12*magnitude || !finite && info.Sum-info.Sum == 0 && info.Numbers < 2 {
		t.Fatalf("sum of %s: %g, want %g", c.Sensor, info.Sum, want.Sum)
	}
	want.Sum, info.Sum = 0, 0
	if diff := cmp.Diff(want, info, cmp.Comparer(func(a, b schema.Value) bool { return a == b })); diff != "" {
		t.Fatal(diff)
	}
}
