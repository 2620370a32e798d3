package rollup

import (
	"flag"
	"math"
	"math/big"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"berth/schema"
	"berth/schema/block"
	"berth/schema/internal/wire"
)

var update = flag.Bool("update", false, "write the golden file of the version that is written")

// equal compares values and floats bit for bit.
var equal = cmp.Options{
	cmp.Comparer(func(a, b schema.Value) bool { return a == b }),
	cmp.Comparer(func(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) }),
}

// seriesGen makes a sensor's series of mixed kinds.
func seriesGen(t *rapid.T, sensor string) block.Series {
	s := block.Series{Sensor: sensor, Texts: []string{"off", "on"}}
	at := rapid.Int64Range(-1e18, 1e18).Draw(t, "start") * rapid.SampledFrom([]int64{1, 1e3}).Draw(t, "unit") / 1e3 * 1e3
	for range rapid.IntRange(0, 30).Draw(t, "n") {
		at += rapid.Int64Range(1, 3600e9).Draw(t, "step") / 1e6 * 1e6
		at++
		v := schema.FloatValue(float64(rapid.IntRange(-4000, 4000).Draw(t, "n")) / 100)
		switch rapid.IntRange(0, 9).Draw(t, "kind") {
		case 0:
			v = schema.IntValue(rapid.Int64().Draw(t, "int"))
		case 1:
			v = schema.BoolValue(true)
		case 2:
			v = schema.BitsValue(schema.Text, 1)
		case 3:
			v = schema.FloatValue(math.NaN())
		}
		s.Times = append(s.Times, at)
		s.Kinds = append(s.Kinds, v.Kind())
		s.Bits = append(s.Bits, v.Bits())
	}
	return s
}

func TestStatisticsAreThoseOfTheReadings(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := seriesGen(t, "s")
		stats := Compute([]block.Series{s})
		if s.Len() == 0 {
			if len(stats) != 0 {
				t.Fatalf("statistics of nothing: %v", stats)
			}
			return
		}
		var numbers []float64
		sum := new(big.Float).SetPrec(400)
		for i := range s.Len() {
			if x, ok := s.Value(i).Number(); ok {
				numbers = append(numbers, x)
				sum.Add(sum, big.NewFloat(x))
			}
		}
		want := Stat{
			Sensor: "s", Count: uint64(s.Len()), Numbers: uint64(len(numbers)),
			First: s.Value(0), Last: s.Value(s.Len() - 1), FirstTime: s.Times[0], LastTime: s.Times[s.Len()-1],
		}
		magnitude := 0.0
		if len(numbers) > 0 {
			want.Min, want.Max = slices.Min(numbers), slices.Max(numbers)
			for _, x := range numbers {
				magnitude += math.Abs(x)
			}
		}
		exact, _ := sum.Float64()
		if got := stats[0].Sum; math.Abs(got-exact) > 1e-15*math.Abs(exact)+1e-29*magnitude {
			t.Fatalf("sum %v, want %v", got, exact)
		}
		want.Sum = stats[0].Sum
		if diff := cmp.Diff([]Stat{want}, stats, equal); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestSumIsCompensated(t *testing.T) {
	s := block.Series{Sensor: "s"}
	for i, x := range []float64{1, 1e100, 1, -1e100} {
		s.Times, s.Kinds, s.Bits = append(s.Times, int64(i)), append(s.Kinds, schema.Float), append(s.Bits, math.Float64bits(x))
	}
	if got := Compute([]block.Series{s})[0].Sum; got != 2 {
		t.Errorf("the sum is %g, want 2", got)
	}
	s.Bits[0] = math.Float64bits(math.Inf(1))
	if got := Compute([]block.Series{s})[0].Sum; !math.IsInf(got, 1) {
		t.Errorf("the sum with an infinity is %g", got)
	}
}

func TestWhatIsEncodedIsReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfDistinct(rapid.StringMatching(`(diagnostics\.)?[a-d]{1,5}`), rapid.ID).Draw(t, "names")
		slices.Sort(names)
		series := make([]block.Series, len(names))
		for i, name := range names {
			series[i] = seriesGen(t, name)
		}
		want := Compute(series)
		data := Encode([]byte("before"), want)[len("before"):]
		got, err := Decode(data)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, equal); diff != "" {
			t.Fatal(diff)
		}
	})
}

