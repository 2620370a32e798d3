package head

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"berth/schema"
	"berth/schema/batch"
	"berth/schema/block"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const aDay = 1_773_446_400_000_000_000 // the start of a UTC day, ns

// TestAssemblerEqualsBuilder holds the quick way of assembling a part against the reading-by-reading one.
func TestAssemblerEqualsBuilder(t *testing.T) {
	var a assembler
	rapid.Check(t, func(t *rapid.T) {
		shapes := make([]*batch.Shape, rapid.IntRange(1, 3).Draw(t, "shapes"))
		for i := range shapes {
			shapes[i] = drawShape(t, i)
		}
		p := &part{gateway: &gateway{name: "crane-1"}, day: aDay}
		for n := range rapid.IntRange(1, 30).Draw(t, "rows") {
			s := rapid.SampledFrom(shapes).Draw(t, "shape")
			at := aDay + int64(rapid.IntRange(0, 12).Draw(t, "slot"))*schema.HourSpan
			rows := drawRow(t, s, at)
			p.add(&rows.Rows[0], uint64(n+1), aDay+int64(rapid.IntRange(0, 13).Draw(t, "received"))*schema.HourSpan, &lane{shape: s, texts: textsOf(s)}, rows)
		}
		v := p.view()
		want, err := build(&v)
		if err != nil {
			t.Fatal(err)
		}
		got, err := a.assemble(&v)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(encoded(t, want), encoded(t, got)); d != "" {
			t.Fatalf("(-built +assembled):\n%s", cmp.Diff(want, got))
		}
		rows := decoded(t, v.message())
		if rows.Readings() != v.readings() {
			t.Errorf("a message of %d readings holds %d", v.readings(), rows.Readings())
		}
	})
}

func drawShape(t *rapid.T, i int) *batch.Shape {
	s := &batch.Shape{Gateway: "crane-1"}
	own := rapid.Bool().Draw(t, "own sensors")
	for j := range rapid.IntRange(1, 3).Draw(t, "sensors") {
		name := fmt.Sprintf("s%d", j)
		if own {
			name = fmt.Sprintf("s%d.%d", i, j)
		}
		s.Sensors = append(s.Sensors, name)
		s.Kinds = append(s.Kinds, rapid.SampledFrom([]schema.Kind{schema.Float, schema.Int, schema.Text}).Draw(t, "kind"))
	}
	return s
}

func drawRow(t *rapid.T, s *batch.Shape, at int64) *batch.Rows {
	rows := &batch.Rows{Rows: []batch.Row{{Shape: s, Time: at}}}
	for _, k := range s.Kinds {
		n := rapid.IntRange(0, 99).Draw(t, "value")
		switch k {
		case schema.Text:
			rows.Bits = append(rows.Bits, rows.AddText(fmt.Append(nil, "text ", n)))
		case schema.Int:
			rows.Bits = append(rows.Bits, schema.IntValue(int64(n)).Bits())
		default:
			rows.Bits = append(rows.Bits, schema.FloatValue(float64(n)).Bits())
		}
	}
	return rows
}

func encoded(t *rapid.T, c *block.Content) []byte {
	data, err := block.Encode(nil, c)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(data)
}

func decoded(t *rapid.T, data []byte) *batch.Rows {
	_, rows, err := batch.Decode(data, batch.NewInterner(8))
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func TestHoursOfAContent(t *testing.T) {
	var a assembler
	s := &batch.Shape{Gateway: "crane-1", Sensors: []string{"a"}, Kinds: []schema.Kind{schema.Float}}
	p := &part{gateway: &gateway{name: "crane-1"}, day: aDay}
	for n, hour := range []int64{5, 0, 23, 5} {
		rows := &batch.Rows{Rows: []batch.Row{{Shape: s, Time: aDay + hour*schema.HourSpan + schema.HourSpan - 1}}, Bits: []uint64{1}}
		p.add(&rows.Rows[0], uint64(n+1), 0, &lane{shape: s}, rows)
	}
	v := p.view()
	c, err := a.assemble(&v)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := hours(c), uint32(1|1<<5|1<<23); got != want {
		t.Errorf("hours %024b, want %024b", got, want)
	}
}

func TestIntervalForgetsOneLongSilence(t *testing.T) {
	g := &gateway{}
	at, seq := int64(1), uint64(0)
	arrive := func(after time.Duration) {
		at += int64(after)
		seq++
		g.arrived(at, seq)
		g.arrived(at+1, seq) // of the same batch
	}
	for range 30 {
		arrive(time.Minute)
	}
	if d := time.Duration(g.entry.Interval) - time.Minute; d.Abs() > time.Second {
		t.Errorf("after frames every minute the interval is %v", time.Duration(g.entry.Interval))
	}
	arrive(24 * time.Hour)
	if i := time.Duration(g.entry.Interval); i > 2*time.Minute {
		t.Errorf("after one silence of a day the interval is %v", i)
	}
	for range 60 {
		arrive(time.Hour)
	}
	if i := time.Duration(g.entry.Interval); i < 50*time.Minute {
		t.Errorf("after frames every hour the interval is %v", i)
	}
}
