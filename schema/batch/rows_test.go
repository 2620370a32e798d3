package batch_test

import (
	"fmt"
	"sync"
	"testing"

	"berth/schema"
	"berth/schema/batch"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// TestAppendRange cuts rows anywhere: the pieces, appended to others and to one another, hold the same.
func TestAppendRange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := batch.NewInterner(100)
		rows, before := anyRows(in).Draw(t, "rows"), anyRows(in).Draw(t, "before")
		from := rapid.IntRange(0, rows.Len()).Draw(t, "from")
		to := rapid.IntRange(from, rows.Len()).Draw(t, "to")
		whole := show(rows)

		pieces := &batch.Rows{}
		for _, cut := range [][2]int{{0, from}, {from, to}, {to, rows.Len()}} {
			pieces.AppendRange(rows, cut[0], cut[1])
		}
		if d := cmp.Diff(whole, show(pieces)); d != "" {
			t.Fatalf("three pieces (-want +got):\n%s", d)
		}
		if len(pieces.Bits) != len(rows.Bits) || len(pieces.Text) != len(rows.Text) {
			t.Fatalf("%d values and %d bytes of text became %d and %d", len(rows.Bits), len(rows.Text), len(pieces.Bits), len(pieces.Text))
		}
		if d := cmp.Diff(whole, show(rows)); d != "" {
			t.Fatalf("what was appended has changed (-want +got):\n%s", d)
		}

		joined := &batch.Rows{}
		joined.Append(before)
		joined.Append(rows)
		h := batch.Header{Kind: batch.Data}
		var one, two batch.Encoder
		if d := cmp.Diff(one.Encode(nil, &h, before, rows), two.Encode(nil, &h, joined)); d != "" {
			t.Fatalf("two and the two joined (-want +got):\n%s", d)
		}
	})
}

func TestReset(t *testing.T) {
	in := batch.NewInterner(10)
	rows := trucks(in, 2, 10)
	shapes := rows.Rows[:10]
	rows.Reset()
	if rows.Len() != 0 || rows.Readings() != 0 || len(rows.Text) != 0 {
		t.Errorf("%d rows, %d readings, %d bytes of text after Reset", rows.Len(), rows.Readings(), len(rows.Text))
	}
	for i, row := range shapes {
		if row.Shape != nil {
			t.Fatalf("row %d still holds its shape", i)
		}
	}
}

func TestInterner(t *testing.T) {
	in := batch.NewInterner(1000)
	floats := []schema.Kind{schema.Float, schema.Float}
	one := in.Shape("g", []string{"a", "b"}, floats, nil)
	for name, c := range map[string]struct {
		shape *batch.Shape
		same  bool
	}{
		"equal":           {in.Shape("g", []string{"a", "b"}, []schema.Kind{schema.Float, schema.Float}, []batch.Attribute{}), true},
		"other gateway":   {in.Shape("h", []string{"a", "b"}, floats, nil), false},
		"other order":     {in.Shape("g", []string{"b", "a"}, floats, nil), false},
		"other kinds":     {in.Shape("g", []string{"a", "b"}, []schema.Kind{schema.Float, schema.Int}, nil), false},
		"other attribute": {in.Shape("g", []string{"a", "b"}, floats, []batch.Attribute{{Name: "a", Value: "b"}}), false},
	} {
		if (c.shape == one) != c.same {
			t.Errorf("%s: the same shape: %v, want %v", name, c.shape == one, c.same)
		}
	}
	want := &batch.Shape{Gateway: "g", Sensors: []string{"x"}, Kinds: []schema.Kind{schema.Text}, Attributes: []batch.Attribute{{Name: "m", Value: "n"}, {Name: "o", Value: ""}}}
	if d := cmp.Diff(want, in.Shape(want.Gateway, want.Sensors, want.Kinds, want.Attributes)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// TestInternerForgets: what keeps being asked for stays, what is not asked for goes.
func TestInternerForgets(t *testing.T) {
	in := batch.NewInterner(8)
	shape := func(n int) *batch.Shape {
		return in.Shape(fmt.Sprint("g", n), []string{"a"}, []schema.Kind{schema.Float}, nil)
	}
	kept, lost := shape(0), shape(1)
	for n := range 100 {
		shape(n + 2)
		if n%4 == 0 && shape(0) != kept {
			t.Fatalf("after %d others a shape that is in use was forgotten", n+1)
		}
	}
	if shape(1) == lost {
		t.Error("after 100 others a shape is still remembered, of 8")
	}
}

func TestInternerConcurrent(t *testing.T) {
	in := batch.NewInterner(100)
	var group sync.WaitGroup
	got := make([][]*batch.Shape, 4)
	for w := range got {
		group.Go(func() {
			for n := range 50 {
				got[w] = append(got[w], in.Shape(fmt.Sprint(n), []string{"a"}, []schema.Kind{schema.Int}, nil))
			}
		})
	}
	group.Wait()
	for w := range got {
		if d := cmp.Diff(got[0], got[w], cmp.Comparer(func(a, b *batch.Shape) bool { return a == b })); d != "" {
			t.Errorf("goroutine %d has other shapes:\n%s", w, d)
		}
	}
}