// goldenStats must never change, for the files of old versions hold them.
func goldenStats() []Stat {
	const hour = int64(1773446400e9)
	return []Stat{
		{Sensor: "boiler.mode", Count: 3, First: schema.TextValue("off"), Last: schema.TextValue("läuft"), FirstTime: hour + 1e9, LastTime: hour + 3599e9},
		{Sensor: "boiler.pump", Count: 4, Numbers: 4, Sum: 3, Max: 1, First: schema.BoolValue(false), Last: schema.BoolValue(true), FirstTime: hour, LastTime: hour + 7e9},
		{
			Sensor: "boiler.temperature", Count: 360, Numbers: 359, Sum: 25130.5, Min: -0.5, Max: 91.25,
			First: schema.FloatValue(70.1), Last: schema.BitsValue(schema.Float, 0x7ff8000000000123), FirstTime: hour + 1e6, LastTime: hour + 3590e9,
		},
		{Sensor: "meter", Count: 1, Numbers: 1, Sum: 1 << 60, Min: 1 << 60, Max: 1 << 60, First: schema.IntValue(1 << 60), Last: schema.IntValue(1 << 60), FirstTime: hour, LastTime: hour},
	}
}

func TestGoldenFilesOfEveryVersionAreRead(t *testing.T) {
	written := Encode(nil, goldenStats())
	for version := 1; version <= Version; version++ {
		file := filepath.Join("testdata", "v"+strconv.Itoa(version)+".golden")
		if *update && version == Version {
			if err := os.WriteFile(file, written, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Decode(data)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(goldenStats(), got, equal); diff != "" {
			t.Errorf("version %d\n%s", version, diff)
		}
		if diff := cmp.Diff(data, written); version == Version && diff != "" {
			t.Errorf("what is written has changed: raise the version\n%s", diff)
		}
	}
}

// TestHeadsOfTheSameSensorsAreTheSame: what a store may keep once is all that names the sensors.
func TestHeadsOfTheSameSensorsAreTheSame(t *testing.T) {
	one, other := goldenStats(), goldenStats()
	for i := range other {
		other[i].Count += 7
		other[i].Numbers += 7
		other[i].LastTime++
	}
	a, b := Encode(nil, one), Encode(nil, other)
	if n := Head(a); n != Head(b) || string(a[:n]) != string(b[:n]) || n < len("boiler.modepumptemperaturemeter") {
		t.Errorf("heads are %q and %q", a[:Head(a)], b[:Head(b)])
	}
	for n := range Head(a) {
		if got := Head(a[:n]); got != 0 {
			t.Errorf("%d bytes have a head of %d", n, got)
		}
	}
	if n := Head([]byte("BRU\x01\x00")); n != 0 {
		t.Errorf("version 1 has a head of %d bytes", n)
	}
}

// extremes are numbers at the edges of what is written as integers.
var extremes = []float64{
	0, math.Copysign(0, -1), 1, -1, 0.1, 1e-15, 1 << 51, -(1 << 51), 1<<51 + 1, 1 << 53, 1e300, math.MaxFloat64, math.SmallestNonzeroFloat64,
	math.Inf(1), math.Inf(-1), math.NaN(), 1.0 / 3,
}

// TestAnyStatistics writes and reads statistics that no readings give.
func TestAnyStatistics(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		number := rapid.OneOf(rapid.SampledFrom(extremes), rapid.Map(rapid.Int64Range(-1e6, 1e6), func(n int64) float64 { return float64(n) / 1000 }))
		value := rapid.Custom(func(t *rapid.T) schema.Value {
			switch rapid.IntRange(0, 5).Draw(t, "kind") {
			case 0:
				return schema.IntValue(rapid.OneOf(rapid.Int64(), rapid.Int64Range(-9, 9)).Draw(t, "int"))
			case 1:
				return schema.BoolValue(rapid.Bool().Draw(t, "bool"))
			case 2:
				return schema.TextValue(rapid.SampledFrom([]string{"", "on"}).Draw(t, "text"))
			case 3:
				return schema.Value{}
			default:
				return schema.FloatValue(number.Draw(t, "float"))
			}
		})
		var want []Stat
		for i := range rapid.IntRange(0, 4).Draw(t, "n") {
			s := Stat{
				Sensor: "s" + strconv.Itoa(i), Count: rapid.OneOf(rapid.Uint64(), rapid.Uint64Range(1, 2)).Draw(t, "count"), First: value.Draw(t, "first"), Last: value.Draw(t, "last"),
				FirstTime: rapid.OneOf(rapid.Int64Range(-1e9, 1e9), rapid.Int64Range(5, 8)).Draw(t, "from"), // often that of the sensor before
			}
			s.LastTime = s.FirstTime + rapid.Int64Range(0, 3).Draw(t, "length")
			if i > 0 && rapid.Bool().Draw(t, "like the one before") {
				s.Count, s.LastTime = want[i-1].Count, max(s.FirstTime, want[i-1].LastTime)
			}
			s.Numbers = rapid.SampledFrom([]uint64{0, s.Count / 2, s.Count}).Draw(t, "numbers")
			if s.Numbers > 0 {
				s.Min, s.Max, s.Sum = number.Draw(t, "least"), number.Draw(t, "most"), number.Draw(t, "sum")
			}
			want = append(want, s)
		}
		data := Encode(nil, want)
		got, err := Decode(data)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, equal, cmpopts.EquateEmpty()); diff != "" {
			t.Fatal(diff)
		}
		wanted := rapid.Uint8().Draw(t, "wanted")
		some := Decoder{Only: func(sensor string) bool { return wanted>>(sensor[1]-'0')&1 == 1 }}
		for i := range want {
			if !some.Only(want[i].Sensor) {
				want[i] = Stat{Sensor: want[i].Sensor}
			}
		}
		for range 2 { // with new names, and with the same
			got, _, err := some.Decode(data)
			if diff := cmp.Diff(want, got, equal, cmpopts.EquateEmpty()); err != nil || diff != "" {
				t.Fatal(err, diff)
			}
		}
	})
}

