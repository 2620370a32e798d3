package report

import (
	"math"
	"time"

	"berth/internal/api"
	"berth/schema"
	"berth/schema/block"
	"berth/schema/record"
)

// sensor sums up the readings of one sensor over a period, which come in order of time.
type sensor struct {
	name string
	said record.Sensor

	readings, numbers   uint64
	late                uint64 // of the readings
	first, last         schema.Value
	firstTime, lastTime int64
	least, most         schema.Value
	total               exact
	wide                bool // an int came that a float64 has no room for
	counter             counter
	high                rank // percentile 95 of the numbers
	usual               rank // the median distance between readings
	chart               []point
}

// point is what a chart shows of one step.
type point struct {
	count, numbers uint64
	least, most    float64
	sum            float64
}

// counter sums up by how much a counter rose.
type counter struct {
	began  bool
	at     schema.Value // its last number
	rise   exact
	resets uint64
}

// counted reports whether a value is a number that a counter can show.
func counted(v schema.Value) bool {
	return v.Kind() == schema.Int || v.Kind() == schema.Float && !math.IsNaN(v.Float()) && !math.IsInf(v.Float(), 0)
}

// add takes the counter's next number and returns by how much it rose. When it fell it began anew at 0.
func (c *counter) add(v schema.Value) float64 {
	before, began := c.at, c.began
	c.at, c.began = v, true
	number, _ := v.Number()
	switch {
	case !began:
		return 0
	case compare(v, before) >= 0:
		c.rise.add(v, false)
		c.rise.add(before, true)
		from, _ := before.Number()
		return number - from
	default:
		c.resets++
		if number < 0 {
			return 0
		}
		c.rise.add(v, false)
		return number
	}
}

// add takes the readings of a stretch of time.
func (s *sensor) add(series *block.Series, w *walk) {
	for i, t := range series.Times {
		v := series.Value(i)
		if s.readings == 0 {
			s.first, s.firstTime = v, t
		} else if w.ranks && s.said.Interval == 0 {
			s.usual.addKey(uint64(t - s.lastTime))
		}
		s.readings++
		if series.Late != nil && series.Late[i] {
			s.late++
		}
		s.last, s.lastTime = v, t
		p := w.point(s, t)
		p.count++
		if number, ok := v.Number(); ok {
			s.addNumber(v, number, p, w)
		}
	}
}

// addNumber takes a reading whose value is a number.
func (s *sensor) addNumber(v schema.Value, number float64, p *point, w *walk) {
	if s.numbers == 0 || compare(v, s.least) < 0 {
		s.least = v
	}
	if s.numbers == 0 || compare(v, s.most) > 0 {
		s.most = v
	}
	s.numbers++
	s.total.add(v, false)
	s.wide = s.wide || v.Kind() == schema.Int && magnitude(v.Int()) > 1<<53
	if w.ranks {
		s.high.add(v)
	}
	if p.numbers == 0 || number < p.least {
		p.least = number
	}
	if p.numbers == 0 || number > p.most {
		p.most = number
	}
	p.numbers++
	if !s.said.Counter {
		p.sum += number
	} else if counted(v) {
		p.sum += s.counter.add(v)
	}
}

// again takes the readings of a stretch of time another time, for what is not found yet.
func (s *sensor) again(series *block.Series, before *int64) {
	for i, t := range series.Times {
		if !s.usual.found && s.said.Interval == 0 {
			if *before != math.MinInt64 {
				s.usual.addKey(uint64(t - *before))
			}
			*before = t
		}
		if v := series.Value(i); !s.high.found {
			if _, ok := v.Number(); ok {
				s.high.add(v)
			}
		}
	}
}

// end ends a walk, and reports whether all is found.
func (s *sensor) end() bool {
	if !s.usual.found && (s.said.Interval != 0 || s.readings < 2) {
		s.usual.found = true
	} else if !s.usual.found {
		s.usual.end()
	}
	switch {
	case s.high.found:
	case s.numbers == 0:
		s.high.found = true
	case s.wide && !s.total.floats && !s.high.ints: // all over again, as ints
		s.high.ints = true
		s.high.again(0, math.MaxUint64)
	default:
		s.high.end()
	}
	return s.usual.found && s.high.found
}

