package block

import (
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"berth/schema"
)

var update = flag.Bool("update", false, "write the golden files of the version that is written")

// goldenContents are the contents of the golden files. They have every coding and every form of a stream; they must
// never change, for the files of old versions hold them.
func goldenContents() map[string]*Content {
	return map[string]*Content{"codings": goldenCodings(), "times": goldenTimes(), "one": goldenOne(), "late": goldenLate(), "all-late": goldenAllLate(), "digits": goldenDigits(), "moves": goldenMoves()}
}

// goldenDigits has streams of differences with and without exceptions, of narrow and wide ranges, and times with gaps.
func goldenDigits() *Content {
	const n = 64
	c := &Content{Gateway: "truck_7", From: schema.Position{Sequence: 3}, To: schema.Position{Sequence: 70}}
	times := make([]int64, n)
	for i := range times {
		times[i] = day + int64(i+i/30*7)*10e9
	}
	for _, s := range []struct {
		sensor string
		step   int
		jumps  bool
	}{{"a.grade", 11, false}, {"b.heading", 11, true}, {"c.latitude", 1001, true}, {"d.height", 20001, true}} {
		column, at := Column{Sensor: s.sensor, Kind: schema.Int, Times: times}, 0
		for i := range n {
			at += goldenNoise(i+s.step, s.step) - s.step/2
			if s.jumps && i%25 == 24 {
				at -= 40 * s.step
			}
			column.Bits = append(column.Bits, uint64(at))
		}
		c.Columns = append(c.Columns, column)
	}
	return c
}

// goldenMoves has streams that mostly stay as they were: that move by one step or by many, seldom or often, first or last.
func goldenMoves() *Content {
	const n = 200
	c := &Content{Gateway: "truck_8", From: schema.Position{Sequence: 3}, To: schema.Position{Sequence: 202}}
	times := make([]int64, n)
	for i := range times {
		times[i] = day + int64(i)*10e9
	}
	for _, s := range []struct {
		sensor      string
		every, step int
	}{{"a.load", 10, 11}, {"b.switch", 40, 1}, {"c.state", 3, 3}, {"d.total", 25, 20001}} {
		column, at := Column{Sensor: s.sensor, Kind: schema.Int, Times: times}, 0
		for i := range n {
			if goldenNoise(i+s.step, s.every) == 0 {
				at += goldenNoise(i, s.step) - s.step/2
				if s.step == 1 {
					at = 1 - at
				}
			}
			column.Bits = append(column.Bits, uint64(at))
		}
		c.Columns = append(c.Columns, column)
	}
	return c
}

// goldenOne is the smallest block.
func goldenOne() *Content {
	return &Content{
		Gateway: "g", From: schema.Position{Sequence: 1}, To: schema.Position{Sequence: 1},
		Columns: []Column{{Sensor: "s", Kind: schema.Int, Times: []int64{day + 1}, Bits: []uint64{7}}},
	}
}

// goldenNoise is a small number that depends on i alone.
func goldenNoise(i, most int) int { return int(uint32(i+1)*2654435761>>7) % most }

// goldenCodings has a column for each coding and form, at shared times.
func goldenCodings() *Content {
	const n = 40
	c := &Content{Gateway: "boiler house 2", From: schema.Position{Sequence: 9, Ordinal: 3}, To: schema.Position{Sequence: 48, Ordinal: 1}}
	times := make([]int64, n)
	for i := range times {
		times[i] = day + int64(i)*10e9
	}
	floats := func(sensor string, f func(i int) float64) {
		column := Column{Sensor: sensor, Kind: schema.Float, Times: times}
		for i := range n {
			column.Bits = append(column.Bits, math.Float64bits(f(i)))
		}
		c.Columns = append(c.Columns, column)
	}
	whole := func(sensor string, kind schema.Kind, f func(i int) int) {
		column := Column{Sensor: sensor, Kind: kind, Times: times}
		for i := range n {
			column.Bits = append(column.Bits, uint64(f(i)))
		}
		c.Columns = append(c.Columns, column)
	}
	floats("a.decimal", func(i int) float64 { return float64(2150+goldenNoise(i, 30)) / 100 })
	floats("b.exceptions", func(i int) float64 {
		switch i {
		case 0:
			return math.NaN()
		case 17:
			return math.Copysign(0, -1)
		}
		return float64(goldenNoise(i, 9)) / 10
	})
	floats("c.single", func(i int) float64 { return float64(float32(213+goldenNoise(i, 9)) / 10) })
	floats("d.distinct", func(i int) float64 { return 1 / float64(3+4*goldenNoise(i, 3)) })
	floats("e.ordered", func(i int) float64 { return 100 / float64(7+i) })
	whole("f.constant", schema.Int, func(int) int { return -5 })
	whole("g.counter", schema.Int, func(i int) int { return 1e9 + 250*i + goldenNoise(i, 3) })
	walk := 0
	whole("h.spike", schema.Int, func(i int) int {
		walk += goldenNoise(i, 5) + goldenNoise(i+70, 5) - 4
		return walk + i/25*(26/(i+1))*1e6
	})
	whole("i.runs", schema.Int, func(i int) int { return i / 13 % 2 * 1000 })
	whole("j.curve", schema.Int, func(i int) int { return i*i*31 + goldenNoise(i, 2) })
	whole("k.switch", schema.Bool, func(i int) int { return goldenNoise(i, 2) })
	whole("l.any", schema.Int, func(i int) int { return goldenNoise(i, 1<<24) << 38 })
	whole("m.dropouts", schema.Int, func(i int) int {
		if i%20 == 9 {
			return 0
		}
		return 23000 + goldenNoise(i, 4) + goldenNoise(i+50, 4) + goldenNoise(i+99, 4)
	})
	texts := Column{Sensor: "n.text", Kind: schema.Text, Times: times}
	for i := range n {
		texts.Texts = append(texts.Texts, []string{"standby", "läuft", "", "Störung 17: Wassermangel, Kessel gesperrt, Wassermangel, Kessel gesperrt"}[goldenNoise(i, 4)])
	}
	c.Columns = append(c.Columns, texts)
	return c
}

