package reportview

import (
	"math"
	"slices"
	"strconv"
	"time"

	"berth/internal/api"
)

// Role says what a shape of a drawing is for; who draws it chooses the colors.
type Role string

// The roles of shapes.
const (
	Grid  Role = "grid"  // lines at which axes are read off
	Band  Role = "band"  // from least to greatest: filled
	Line  Role = "line"  // the mean
	Bar   Role = "bar"   // an increase: filled
	Label Role = "label" // text at an axis
	Note  Role = "note"  // a stretch of time that people have noted something about: filled
)

// Drawing is a chart as shapes, in its own units from its upper left corner: pages draw it as SVG, files as they can.
type Drawing struct {
	Width, Height float64
	Shapes        []Shape
}

// Shape is a line through points, an area within them, or a text at the one point there is.
type Shape struct {
	Role   Role
	Points []Point
	Text   string
	Anchor float64 // of a text: which part of it lies left of the point, 0 to 1
}

// Point is a place in a drawing.
type Point struct{ X, Y float64 }

// How a chart is laid out, in units of which a label is labelSize high.
const (
	chartWidth, chartHeight = 640, 170
	left, right             = 64, 16
	top, bottom             = 12, 22
	labelSize               = 11
	mostLabels              = 8
)

// plot maps a chart's times and values to places.
type plot struct {
	*Drawing

	from, to  time.Time
	low, high float64
}

func (p *plot) x(t time.Time) float64 {
	return left + float64(t.Sub(p.from))/float64(p.to.Sub(p.from))*(p.Width-left-right)
}

func (p *plot) y(value float64) float64 {
	return p.Height - bottom - (value-p.low)/(p.high-p.low)*(p.Height-top-bottom)
}

func (p *plot) add(role Role, points ...Point) {
	p.Shapes = append(p.Shapes, Shape{Role: role, Points: points})
}

// Chart draws what a sensor did, with the numbers of what people have noted; nil when there is nothing to draw.
func (v *View) Chart(s *api.ReportSensor, notes []api.Annotation) *Drawing {
	if s.Chart == nil || len(s.Chart.Time) == 0 {
		return nil
	}
	p := &plot{Drawing: &Drawing{Width: chartWidth, Height: chartHeight}, from: v.Report.From, to: v.Report.To}
	ticks, ok := p.scale(s)
	if !ok {
		return nil
	}
	p.notes(notes)
	p.axes(ticks, v.grouped)
	step := time.Duration(v.Report.Step * float64(time.Second))
	if s.Counter {
		p.bars(s.Chart, step)
	} else {
		p.curve(s.Chart, step)
	}
	return p.Drawing
}

// scale chooses the values between which the chart lies, and those that its axis names. It fails without a finite value.
func (p *plot) scale(s *api.ReportSensor) (ticks []float64, ok bool) {
	p.low, p.high = math.Inf(1), math.Inf(-1)
	take := func(values []api.Number) {
		for _, n := range values {
			if f := float64(n); !math.IsInf(f, 0) && !math.IsNaN(f) {
				p.low, p.high = min(p.low, f), max(p.high, f)
			}
		}
	}
	if s.Counter {
		p.low, p.high = 0, 0
		take(s.Chart.Mean)
	} else {
		take(s.Chart.Min)
		take(s.Chart.Max)
	}
	if p.low > p.high || math.IsInf(p.high-p.low, 0) {
		return nil, false
	}
	if p.low == p.high {
		around := max(math.Abs(p.low)*0.05, 0.5)
		if !s.Counter {
			p.low -= around
		}
		p.high += around
	}
	step := niceStep((p.high - p.low) / 3)
	p.low, p.high = math.Floor(p.low/step+1e-9)*step, math.Ceil(p.high/step-1e-9)*step
	for i := range 12 {
		value := (math.Round(p.low/step) + float64(i)) * step
		if value > p.high+step/2 {
			break
		}
		ticks = append(ticks, value)
	}
	return ticks, p.low < p.high
}

// niceStep returns the least of 1, 2 and 5 times a power of ten that is not below a step.
func niceStep(step float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(step)))
	for _, n := range []float64{1, 2, 5} {
		if n*power >= step*(1-1e-9) {
			return n * power
		}
	}
	return 10 * power
}

// axes draws a line for each value, and a mark for times that people read off.
func (p *plot) axes(ticks []float64, grouped func(string) string) {
	for _, value := range ticks {
		y := p.y(value)
		p.add(Grid, Point{left, y}, Point{p.Width - right, y})
		p.Shapes = append(p.Shapes, Shape{Role: Label, Points: []Point{{left - 6, y + labelSize/3}}, Text: grouped(significant(value, 6)), Anchor: 1})
	}
	floor := p.Height - bottom
	times, layout := marks(p.from, p.to)
	for _, t := range times {
		x := p.x(t)
		p.add(Grid, Point{x, floor}, Point{x, floor + 4})
		p.Shapes = append(p.Shapes, Shape{Role: Label, Points: []Point{{x, p.Height - 5}}, Text: t.Format(layout), Anchor: 0.5})
	}
}