// TestSize holds what an hour of a truck takes: a third of what version 1 took.
func TestSize(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	var series []block.Series
	for i, name := range []string{"elevation", "fuel_consumption", "grade", "heading", "latitude", "longitude", "velocity"} {
		s, at := block.Series{Sensor: "readings." + name}, float64(1000*i)
		for tick := range 360 {
			at += float64(r.IntN(201) - 100)
			s.Times, s.Kinds, s.Bits = append(s.Times, int64(tick)*10e9), append(s.Kinds, schema.Float), append(s.Bits, math.Float64bits(at/10))
		}
		series = append(series, s)
	}
	data := Encode(nil, Compute(series))
	if size := len(data) - Head(data); size > 100 {
		t.Errorf("a rollup of %d sensors has %d bytes behind its head of %d", len(series), size, Head(data))
	}
}

func TestDamageIsAnError(t *testing.T) {
	data := Encode(nil, goldenStats())
	for n := range data {
		if _, err := Decode(data[:n]); !schema.Is(err, schema.Invalid) {
			t.Fatalf("cut at %d: %v", n, err)
		}
	}
	for i := range 8 * len(data) {
		data[i/8] ^= 1 << (i % 8)
		if _, err := Decode(data); !schema.Is(err, schema.Invalid) {
			t.Fatalf("bit %d flipped: %v", i, err)
		}
		data[i/8] ^= 1 << (i % 8)
	}
}

// FuzzDecode reads any bytes behind a right checksum; what is read is written and read back the same.
func FuzzDecode(f *testing.F) {
	data := Encode(nil, goldenStats())
	f.Add(data[:len(data)-wire.ChecksumSize])
	old, err := os.ReadFile(filepath.Join("testdata", "v1.golden"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(old[:len(old)-wire.ChecksumSize])
	f.Fuzz(func(t *testing.T, body []byte) {
		stats, err := Decode(wire.Seal(slices.Clip(body), 0))
		if err != nil {
			return
		}
		for i := range stats {
			if first, last := stats[i].FirstTime, stats[i].LastTime; first < math.MinInt64/2 || last < first || last > math.MaxInt64/2 {
				return // times that nobody writes
			}
		}
		again, err := Decode(Encode(nil, stats))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(stats, again, equal); diff != "" {
			t.Fatal(diff)
		}
	})
}

func BenchmarkCompute(b *testing.B) {
	s := block.Series{Sensor: "s"}
	for i := range 360 {
		s.Times, s.Kinds, s.Bits = append(s.Times, int64(i)*10e9), append(s.Kinds, schema.Float), append(s.Bits, math.Float64bits(float64(i)/10))
	}
	series := []block.Series{s}
	b.ReportAllocs()
	for b.Loop() {
		Compute(series)
	}
	b.ReportMetric(float64(b.N)*360/b.Elapsed().Seconds()/1e6, "Mreadings/s")
}

// BenchmarkCode writes and reads a rollup of four sensors, and reads what version 1 made of it.
func BenchmarkCode(b *testing.B) {
	stats := goldenStats()
	data := Encode(nil, stats)
	old, err := os.ReadFile(filepath.Join("testdata", "v1.golden"))
	if err != nil {
		b.Fatal(err)
	}
	b.Run("write", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			data = Encode(data[:0], stats)
		}
	})
	b.Run("read one", func(b *testing.B) {
		d := Decoder{Only: func(sensor string) bool { return sensor == stats[len(stats)-1].Sensor }}
		for b.Loop() {
			if _, _, err := d.Decode(data); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("read again", func(b *testing.B) {
		var d Decoder
		for b.Loop() {
			if _, _, err := d.Decode(data); err != nil {
				b.Fatal(err)
			}
		}
	})
	for name, data := range map[string][]byte{"read": data, "read version 1": old} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Decode(data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
