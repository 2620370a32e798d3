package catalog

import (
	"cmp"
	"flag"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"berth/schema"
	"berth/schema/internal/wire"
)

var update = flag.Bool("update", false, "write the golden files of the versions that are written")

var equal = gocmp.Options{
	gocmp.Comparer(func(a, b schema.Value) bool { return a == b }),
	cmpopts.EquateEmpty(),
}

func observations(t *rapid.T) []Latest {
	all := make([]Latest, rapid.IntRange(0, 40).Draw(t, "observations"))
	for i := range all {
		all[i] = Latest{
			Sensor:   rapid.SampledFrom([]string{"a", "b", "b.temperature", "c"}).Draw(t, "sensor"),
			Time:     rapid.Int64Range(-3, 8).Draw(t, "time"),
			Value:    schema.IntValue(int64(i)),
			Position: schema.Position{Sequence: uint64(i / 3), Ordinal: uint32(i % 3)},
		}
	}
	return all
}

func TestTheLatestIsTheOneMeasuredLastInWhateverOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := observations(t)
		best := make(map[string]Latest)
		for _, l := range all {
			b, ok := best[l.Sensor]
			if !ok || cmp.Or(cmp.Compare(l.Time, b.Time), l.Position.Compare(b.Position)) > 0 {
				best[l.Sensor] = l
			}
		}
		var e Entry
		for _, l := range rapid.Permutation(all).Draw(t, "order") {
			e.Observe(l.Sensor, l.Time, l.Value, l.Position)
		}
		if len(e.Latest) != len(best) || !slices.IsSortedFunc(e.Latest, func(a, b Latest) int { return cmp.Compare(a.Sensor, b.Sensor) }) {
			t.Fatalf("%v, want %v", e.Latest, best)
		}
		for sensor, want := range best {
			if got, ok := e.Find(sensor); !ok || got != want {
				t.Fatalf("%v, want %v", got, want)
			}
		}
		if _, ok := e.Find("another"); ok {
			t.Fatal("found a sensor that was never observed")
		}
	})
}

func TestEntriesAreReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := &Entry{
			Gateway: rapid.StringN(1, 30, 128).Draw(t, "gateway"), FirstSeen: rapid.Int64().Draw(t, "first"),
			LastSeen: rapid.Int64().Draw(t, "last"), Interval: rapid.Int64().Draw(t, "interval"),
			Arrived: arrivals(t),
		}
		for range rapid.IntRange(0, 4).Draw(t, "attributes") {
			e.Attributes = append(e.Attributes, Attribute{Name: rapid.String().Draw(t, "name"), Value: rapid.String().Draw(t, "value")})
		}
		for _, l := range observations(t) {
			e.Observe(l.Sensor, rapid.Int64().Draw(t, "time"), schema.FloatValue(rapid.Float64().Draw(t, "value")),
				schema.Position{Sequence: rapid.Uint64().Draw(t, "sequence"), Ordinal: rapid.Uint32().Draw(t, "ordinal")})
		}
		data := EncodeEntry([]byte("before"), e)[len("before"):]
		got, err := DecodeEntry(data)
		if err != nil {
			t.Fatal(err)
		}
		outline, err := Outline(data)
		if err != nil {
			t.Fatal(err)
		}
		want := *e
		want.Attributes, want.Latest = nil, nil
		if diff := gocmp.Diff(want, outline, equal); diff != "" {
			t.Fatal(diff)
		}
		if diff := gocmp.Diff(e, got, equal); diff != "" {
			t.Fatal(diff)
		}
		some, err := DecodeSome(data, func(sensor []byte) bool { return string(sensor) > "b" })
		if err != nil {
			t.Fatal(err)
		}
		want = *e
		want.Attributes = nil
		want.Latest = slices.DeleteFunc(slices.Clone(e.Latest), func(l Latest) bool { return l.Sensor <= "b" })
		if diff := gocmp.Diff(&want, some, equal); diff != "" {
			t.Fatal(diff)
		}
	})
}

func arrivals(t *rapid.T) (a Arrived) {
	at := rapid.Int64Range(0, 1<<60).Draw(t, "arrival")
	for range rapid.IntRange(0, 5).Draw(t, "arrivals") {
		at += rapid.Int64Range(0, 3*schema.HourSpan).Draw(t, "later")
		a.Add(at, rapid.Uint64Range(0, 1<<40).Draw(t, "readings"))
	}
	return a
}

func TestReadingsOfTheLastHourAreCounted(t *testing.T) {
	const hour = schema.HourSpan
	var a Arrived
	if n := a.LastHour(7 * hour); n != 0 {
		t.Fatalf("%d of a gateway that never sent", n)
	}
	for minute := range int64(150) { // six a minute, for two hours and a half
		a.Add(100*hour+minute*int64(time.Minute), 6)
	}
	for minute, want := range map[int64]uint64{150: 360, 165: 270, 179: 186, 180: 180, 210: 90, 240: 0, 10_000: 0} {
		if n := a.LastHour(100*hour + minute*int64(time.Minute)); n != want {
			t.Errorf("after %d minutes %d in the last hour, want %d", minute, n, want)
		}
	}
	a.Add(100*hour, 1) // a clock that was set back
	if a.Hour != 102 || a.Count != 181 {
		t.Errorf("%+v", a)
	}
	later := Arrived{Hour: 103, Count: 10}
	both := Arrived{Hour: 103, Count: 10, Before: 181}
	if got := a.Join(later, func(a, b uint64) uint64 { return a + b }); got != both {
		t.Errorf("%+v, want %+v", got, both)
	}
	if got := later.Join(a, func(a, b uint64) uint64 { return max(a, b) }); got != both {
		t.Errorf("%+v, want %+v", got, both)
	}
}

func TestTailsAreReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		blocks := rapid.SliceOf(rapid.SliceOf(rapid.Byte())).Draw(t, "blocks")
		got, err := DecodeTail(EncodeTail([]byte("before"), blocks)[len("before"):])
		if err != nil {
			t.Fatal(err)
		}
		if diff := gocmp.Diff(blocks, got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatal(diff)
		}
	})
	if blocks, err := DecodeTail(nil); err != nil || len(blocks) != 0 {
		t.Fatalf("the tail of a row that never had one: %v, %v", blocks, err)
	}
}

// goldenEntry and goldenTail must never change, for the files of old versions hold them.
func goldenEntry() *Entry {
	const at = int64(1773446400e9)
	return &Entry{
		Gateway: "truck_2718", FirstSeen: at, LastSeen: at + 86400e9, Interval: 10e9,
		Arrived:    Arrived{Hour: (at + 86400e9) / schema.HourSpan, Count: 1234, Before: 1440},
		Attributes: []Attribute{{"fleet", "South"}, {"model", "läuft"}},
		Latest: []Latest{
			{Sensor: "diagnostics.status", Time: at + 86390e9, Value: schema.IntValue(3), Position: schema.Position{Sequence: 900, Ordinal: 7}},
			{Sensor: "readings.latitude", Time: at + 86400e9, Value: schema.FloatValue(52.31854), Position: schema.Position{Sequence: 901}},
			{Sensor: "readings.mode", Time: at - 1, Value: schema.TextValue("parked"), Position: schema.Position{Sequence: 1 << 40, Ordinal: math.MaxUint32}},
			{Sensor: "readings.moving", Time: at, Value: schema.BoolValue(true), Position: schema.Position{Sequence: 2}},
		},
	}
}

func goldenTail() [][]byte { return [][]byte{[]byte("a block of yesterday"), []byte("one of today")} }

// goldenEntry1 is what version 1 has of it.
func goldenEntry1() *Entry {
	e := goldenEntry()
	e.Arrived = Arrived{}
	return e
}

func TestGoldenFilesOfEveryVersionAreRead(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("testdata", "v1-entry.golden"))
	if err != nil {
		t.Fatal(err)
	}
	if seen, err := Outline(data); err != nil || seen.LastSeen != goldenEntry1().LastSeen || seen.Arrived != (Arrived{}) {
		t.Errorf("the outline of an entry of version 1 is %+v: %v", seen, err)
	}
	if got, err := DecodeEntry(data); err != nil {
		t.Fatal(err)
	} else if diff := gocmp.Diff(goldenEntry1(), got, equal); diff != "" {
		t.Error(diff)
	}
	for name, written := range map[string][]byte{"v2-entry": EncodeEntry(nil, goldenEntry()), "v1-tail": EncodeTail(nil, goldenTail())} {
		file := filepath.Join("testdata", name+".golden")
		if *update {
			if err := os.WriteFile(file, written, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := gocmp.Diff(data, written); diff != "" {
			t.Errorf("what is written has changed: raise the version\n%s", diff)
		}
		var want, got any
		if name == "v1-tail" {
			want = goldenTail()
			got, err = DecodeTail(data)
		} else {
			want = goldenEntry()
			got, err = DecodeEntry(data)
		}
		if err != nil {
			t.Fatal(err)
		}
		if diff := gocmp.Diff(want, got, equal); diff != "" {
			t.Error(diff)
		}
	}
}

func TestDamageIsAnError(t *testing.T) {
	decode := map[string]func([]byte) error{
		string(EncodeEntry(nil, goldenEntry())): func(data []byte) error {
			_, err := DecodeEntry(data)
			if _, serr := Outline(data); schema.Is(err, schema.Invalid) != schema.Is(serr, schema.Invalid) {
				t.Errorf("it cannot be read, %v; its outline: %v", err, serr)
			}
			return err
		},
		string(EncodeTail(nil, goldenTail())): func(data []byte) error { _, err := DecodeTail(data); return err },
	}
	for whole, read := range decode {
		data := []byte(whole)
		for n := range data[1:] {
			if err := read(data[:n+1]); !schema.Is(err, schema.Invalid) {
				t.Fatalf("cut at %d: %v", n+1, err)
			}
		}
		for i := range 8 * len(data) {
			data[i/8] ^= 1 << (i % 8)
			if err := read(data); !schema.Is(err, schema.Invalid) {
				t.Fatalf("bit %d flipped: %v", i, err)
			}
			data[i/8] ^= 1 << (i % 8)
		}
		if err := read([]byte(strings.Repeat("x", 20))); !schema.Is(err, schema.Invalid) {
			t.Fatalf("something else: %v", err)
		}
	}
}

// FuzzDecode reads any bytes behind a right checksum; what is read is written and read back the same.
func FuzzDecode(f *testing.F) {
	for _, data := range [][]byte{EncodeEntry(nil, goldenEntry()), EncodeTail(nil, goldenTail())} {
		f.Add(data[:len(data)-wire.ChecksumSize])
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		data := wire.Seal(slices.Clip(body), 0)
		if e, err := DecodeEntry(data); err == nil {
			if again, err := DecodeEntry(EncodeEntry(nil, e)); err != nil || len(again.Latest) != len(e.Latest) || again.Gateway != e.Gateway {
				t.Fatalf("%v, %v, %v", e, again, err)
			}
		}
		if blocks, err := DecodeTail(data); err == nil {
			if again, err := DecodeTail(EncodeTail(nil, blocks)); err != nil || len(again) != len(blocks) {
				t.Fatalf("%v, %v, %v", blocks, again, err)
			}
		}
	})
}