// goldenLate has readings that came late: none, all, some, and the same ones as in the column before.
func goldenLate() *Content {
	c := goldenTimes()
	for i, which := range []func(j int) bool{
		func(int) bool { return false }, func(int) bool { return true }, func(j int) bool { return j < 3 || j == 7 }, func(int) bool { return true },
	} {
		column := &c.Columns[i]
		for j := range column.Times {
			column.Late = append(column.Late, which(j))
		}
	}
	same := c.Columns[3]
	same.Sensor = "wind"
	c.Columns = append(c.Columns, same)
	return c
}

// goldenAllLate has nothing but readings that came late.
func goldenAllLate() *Content {
	c := goldenOne()
	c.Columns[0].Late = []bool{true}
	return c
}

// goldenTimes has times that are parts of others, times of their own, and a sensor of two kinds.
func goldenTimes() *Content {
	c := &Content{Gateway: "weather", From: schema.Position{Sequence: 7}, To: schema.Position{Sequence: 1 << 33, Ordinal: math.MaxUint32}}
	column := func(sensor string, kind schema.Kind, which func(i int) bool) {
		column := Column{Sensor: sensor, Kind: kind}
		at := day - 3*schema.DaySpan
		for i := range 50 {
			at += 60e9 + int64(goldenNoise(i, 1<<20))*1000
			if which(i) {
				column.Times = append(column.Times, at)
				column.Bits = append(column.Bits, math.Float64bits(float64(i&1)))
				if kind == schema.Bool {
					column.Bits[len(column.Bits)-1] = uint64(i & 1)
				}
			}
		}
		c.Columns = append(c.Columns, column)
	}
	column("gust", schema.Float, func(i int) bool { return i%5 != 0 })
	column("rain", schema.Float, func(i int) bool { return i%7 != 0 && i < 30 })
	column("rain", schema.Bool, func(i int) bool { return i%7 != 0 && i >= 30 })
	column("sun", schema.Float, func(i int) bool { return i == 20 })
	return c
}

func TestGoldenFilesOfEveryVersionAreRead(t *testing.T) {
	for name, want := range goldenContents() {
		t.Run(name, func(t *testing.T) {
			written := encoded(t, want)
			newest := fmt.Sprintf("testdata/v%d-%s.golden", written[len(Magic)], name)
			if *update {
				if err := os.WriteFile(newest, written, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			files, err := filepath.Glob("testdata/v[0-9]-" + name + ".golden")
			if err != nil || !slices.Contains(files, newest) {
				t.Fatalf("%s is not among %v, %v", newest, files, err)
			}
			for _, file := range files {
				data, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				r, err := Open(data)
				if err != nil {
					t.Fatal(err)
				}
				got, err := r.Content()
				if err != nil {
					t.Fatal(err)
				}
				if diff := diff(want, got); diff != "" {
					t.Error(file, diff)
				}
				if diff := cmp.Diff(data, written); file == newest && diff != "" {
					t.Errorf("what is written has changed: raise the version, unless only the choice of forms or zstd did\n%s", diff)
				}
			}
		})
	}
}

func TestGoldenFilesHaveEveryCodingAndForm(t *testing.T) {
	codings, forms := make(map[byte]bool), make(map[byte]bool)
	parts := false
	files, err := filepath.Glob("testdata/*.golden")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		r, err := Open(data)
		if err != nil {
			t.Fatal(err)
		}
		for i := range r.columns {
			column := &r.columns[i]
			codings[column.coding] = true
			if column.coding == codingInts && len(column.data) > 0 {
				forms[column.data[0]&formMask] = true
			}
		}
		for i := range r.times {
			parts = parts || r.times[i].part
		}
	}
	for coding := byte(codingInts); coding <= codingTexts; coding++ {
		if !codings[coding] {
			t.Errorf("no column has coding %d", coding)
		}
	}
	for form := byte(formPacked); form <= formMoves; form++ {
		if !forms[form] {
			t.Errorf("no stream has form %d", form)
		}
	}
	if !parts {
		t.Error("no time column is a part of another")
	}
}