// notes draws an area for each stretch of time that something is noted about, and its number above it.
func (p *plot) notes(all []api.Annotation) {
	const least, apart = 2, 14 // a moment is so wide, and numbers are so far from each other
	free := 0.0
	for i := range all {
		a := &all[i]
		begin, end := max(p.x(a.From), left), min(p.x(a.To), p.Width-right)
		if end-begin < least {
			begin = min(begin, p.Width-right-least)
			end = begin + least
		}
		free = max((begin+end)/2, free+apart)
		floor := p.Height - bottom
		p.add(Note, Point{begin, floor}, Point{begin, top}, Point{end, top}, Point{end, floor})
		p.Shapes = append(p.Shapes, Shape{Role: Label, Points: []Point{{free, top}}, Text: strconv.Itoa(i + 1), Anchor: 0.5})
	}
}

// marks returns times of an axis in the zone of its begin: whole hours, days or months, at most mostLabels of them, and how
// they are written.
func marks(from, to time.Time) (times []time.Time, layout string) {
	zone, span := from.Location(), to.Sub(from)
	y, m, d := from.Date()
	var next func(i int) time.Time
	switch {
	case span < 4*time.Minute:
		return []time.Time{from}, "15:04:05"
	case span <= 49*time.Hour:
		every := time.Hour
		for _, e := range []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour} {
			if every = e; int(span/e) < mostLabels {
				break
			}
		}
		minutes := int(every / time.Minute)
		next = func(i int) time.Time { return time.Date(y, m, d, 0, i*minutes, 0, 0, zone) }
		layout = "15:04"
	case span <= 80*24*time.Hour:
		days := int(span/(24*time.Hour))/mostLabels + 1
		next = func(i int) time.Time { return time.Date(y, m, d+i*days, 0, 0, 0, 0, zone) }
		layout = "01-02"
	default:
		months := int(span/(30*24*time.Hour))/mostLabels + 1
		next = func(i int) time.Time { return time.Date(y, m+time.Month(i*months), 1, 0, 0, 0, 0, zone) }
		layout = "2006-01"
	}
	for i := 0; i < 5000 && len(times) <= 2*mostLabels; i++ {
		t := next(i)
		if !t.Before(to) {
			break
		}
		if !t.Before(from) && (len(times) == 0 || t.After(times[len(times)-1])) {
			times = append(times, t)
		}
	}
	return times, layout
}

// curve draws a band from least to greatest and a line of means, interrupted where there are no readings.
func (p *plot) curve(s *api.Series, step time.Duration) {
	for begin := 0; begin < len(s.Time); {
		end := begin + 1
		for end < len(s.Time) && time.Duration(s.Time[end]-s.Time[end-1])*time.Millisecond <= max(2*step, time.Duration(s.Gap*float64(time.Second))) {
			end++
		}
		var line, upper, lower []Point
		for i := begin; i < end; i++ {
			x := p.x(time.UnixMilli(s.Time[i]).Add(step / 2))
			line = append(line, Point{x, p.y(p.within(s.Mean[i]))})
			upper = append(upper, Point{x, p.y(p.within(s.Max[i]))})
			lower = append(lower, Point{x, p.y(p.within(s.Min[i]))})
		}
		if len(line) == 1 { // one step alone: as wide as it is
			half := p.x(p.from.Add(step))/2 - left/2.0
			line = []Point{{line[0].X - half, line[0].Y}, {line[0].X + half, line[0].Y}}
			upper = []Point{{line[0].X, upper[0].Y}, {line[1].X, upper[0].Y}}
			lower = []Point{{line[0].X, lower[0].Y}, {line[1].X, lower[0].Y}}
		}
		slices.Reverse(lower)
		upper = append(upper, lower...)
		p.add(Band, upper...)
		p.add(Line, line...)
		begin = end
	}
}

// within keeps infinities at the chart's edge.
func (p *plot) within(n api.Number) float64 {
	if math.IsNaN(float64(n)) {
		return p.low
	}
	return min(max(float64(n), p.low), p.high)
}

// bars draws an area for each step's increase.
func (p *plot) bars(s *api.Series, step time.Duration) {
	floor := p.y(0)
	for i, at := range s.Time {
		t := time.UnixMilli(at)
		x, end, y := p.x(t), min(p.x(t.Add(step)), p.Width-right), p.y(p.within(s.Mean[i]))
		if y < floor {
			p.add(Bar, Point{x, floor}, Point{x, y}, Point{end, y}, Point{end, floor})
		}
	}
}