// interval returns the time between readings as it is set, else as it was usual, else as frames came.
func (s *sensor) interval(frames time.Duration) (interval time.Duration, usual bool) {
	switch {
	case s.said.Interval > 0:
		return s.said.Interval, false
	case s.readings > 1 && s.usual.key > 0:
		return time.Duration(s.usual.key), true
	default:
		return frames, true
	}
}

// numbersOf are the numbers that a period and the one before have alike.
type numbersOf struct{ least, most, mean, sum, increase *api.Digits }

func (s *sensor) figures() (n numbersOf) {
	if s.numbers == 0 {
		return n
	}
	n.least, n.most, n.mean = new(digits(s.least)), new(digits(s.most)), new(s.total.mean(s.numbers))
	if s.said.Counter {
		n.increase = new(s.counter.rise.sum())
	} else {
		n.sum = new(s.total.sum())
	}
	return n
}

// report returns what the sensor did, compared with what it did before, which may be nil.
func (s *sensor) report(w *walk, before *sensor) api.ReportSensor {
	n := s.figures()
	r := api.ReportSensor{
		Sensor: s.name, Label: s.said.Label, Unit: s.said.Unit, Decimals: s.said.Decimals, Counter: s.said.Counter,
		Readings: s.readings, Late: s.late, Numbers: s.numbers, Min: n.least, Max: n.most, Mean: n.mean, Sum: n.sum, Increase: n.increase,
		Resets: s.counter.resets,
	}
	if s.readings > 0 {
		r.First, r.Last = w.value(s.firstTime, s.first), w.value(s.lastTime, s.last)
	}
	if s.numbers > 0 {
		v := s.high.valueOf(s.high.key)
		if !s.total.floats { // ints have their own digits
			v = schema.IntValue(asInt(v))
		}
		r.P95 = new(digits(v))
	}
	if before != nil && before.readings > 0 {
		b := before.figures()
		r.Before = &api.ReportBefore{Readings: before.readings, Min: b.least, Max: b.most, Mean: b.mean, Sum: b.sum, Increase: b.increase}
		if s.said.Counter {
			r.Change = change(b.increase, n.increase)
		} else {
			r.Change = change(b.mean, n.mean)
		}
	}
	if w.charts && s.numbers > 0 {
		r.Chart = s.series(w)
	}
	return r
}

// asInt returns a number that is whole.
func asInt(v schema.Value) int64 {
	if v.Kind() == schema.Float {
		return int64(v.Float())
	}
	return v.Int()
}

// change returns by which share a number changed; nil where that says nothing.
func change(before, after *api.Digits) *api.Number {
	if before == nil || after == nil {
		return nil
	}
	from, to := before.Float(), after.Float()
	share := (to - from) / math.Abs(from)
	if from == 0 || math.IsNaN(share) || math.IsInf(share, 0) {
		return nil
	}
	return new(api.Number(share))
}

// series returns the chart. Steps without a number are absent.
func (s *sensor) series(w *walk) *api.Series {
	out := &api.Series{Sensor: s.name, Kind: s.last.Kind().String(), Gap: 2 * w.step.Seconds()}
	for i := range s.chart {
		p := &s.chart[i]
		if p.numbers == 0 {
			continue
		}
		mean := p.sum
		if !s.said.Counter {
			mean /= float64(p.numbers)
		}
		out.Time = append(out.Time, w.from.Add(time.Duration(i)*w.step).UnixMilli())
		out.Min, out.Max = append(out.Min, api.Number(p.least)), append(out.Max, api.Number(p.most))
		out.Mean, out.Count = append(out.Mean, api.Number(mean)), append(out.Count, p.count)
	}
	return out
}
