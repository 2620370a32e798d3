package promises

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"berth/schema"
)

// A history is what one gateway sends over days, and what befalls its provider's ingest meanwhile, as a small script: an
// operation a line, and anything after # is a remark.
//
//	send a=1.5@-3600 b=7i@-60 c="on"@now-60 d=true@-86400    a frame of readings, in this order: sensor=value@time
//	burst 1000x2@-72000+3                                    a frame of 1000 rows, 2 s apart, of the sensors b0 and b1;
//	                                                         the first value is 3. 960 rows of a day make a block
//	again 2                                                  the second frame of the history once more
//	kill                                                     ingest is killed by SIGKILL
//	restart                                                  the pipeline is stopped in order and started
//	check                                                    everything is asked for and compared with the model
//
// A time is in seconds from the midnight (UTC) that the test's day began with, or, with now, from when the test began. A
// reading outside [now - 400 days, now + 24 hours] must be refused. The end of a script is a check, and another one when
// all rollups are computed.
type history []step

// step is one operation.
type step struct {
	verb     string
	readings []given // send
	rows     int     // burst
	sensors  int
	at       moment
	first    int // value
	number   int // again: of the frame, from 1
}

// given is a reading as a script gives it.
type given struct {
	sensor string
	at     moment
	value  schema.Value
}

// moment is a time as a script gives it.
type moment struct {
	now     bool
	seconds int64
}

// event reports whether the step befalls ingest, and so everybody.
func (s *step) event() bool { return s.verb == "kill" || s.verb == "restart" }

// frame reports whether the step sends a frame that can be sent again.
func (s *step) frame() bool { return s.verb == "send" || s.verb == "burst" }

func (h history) String() string {
	var b strings.Builder
	for i := range h {
		b.WriteString(h[i].String() + "\n")
	}
	return b.String()
}

func (s *step) String() string {
	switch s.verb {
	case "send":
		var b strings.Builder
		b.WriteString("send")
		for _, g := range s.readings {
			fmt.Fprintf(&b, " %s=%s@%s", g.sensor, literal(g.value), g.at)
		}
		return b.String()
	case "burst":
		return fmt.Sprintf("burst %dx%d@%s+%d", s.rows, s.sensors, s.at, s.first)
	case "again":
		return fmt.Sprintf("again %d", s.number)
	default:
		return s.verb
	}
}

func (m moment) String() string {
	if m.now {
		return fmt.Sprintf("now%+d", m.seconds)
	}
	return strconv.FormatInt(m.seconds, 10)
}

// literal returns a value as line protocol, and so a script, writes it.
func literal(v schema.Value) string {
	switch v.Kind() {
	case schema.Int:
		return v.String() + "i"
	case schema.Text:
		return strconv.Quote(v.Text())
	default:
		return v.String()
	}
}

// parseHistory reads a script.
func parseHistory(text string) (history, error) {
	var h history
	for n, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		s := step{verb: fields[0]}
		var err error
		switch s.verb {
		case "send":
			for _, f := range fields[1:] {
				g, parseErr := parseGiven(f)
				if parseErr != nil {
					err = parseErr
				}
				s.readings = append(s.readings, g)
			}
		case "burst":
			before, at, ok := strings.Cut(fields[1], "@")
			plus := strings.LastIndexByte(at, '+')
			if !ok || plus < 1 {
				err = fmt.Errorf("%q is no burst", fields[1])
				break
			}
			if _, err = fmt.Sscanf(before+" "+at[plus+1:], "%dx%d %d", &s.rows, &s.sensors, &s.first); err == nil {
				s.at, err = parseMoment(at[:plus])
			}
		case "again":
			s.number, err = strconv.Atoi(fields[1])
		case "kill", "restart", "check":
		default:
			err = fmt.Errorf("%q is no operation", s.verb)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n+1, err)
		}
		h = append(h, s)
	}
	return h, nil
}

func parseGiven(text string) (g given, err error) {
	sensor, rest, _ := strings.Cut(text, "=")
	value, at, ok := strings.Cut(rest, "@")
	if !ok {
		return g, fmt.Errorf("%q is no reading", text)
	}
	g.sensor = sensor
	if g.at, err = parseMoment(at); err != nil {
		return g, err
	}
	switch {
	case value == "true" || value == "false":
		g.value = schema.BoolValue(value == "true")
	case strings.HasPrefix(value, `"`):
		text, err := strconv.Unquote(value)
		g.value = schema.TextValue(text)
		return g, err
	case strings.HasSuffix(value, "i"):
		n, err := strconv.ParseInt(strings.TrimSuffix(value, "i"), 10, 64)
		g.value = schema.IntValue(n)
		return g, err
	default:
		f, err := strconv.ParseFloat(value, 64)
		g.value = schema.FloatValue(f)
		return g, err
	}
	return g, nil
}

func parseMoment(text string) (m moment, err error) {
	text, m.now = strings.CutPrefix(text, "now")
	m.seconds, err = strconv.ParseInt(text, 10, 64)
	return m, err
}

