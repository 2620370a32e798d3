// Package trucks generates the readings of a fleet of trucks as line protocol, in the shape of the IoT case of the Time
// Series Benchmark Suite: every ten seconds two lines a truck, one of where it is and one of how it is, ten readings in all,
// with some of them late, out of order, or missing. It sends nothing.
//
// Its one invariant: the same options give the same bytes, and no identity (truck, sensor, time) comes twice.
package trucks

import (
	"math/rand/v2"
	"strconv"
	"time"
)

// What every line says besides its readings.
const (
	GatewayTag = "name" // the tag that names the truck
	Interval   = 10 * time.Second
	// PerTick is the readings of one truck at one time.
	PerTick = 7 + 3
)

// AttributeTags are the tags that describe a truck and are no part of a sensor's name.
var AttributeTags = []string{
	"fleet", "driver", "model", "device_version", "load_capacity", "fuel_capacity", "nominal_fuel_consumption",
}

// Measurements are the two kinds of lines, with the names of their fields.
var Measurements = []Measurement{
	{"readings", []string{"latitude", "longitude", "elevation", "velocity", "heading", "grade", "fuel_consumption"}},
	{"diagnostics", []string{"fuel_state", "current_load", "status"}},
}

// Measurement is one kind of lines.
type Measurement struct {
	Name   string
	Fields []string
}

// Options say what fleet drives, and when.
type Options struct {
	Trucks int       // default 100
	Days   int       // default 30
	Start  time.Time // midnight of the first day, UTC
	// Readings is about how many there will be. All trucks drive each day from the same hour on for as long as that
	// takes, at most all day.
	Readings int
}

// Fleet is a fleet on its way.
type Fleet struct {
	options  Options
	ticks    int // of each day
	trucks   []truck
	readings int
}

// truck is one truck: who it is, where, and what it has not been able to send.
type truck struct {
	random  *rand.Rand
	tags    string // ",name=truck_0,…"
	walks   [PerTick]walk
	silent  int    // ticks until it has contact again
	missing bool   // what it measures in silence is lost
	kept    []byte // lines that it sends when it has contact again
	held    int    // readings in kept
}

// How a truck loses contact: about one tick in fourteen is measured in silence, half of those are never sent.
const (
	lossChance   = 0.002
	longestQuiet = 64
)

// New returns a fleet before its first day.
func New(o Options) *Fleet {
	if o.Trucks <= 0 {
		o.Trucks = 100
	}
	if o.Days <= 0 {
		o.Days = 30
	}
	f := &Fleet{options: o, ticks: min(max(1, o.Readings/(o.Trucks*o.Days*PerTick)), int(24*time.Hour/Interval))}
	for i := range o.Trucks {
		f.trucks = append(f.trucks, newTruck(i))
	}
	return f
}

// Readings returns how many readings have been yielded.
func (f *Fleet) Readings() int { return f.readings }

// End returns the first moment after the last day.
func (f *Fleet) End() time.Time { return f.options.Start.AddDate(0, 0, f.options.Days) }

// Name returns the name of a truck.
func Name(i int) string { return "truck_" + strconv.Itoa(i) }

// Drive yields the lines of all trucks in the order in which they are sent, those of one moment of one truck at a time, and
// says how many readings they hold. It ends early when yield returns an error, which it returns. lines is valid until yield
// returns.
func (f *Fleet) Drive(yield func(lines []byte, readings int) error) error {
	const begin = 6 * time.Hour
	var lines []byte
	for day := range f.options.Days {
		for tick := range f.ticks {
			first := (begin + time.Duration(tick)*Interval) % (24 * time.Hour)
			at := f.options.Start.AddDate(0, 0, day).Add(first).UnixNano()
			for i := range f.trucks {
				var readings int
				if lines, readings = f.trucks[i].tick(lines[:0], at); readings == 0 {
					continue
				}
				f.readings += readings
				if err := yield(lines, readings); err != nil {
					return err
				}
			}
		}
	}
	for i := range f.trucks {
		t := &f.trucks[i]
		if t.held == 0 {
			continue
		}
		f.readings += t.held
		if err := yield(t.kept, t.held); err != nil {
			return err
		}
	}
	return nil
}

