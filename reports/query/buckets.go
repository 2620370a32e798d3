package query

import (
	"math"
	"slices"
	"time"

	"berth/internal/api"
	"berth/schema"
	"berth/schema/block"
	"berth/schema/rollup"
)

// steps are the widths of buckets that people can read off an axis.
var steps = [...]time.Duration{
	time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond,
	50 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 15 * time.Second, 30 * time.Second,
	time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute,
	time.Hour, 2 * time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour,
	day, 2 * day, 5 * day, 10 * day, 30 * day, 90 * day, 365 * day,
}

const day = 24 * time.Hour

// StepFor returns the narrowest width, at least least, in which no more than points buckets cover the span, wherever it
// begins. There are at least two points.
func StepFor(span time.Duration, points int, least time.Duration) time.Duration {
	for _, step := range steps {
		if step >= least && int64(span/step)+2 <= int64(points) {
			return step
		}
	}
	return steps[len(steps)-1]
}

// bucket sums up the readings of one sensor in one step.
type bucket struct {
	count   uint64 // all readings
	numbers uint64 // those that are numbers
	sum     float64
	min     float64
	max     float64
}

// addNumbers adds a sum of numbers.
func (b *bucket) addNumbers(numbers uint64, sum, low, high float64) {
	if numbers == 0 {
		return
	}
	if b.numbers == 0 || low < b.min {
		b.min = low
	}
	if b.numbers == 0 || high > b.max {
		b.max = high
	}
	b.numbers += numbers
	b.sum += sum
}

// chart collects one sensor's readings: as buckets, and as they are while they are few.
type chart struct {
	sensor  string
	kind    schema.Kind
	from    int64 // start of the first bucket
	step    int64
	buckets []bucket

	points int // the most readings that raw may hold
	raw    bool
	times  []int64
	values []schema.Value
}

func newChart(sensor string, from, to, step int64, points int, raw bool) *chart {
	return &chart{sensor: sensor, from: from, step: step, points: points, raw: raw, buckets: make([]bucket, (to-from+step-1)/step)}
}

// addSeries adds readings.
func (c *chart) addSeries(s *block.Series) {
	for i, t := range s.Times {
		v := s.Value(i)
		b := &c.buckets[(t-c.from)/c.step]
		b.count++
		if number, ok := v.Number(); ok {
			b.addNumbers(1, number, number, number)
		}
		c.kind = v.Kind()
		if !c.raw {
			continue
		}
		if len(c.times) == c.points {
			c.raw, c.times, c.values = false, nil, nil
			continue
		}
		c.times = append(c.times, t)
		c.values = append(c.values, v)
	}
}

// addStat adds a rollup's sum of the span that starts at t.
func (c *chart) addStat(t int64, s *rollup.Stat) {
	b := &c.buckets[(t-c.from)/c.step]
	b.count += s.Count
	b.addNumbers(s.Numbers, s.Sum, s.Min, s.Max)
	c.kind = s.Last.Kind()
}

// holds reports whether all readings of a column lie in one bucket, and only their sums are wanted.
func (c *chart) holds(i *block.Info) bool {
	return !c.raw && (i.FirstTime-c.from)/c.step == (i.LastTime-c.from)/c.step
}

// addColumn adds the sums of a column that one bucket holds.
func (c *chart) addColumn(i *block.Info) {
	b := &c.buckets[(i.FirstTime-c.from)/c.step]
	b.count += i.Count
	b.addNumbers(i.Numbers, i.Sum, i.Min, i.Max)
	c.kind = i.Kind
}

// series returns what was collected as the API answers it: of the values that are named those only, if any are.
func (c *chart) series(values []string) api.Series {
	out := api.Series{Sensor: c.sensor, Raw: c.raw}
	if c.kind.Valid() {
		out.Kind = c.kind.String()
	}
	want := func(value string) bool { return len(values) == 0 || slices.Contains(values, value) }
	if !c.raw {
		c.bucketPoints(&out, want)
		out.Gap = gap(out.Time, c.step/int64(time.Millisecond), time.Millisecond)
		return out
	}
	c.rawPoints(&out)
	for _, v := range api.SeriesValues {
		if !want(v) {
			out.Drop(v)
		}
	}
	out.Gap = gap(c.times, 0, time.Nanosecond)
	return out
}

// bucketPoints makes a point of each bucket that has readings, of the values that are wanted.
func (c *chart) bucketPoints(out *api.Series, want func(value string) bool) {
	n := 0
	for i := range c.buckets {
		if c.buckets[i].count > 0 {
			n++
		}
	}
	numbers := func(value string) api.Numbers {
		if !want(value) {
			return nil
		}
		return make(api.Numbers, 0, n)
	}
	out.Time, out.Min, out.Max, out.Mean = make([]int64, 0, n), numbers("min"), numbers("max"), numbers("mean")
	if want("count") {
		out.Count = make([]uint64, 0, n)
	}
	for i := range c.buckets {
		b := &c.buckets[i]
		if b.count == 0 {
			continue
		}
		low, high, mean := math.NaN(), math.NaN(), math.NaN()
		if b.numbers > 0 {
			low, high, mean = b.min, b.max, b.sum/float64(b.numbers)
		}
		out.Time = append(out.Time, Millis(c.from+int64(i)*c.step))
		if out.Min != nil {
			out.Min = append(out.Min, api.Number(low))
		}
		if out.Max != nil {
			out.Max = append(out.Max, api.Number(high))
		}
		if out.Mean != nil {
			out.Mean = append(out.Mean, api.Number(mean))
		}
		if out.Count != nil {
			out.Count = append(out.Count, b.count)
		}
	}
}

// rawPoints makes each reading a point of its own.
func (c *chart) rawPoints(out *api.Series) {
	n := len(c.times)
	out.Time, out.Count = make([]int64, 0, n), make([]uint64, 0, n)
	out.Min, out.Max, out.Mean = make(api.Numbers, 0, n), make(api.Numbers, 0, n), make(api.Numbers, 0, n)
	for i, t := range c.times {
		v := c.values[i]
		number, ok := v.Number()
		if !ok {
			number = math.NaN()
		}
		out.Time = append(out.Time, Millis(t))
		out.Min = append(out.Min, api.Number(number))
		out.Max = append(out.Max, api.Number(number))
		out.Mean = append(out.Mean, api.Number(number))
		out.Count = append(out.Count, 1)
		if v.Kind() == schema.Text {
			for len(out.Text) < i {
				out.Text = append(out.Text, nil)
			}
			out.Text = append(out.Text, new(v.Text()))
		}
	}
	for len(out.Text) > 0 && len(out.Text) < len(c.times) {
		out.Text = append(out.Text, nil)
	}
}

// gap returns the distance between points, in seconds, beyond which a chart shows a gap: three times their usual
// distance, and more than two buckets. Times are in the unit. 0 where there are too few points to know.
func gap(times []int64, step int64, unit time.Duration) float64 {
	if len(times) < 3 {
		return 0
	}
	distances := make([]int64, 0, len(times)-1)
	for i := range times[1:] {
		distances = append(distances, times[i+1]-times[i])
	}
	slices.Sort(distances)
	usual := distances[len(distances)/2]
	return (time.Duration(max(3*usual, 2*step)) * unit).Seconds()
}