// drawHistory draws a history of some rounds, with the given event after each.
func drawHistory(r *rand.Rand, events []string) history {
	var h history
	frames := 0
	for _, event := range events {
		for range 1 + r.IntN(5) {
			s := step{verb: "send"}
			switch r.IntN(8) {
			case 0, 1:
				s = step{verb: "burst", rows: 700 + r.IntN(600), sensors: 2, at: drawMoment(r), first: r.IntN(50)}
			case 2:
				if frames > 0 {
					s = step{verb: "again", number: 1 + r.IntN(frames)}
					break
				}
				fallthrough
			default:
				s.readings = drawReadings(r)
			}
			if s.frame() {
				frames++
			}
			h = append(h, s)
		}
		if r.IntN(6) == 0 {
			h = append(h, step{verb: "check"})
		}
		h = append(h, step{verb: event})
	}
	return h
}

// drawMoment draws a time on a coarse grid, so that times are met again: lately, at the borders of days, days and a month
// ago, and now and then at the edges of what is kept.
func drawMoment(r *rand.Rand) moment {
	const day = 24 * 3600
	days := []int64{0, 0, 0, 1, 1, 3, 35}[r.IntN(7)]
	at := -days*day - int64(r.IntN(40))*20
	switch r.IntN(12) {
	case 0, 1, 2:
		at -= 3600 * int64(r.IntN(24))
	case 3:
		at += 20 * int64(r.IntN(40)) // over midnight
	case 4:
		edges := []int64{-400*day - 3600, -400*day + 3600, day - 3600, day + 3600}
		return moment{now: true, seconds: edges[r.IntN(len(edges))] + 20*int64(r.IntN(30))}
	}
	return moment{seconds: at}
}

func drawReadings(r *rand.Rand) []given {
	readings := make([]given, 1+r.IntN(12))
	at := drawMoment(r)
	for i := range readings {
		switch r.IntN(4) {
		case 0:
			at = drawMoment(r)
		case 1:
			at.seconds -= 20
		case 2:
			at.seconds += 20
		}
		sensor := fmt.Sprintf("s%d", r.IntN(4))
		if r.IntN(6) == 0 {
			sensor = fmt.Sprintf("b%d", r.IntN(9))
		}
		readings[i] = given{sensor: sensor, at: at, value: drawValue(r)}
	}
	return readings
}

func drawValue(r *rand.Rand) schema.Value {
	n := r.IntN(100) - 9
	switch r.IntN(7) {
	case 0:
		return schema.IntValue(int64(n))
	case 1:
		return schema.BoolValue(n%2 == 0)
	case 2:
		return schema.TextValue(fmt.Sprint("t", n))
	default:
		return schema.FloatValue(float64(n) / 4)
	}
}

// remembered is the model: it keeps what one gateway has sent, reading by reading.
type remembered map[string]map[int64]schema.Value

// body returns the frame of a step as line protocol, and its readings.
func (s *step) body(clock *baseClock) (lines string, readings []timed) {
	var b strings.Builder
	add := func(sensor string, t int64, v schema.Value) {
		readings = append(readings, timed{"m." + sensor, t, v})
	}
	for _, g := range s.readings {
		t := clock.time(g.at)
		fmt.Fprintf(&b, "m %s=%s %d\n", g.sensor, literal(g.value), t)
		add(g.sensor, t, g.value)
	}
	for i := range s.rows {
		t := clock.time(s.at) + int64(i)*int64(2*time.Second)
		separator := "m "
		for k := range s.sensors {
			v := schema.FloatValue(float64((s.first + i*(k+1)) % 97))
			fmt.Fprintf(&b, "%sb%d=%s", separator, k, literal(v))
			add(fmt.Sprintf("b%d", k), t, v)
			separator = ","
		}
		fmt.Fprintf(&b, " %d\n", t)
	}
	return b.String(), readings
}

// timed is a reading as it is sent.
type timed struct {
	sensor string
	time   int64
	value  schema.Value
}

// take notes readings, and returns how many of them must have been refused.
func (m remembered) take(readings []timed, clock *baseClock) (refused int) {
	for _, r := range readings {
		if !clock.accepts(r.time) {
			refused++
			continue
		}
		if m[r.sensor] == nil {
			m[r.sensor] = map[int64]schema.Value{}
		}
		m[r.sensor][r.time] = r.value
	}
	return refused
}

// baseClock is what times in scripts are relative to.
type baseClock struct{ midnight, now time.Time }

func (c *baseClock) time(m moment) int64 {
	base := c.midnight
	if m.now {
		base = c.now
	}
	return base.Add(time.Duration(m.seconds) * time.Second).UnixNano()
}

// accepts reports whether a time lies in the window of times. Histories keep away from its edges by more than a test takes.
func (c *baseClock) accepts(t int64) bool {
	return t >= c.now.Add(-400*24*time.Hour).UnixNano() && t <= c.now.Add(24*time.Hour).UnixNano()
}
