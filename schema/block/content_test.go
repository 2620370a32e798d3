package block

import (
	"math"
	"strings"
	"testing"

	"berth/schema"
)

func TestWhatCannotBeABlockIsRefused(t *testing.T) {
	int1 := func(sensor string, times ...int64) Column {
		return Column{Sensor: sensor, Kind: schema.Int, Times: times, Bits: make([]uint64, len(times))}
	}
	good := func() *Content {
		return &Content{Gateway: "g", To: schema.Position{Sequence: 1}, Columns: []Column{int1("a", day, day+1), int1("b", day)}}
	}
	if _, err := Encode(nil, good()); err != nil {
		t.Fatal(err)
	}
	many := int1("a", make([]int64, MaxReadings+1)...)
	for i := range many.Times {
		many.Times[i] = day + int64(i)
	}
	cases := []struct {
		name  string
		code  schema.Code
		spoil func(c *Content)
	}{
		{"no gateway", schema.Invalid, func(c *Content) { c.Gateway = "" }},
		{"no readings", schema.Invalid, func(c *Content) { c.Columns = nil }},
		{"an empty column", schema.Invalid, func(c *Content) { c.Columns[1] = int1("b") }},
		{"a sensor without a name", schema.Invalid, func(c *Content) { c.Columns[0].Sensor = "" }},
		{"a name too long", schema.Invalid, func(c *Content) { c.Columns[1].Sensor = strings.Repeat("b", 256) }},
		{"columns out of order", schema.Invalid, func(c *Content) { c.Columns[0].Sensor = "c" }},
		{"a column twice", schema.Invalid, func(c *Content) { c.Columns[0].Sensor = "b" }},
		{"an identity of two kinds", schema.Invalid, func(c *Content) {
			c.Columns[1] = int1("a", day+1)
			c.Columns[1].Kind = schema.Bool
		}},
		{"times that do not rise", schema.Invalid, func(c *Content) { c.Columns[0].Times[1] = day }},
		{"two days", schema.Invalid, func(c *Content) { c.Columns[1].Times[0] = day - 1 }},
		{"a value too few", schema.Invalid, func(c *Content) { c.Columns[0].Bits = c.Columns[0].Bits[:1] }},
		{"no kind", schema.Invalid, func(c *Content) { c.Columns[0].Kind = 0 }},
		{"a bool of 2", schema.Invalid, func(c *Content) { c.Columns[0].Kind, c.Columns[0].Bits[1] = schema.Bool, 2 }},
		{"positions that go back", schema.Invalid, func(c *Content) { c.From.Sequence = 2 }},
		{"a text too long", schema.Invalid, func(c *Content) {
			c.Columns[1] = Column{Sensor: "b", Kind: schema.Text, Times: []int64{day}, Texts: []string{strings.Repeat("x", schema.MaxText+1)}}
		}},
		{"too many readings", schema.TooLarge, func(c *Content) { c.Columns[0] = many }},
		{"too much text", schema.TooLarge, func(c *Content) {
			c.Columns[1] = Column{Sensor: "b", Kind: schema.Text}
			for i := range MaxTextBytes/schema.MaxText + 99 {
				c.Columns[1].Times = append(c.Columns[1].Times, day+int64(i))
				c.Columns[1].Texts = append(c.Columns[1].Texts, strings.Repeat(string(rune('a'+i%26)), schema.MaxText-i))
			}
		}},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			c := good()
			tc.spoil(c)
			data, err := Encode([]byte("before"), c)
			if !schema.Is(err, tc.code) || string(data) != "before" {
				t.Fatalf("%d bytes, %v", len(data), err)
			}
		})
	}
}

func TestLargestBlocksAreReadBack(t *testing.T) {
	wide := &Content{Gateway: "wide"}
	for i := range 3000 {
		times := make([]int64, 300)
		for j := range times {
			times[j] = day + int64(j*7+j*j*(i%11))*1e6
		}
		bits := make([]uint64, len(times))
		for j := range bits {
			bits[j] = math.Float64bits(float64(j%7) / 4)
		}
		name := "line." + strings.Repeat(string(rune('a'+i/1000)), 200) + "." + string(rune('a'+i/100%10)) + string(rune('a'+i/10%10)) + string(rune('a'+i%10))
		wide.Columns = append(wide.Columns, Column{Sensor: name, Kind: schema.Float, Times: times, Bits: bits})
	}
	long := &Content{Gateway: "long", Columns: []Column{{Sensor: "s", Kind: schema.Int}}}
	for i := range MaxReadings {
		long.Columns[0].Times = append(long.Columns[0].Times, day+int64(i)*1000)
		long.Columns[0].Bits = append(long.Columns[0].Bits, uint64(i*i%1000))
	}
	for _, c := range []*Content{wide, long} {
		r, err := Open(encoded(t, c))
		if err != nil {
			t.Fatal(err)
		}
		got, err := r.Content()
		if err != nil {
			t.Fatal(err)
		}
		if d := diff(c, got); d != "" {
			t.Fatal(d[:min(len(d), 2000)])
		}
	}
}

func TestHotPathsAllocateNothingPerReading(t *testing.T) {
	c := truckContent(120)
	data := encoded(t, c)
	e, ok := encoders.Get().(*encoder) // held, for the pool forgets some under the race detector
	if !ok {
		t.Fatal("no encoder")
	}
	if n := testing.AllocsPerRun(100, func() { data, _ = e.append(data[:0], c) }); n > 0 {
		t.Errorf("encoding allocates %v times", n)
	}
	r, err := Open(encoded(t, c))
	if err != nil {
		t.Fatal(err)
	}
	var column Column
	decode := func() {
		for i := range r.Columns() {
			if err := r.Column(i, &column); err != nil {
				t.Fatal(err)
			}
		}
	}
	decode()
	if n := testing.AllocsPerRun(100, decode); n > 0 {
		t.Errorf("decoding into a used column allocates %v times", n)
	}
}

func TestBlocksAreSmall(t *testing.T) {
	for name, c := range map[string]*Content{"truck": truckContent(120), "room of 1": roomContent(1, 0), "room of 3": roomContent(3, 0)} {
		if perReading := float64(len(encoded(t, c))) / float64(c.Readings()); perReading > 0.9 {
			t.Errorf("%s: %.2f bytes a reading", name, perReading)
		}
	}
}