// newTruck returns truck i where it stands before the first day.
func newTruck(i int) truck {
	r := rand.New(rand.NewPCG(uint64(i), 20260101)) //nolint:gosec // the same trucks each time
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	t := truck{random: r}
	t.tags = ",name=" + Name(i) + ",fleet=" + pick("East", "West", "North", "South") + ",driver=" + pick("Derek", "Rodney", "Albert", "Andy", "Seth", "Trish") +
		",model=" + pick("F-150", "G-2000", "H-2") + ",device_version=" + pick("v1.0", "v1.5", "v2.0", "v2.3") +
		",load_capacity=" + pick("1500", "2000", "5000") + ",fuel_capacity=" + pick("150", "300") + ",nominal_fuel_consumption=" + pick("12", "15", "19")
	t.walks = [PerTick]walk{
		{value: r.Float64()*180 - 90, low: -90, high: 90, step: 0.005, decimals: 5},
		{value: r.Float64()*360 - 180, low: -180, high: 180, step: 0.005, decimals: 5},
		{value: r.Float64() * 500, high: 500, step: 10},
		{high: 100, step: 10},
		{value: r.Float64() * 360, high: 360, step: 5},
		{high: 100, step: 5},
		{value: 25, high: 50, step: 5, decimals: 1},
		{value: 1, high: 1, step: 0.001, drift: -0.0005, decimals: 1},
		{high: 1500, step: 5, still: 0.9},
		{high: 5, step: 1, whole: true},
	}
	return t
}

// tick appends what the truck sends at a time, and returns how many readings that is.
func (t *truck) tick(dst []byte, at int64) ([]byte, int) {
	for i := range t.walks {
		t.walks[i].move(t.random)
	}
	if t.silent == 0 && t.random.Float64() < lossChance {
		t.silent, t.missing = 1+t.random.IntN(longestQuiet), t.random.IntN(2) == 0
	}
	if t.silent > 0 {
		t.silent--
		if !t.missing {
			t.kept = t.appendLines(t.kept, at)
			t.held += PerTick
		}
		return dst, 0
	}
	// What is new goes first: what was kept comes late and out of order.
	dst = append(t.appendLines(dst, at), t.kept...)
	readings := PerTick + t.held
	t.kept, t.held = t.kept[:0], 0
	return dst, readings
}

// appendLines appends both lines of a time.
func (t *truck) appendLines(dst []byte, at int64) []byte {
	next := 0
	for _, m := range Measurements {
		dst = append(append(dst, m.Name...), t.tags...)
		for i, field := range m.Fields {
			dst = append(append(append(dst, " ,"[min(i, 1)]), field...), '=')
			dst = t.walks[next].append(dst)
			next++
		}
		dst = append(strconv.AppendInt(append(dst, ' '), at, 10), '\n')
	}
	return dst
}

// walk is a value that wanders between two bounds.
type walk struct {
	value, low, high float64
	step             float64 // it moves by less than that
	drift            float64 // and by that
	still            float64 // the chance that it does not move
	decimals         int
	whole            bool // it is sent as an int
}

// move wanders on.
func (w *walk) move(r *rand.Rand) {
	if w.still > 0 && r.Float64() < w.still {
		return
	}
	w.value = min(max(w.value+(2*r.Float64()-1)*w.step+w.drift, w.low), w.high)
	if w.drift < 0 && w.value == w.low {
		w.value = w.high // the tank is filled
	}
}

// append appends the value as a field of line protocol.
func (w *walk) append(dst []byte) []byte {
	dst = strconv.AppendFloat(dst, w.value, 'f', w.decimals, 64)
	if w.whole {
		dst = append(dst, 'i')
	}
	return dst
}
