package block

import (
	"cmp"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"berth/schema"
)

// event is a reading as it stands in the log.
type event struct {
	sensor   string
	time     int64
	value    schema.Value
	position schema.Position
	late     bool
}

// eventsGen makes readings in position order, with identities that come again under other values and kinds.
func eventsGen(t *rapid.T) []event {
	events := make([]event, rapid.IntRange(1, 120).Draw(t, "events"))
	p := schema.Position{Sequence: 1}
	late := rapid.Bool().Draw(t, "some came late")
	for i := range events {
		if rapid.Bool().Draw(t, "new batch") {
			p = schema.Position{Sequence: p.Sequence + 1}
		} else {
			p.Ordinal++
		}
		e := event{position: p, sensor: rapid.SampledFrom([]string{"a", "b", "b.c"}).Draw(t, "sensor")}
		e.time = day + int64(i/2)
		if pick(t, "late", 3) == 0 {
			e.time = day + rapid.Int64Range(0, 40).Draw(t, "time")
		}
		e.late = late && pick(t, "came late", 3) > 0
		switch pick(t, "kind", 6) {
		case 0:
			e.value = schema.IntValue(int64(i))
		case 1:
			e.value = schema.BoolValue(i&1 == 1)
		case 2:
			e.value = schema.TextValue(strings.Repeat("x", i%3))
		default:
			e.value = schema.FloatValue(float64(i) / 10)
		}
		events[i] = e
	}
	return events
}

// brute resolves identities by a map.
func brute(events []event, keep func(string) bool, from, to int64) []event {
	type identity struct {
		sensor string
		time   int64
	}
	last := make(map[identity]event)
	for _, e := range events {
		if e.time >= from && e.time < to && (keep == nil || keep(e.sensor)) {
			of := identity{e.sensor, e.time}
			if earlier, again := last[of]; again {
				e.late = e.late && earlier.late
			}
			last[of] = e
		}
	}
	out := make([]event, 0, len(last))
	for _, e := range last {
		e.position = schema.Position{}
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b event) int {
		return cmp.Or(cmp.Compare(a.sensor, b.sensor), cmp.Compare(a.time, b.time))
	})
	return out
}

func flatten(series []Series) []event {
	var out []event
	for i := range series {
		s := &series[i]
		for j := range s.Len() {
			out = append(out, event{sensor: s.Sensor, time: s.Times[j], value: s.Value(j), late: lateAt(s.Late, j)})
		}
	}
	return out
}

func build(events []event) *Content {
	b := NewBuilder("gw")
	for _, e := range events {
		add(b, e)
	}
	return b.Content()
}

func add(b *Builder, e event) {
	if e.late {
		b.AddLate(e.sensor, e.time, e.value, e.position)
	} else {
		b.Add(e.sensor, e.time, e.value, e.position)
	}
}

// source is a content, or a reader of it.
func source(t *rapid.T, c *Content) Source {
	if rapid.Bool().Draw(t, "in memory") {
		return c
	}
	data, err := Encode(nil, c)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Open(data)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestMergeOfAnyBlocksIsTheLatestOfEveryIdentity(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		events := eventsGen(t)
		var sources []Source
		for start := 0; start < len(events); { // blocks of one run: disjoint in position
			end := start + rapid.IntRange(1, len(events)-start).Draw(t, "length")
			sources = append(sources, source(t, build(events[start:end])))
			start = end
		}
		for range pick(t, "again", 3) { // blocks of a run before a crash: any others of the same readings
			start := rapid.IntRange(0, len(events)-1).Draw(t, "start")
			end := rapid.IntRange(start+1, len(events)).Draw(t, "end")
			sources = append(sources, source(t, build(events[start:end])))
		}
		sources = rapid.Permutation(sources).Draw(t, "order")
		from := day + rapid.Int64Range(-1, 30).Draw(t, "from")
		to := from + rapid.Int64Range(0, 60).Draw(t, "span")
		var keep func(string) bool
		if rapid.Bool().Draw(t, "some") {
			keep = func(sensor string) bool { return sensor != "b" }
		}
		series, err := Merge(sources, keep, from, to)
		if err != nil {
			t.Fatal(err)
		}
		if want, got := brute(events, keep, from, to), flatten(series); !slices.Equal(want, got) {
			t.Fatalf("merged %v\nwant %v", got, want)
		}
	})
}

func TestBuilderKeepsTheLatestOfEveryIdentity(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		events := eventsGen(t)
		tail := rapid.IntRange(0, len(events)-1).Draw(t, "tail")
		b := NewBuilder("gw")
		if tail > 0 { // a tail that was stored, and read back after a start
			b.AddContent(build(events[:tail]))
		}
		middle := rapid.IntRange(tail, len(events)).Draw(t, "middle")
		var early, before *Content
		for i, e := range events[tail:] {
			if tail+i == middle && b.Len() > 0 {
				early, before = b.Content(), build(events[:middle])
			}
			add(b, e)
		}
		c := b.Content()
		if err := c.check(); err != nil {
			t.Fatal(err)
		}
		if c.From != events[0].position || c.To != events[len(events)-1].position {
			t.Fatalf("from %s to %s", c.From, c.To)
		}
		series, err := Merge([]Source{c}, nil, day, day+schema.DaySpan)
		if err != nil {
			t.Fatal(err)
		}
		if want, got := brute(events, nil, day, day+schema.DaySpan), flatten(series); !slices.Equal(want, got) {
			t.Fatalf("built %v\nwant %v", got, want)
		}
		if early != nil {
			if d := diff(before, early); d != "" {
				t.Fatal("a content changed when readings were added after it: ", d)
			}
		}
	})
}

func TestMergeReportsADamagedSource(t *testing.T) {
	c := goldenOne()
	c.Columns[0].Times, c.Columns[0].Bits = []int64{day, day + 5, day + 7}, []uint64{1, 9, 2}
	r, err := Open(encoded(t, c))
	if err != nil {
		t.Fatal(err)
	}
	r.columns[0].data = []byte{0x77}
	if _, err := Merge([]Source{r}, nil, day, day+schema.DaySpan); !schema.Is(err, schema.Invalid) || !strings.Contains(err.Error(), `gateway "g"`) {
		t.Fatalf("merge of a damaged block: %v", err)
	}
}

func TestMergeOfNothing(t *testing.T) {
	series, err := Merge(nil, nil, 0, 1)
	if err != nil || len(series) != 0 {
		t.Fatalf("%v, %v", series, err)
	}
}
