package block

import (
	"cmp"
	"maps"
	"slices"

	"berth/schema"
)

// Builder collects readings of one gateway and one UTC day in position order. Of two that claim one identity it keeps
// the one added later, whatever its kind. It is not for concurrent use.
type Builder struct {
	gateway  string
	from, to schema.Position
	sensors  []*series          // in the order of their first reading
	bySensor map[string]*series //
	next     int                // in sensors: where the next reading's sensor is looked for first
	added    int
}

// series is the readings of one sensor as they came.
type series struct {
	sensor string
	at     int // in the Builder's sensors
	times  []int64
	bits   []uint64      // of a Text the index in texts
	kinds  []schema.Kind // nil while all are of kind
	kind   schema.Kind
	texts  []string
	late   []bool // nil while none came late
	rising bool   // times rise strictly
}

// NewBuilder returns a Builder for readings of the given gateway.
func NewBuilder(gateway string) *Builder {
	return &Builder{gateway: gateway, bySensor: make(map[string]*series)}
}

// Len returns how many readings were added, also those that others replaced.
func (b *Builder) Len() int { return b.added }

// Add adds a reading. Its position must not be before that of any reading added earlier.
func (b *Builder) Add(sensor string, t int64, v schema.Value, p schema.Position) {
	b.reach(p, p)
	s := b.series(sensor)
	if v.Kind() == schema.Text {
		s.addText(t, v.Text())
		return
	}
	s.add(t, v.Kind(), v.Bits())
}

// AddLate adds a reading that came late. It is late in the content unless it was also added as one that was not.
func (b *Builder) AddLate(sensor string, t int64, v schema.Value, p schema.Position) {
	b.Add(sensor, t, v, p)
	b.bySensor[sensor].markLate()
}

// AddContent adds what a Content holds, such as a stored tail that was read back. Readings added earlier must have
// positions before its From, and those added later after its To.
func (b *Builder) AddContent(c *Content) {
	b.reach(c.From, c.To)
	for i := range c.Columns {
		column := &c.Columns[i]
		s := b.series(column.Sensor)
		b.added += len(column.Times) - 1
		for j, t := range column.Times {
			if column.Kind == schema.Text {
				s.addText(t, column.Texts[j])
			} else {
				s.add(t, column.Kind, column.Bits[j])
			}
			if lateAt(column.Late, j) {
				s.markLate()
			}
		}
	}
}

func (b *Builder) reach(from, to schema.Position) {
	if b.added == 0 {
		b.from = from
	}
	b.to = to
}

// series finds the sensor's series: mostly it is the one after that of the reading before.
func (b *Builder) series(sensor string) *series {
	b.added++
	if b.next < len(b.sensors) && b.sensors[b.next].sensor == sensor {
		s := b.sensors[b.next]
		b.advance(b.next)
		return s
	}
	s, ok := b.bySensor[sensor]
	if !ok {
		s = &series{sensor: sensor, rising: true, at: len(b.sensors)}
		b.bySensor[sensor] = s
		b.sensors = append(b.sensors, s)
		b.next = 0
		return s
	}
	b.advance(s.at)
	return s
}

func (b *Builder) advance(at int) {
	if b.next = at + 1; b.next == len(b.sensors) {
		b.next = 0
	}
}

func (s *series) addText(t int64, text string) {
	s.texts = append(s.texts, text)
	s.add(t, schema.Text, uint64(len(s.texts)-1))
}

func (s *series) add(t int64, kind schema.Kind, bits uint64) {
	n := len(s.times)
	if n == 0 {
		s.kind = kind
	} else if t <= s.times[n-1] {
		s.rising = false
	}
	if s.kinds == nil && kind != s.kind {
		s.kinds = slices.Repeat([]schema.Kind{s.kind}, n)
	}
	if s.kinds != nil {
		s.kinds = append(s.kinds, kind)
	}
	if s.late != nil {
		s.late = append(s.late, false)
	}
	s.times = append(s.times, t)
	s.bits = append(s.bits, bits)
}

// markLate notes that the reading added last came late.
func (s *series) markLate() {
	if s.late == nil {
		s.late = make([]bool, len(s.times), cap(s.times))
	}
	s.late[len(s.late)-1] = true
}

// Content returns what was added, each identity once. The Builder goes on unchanged: what is added later is not in the
// Content, and nothing that the Content holds changes.
func (b *Builder) Content() *Content {
	c := &Content{Gateway: b.gateway, From: b.from, To: b.to}
	for _, sensor := range slices.Sorted(maps.Keys(b.bySensor)) {
		s := b.bySensor[sensor]
		if !s.rising {
			s = s.sorted()
		}
		c.Columns = s.columns(c.Columns)
	}
	return c
}

// sorted returns the series in order of time, the reading added last of each time.
func (s *series) sorted() *series {
	order := make([]int32, len(s.times))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(a, b int32) int {
		return cmp.Or(cmp.Compare(s.times[a], s.times[b]), cmp.Compare(a, b))
	})
	out := &series{sensor: s.sensor, kind: s.kind, texts: s.texts, rising: true}
	out.times = make([]int64, 0, len(order))
	out.bits = make([]uint64, 0, len(order))
	late := true // of all readings of a time
	for i, at := range order {
		late = late && lateAt(s.late, int(at))
		if i+1 < len(order) && s.times[order[i+1]] == s.times[at] {
			continue
		}
		if s.late != nil {
			out.late = append(out.late, late)
		}
		late = true
		out.times = append(out.times, s.times[at])
		out.bits = append(out.bits, s.bits[at])
		if s.kinds != nil {
			out.kinds = append(out.kinds, s.kinds[at])
		}
	}
	return out
}

// columns appends a column for each kind of the series.
func (s *series) columns(dst []Column) []Column {
	n := len(s.times)
	if s.kinds == nil {
		c := Column{Sensor: s.sensor, Kind: s.kind, Times: s.times[:n:n], Late: someLate(s.late)}
		if s.kind != schema.Text {
			c.Bits = s.bits[:n:n]
			return append(dst, c)
		}
		c.Texts = make([]string, n)
		for i, at := range s.bits {
			c.Texts[i] = s.texts[at]
		}
		return append(dst, c)
	}
	for kind := schema.Float; kind <= schema.Text; kind++ {
		c := Column{Sensor: s.sensor, Kind: kind}
		for i, t := range s.times {
			if s.kinds[i] != kind {
				continue
			}
			c.Times = append(c.Times, t)
			if kind == schema.Text {
				c.Texts = append(c.Texts, s.texts[s.bits[i]])
			} else {
				c.Bits = append(c.Bits, s.bits[i])
			}
			if s.late != nil {
				c.Late = append(c.Late, s.late[i])
			}
		}
		c.Late = someLate(c.Late)
		if len(c.Times) > 0 {
			dst = append(dst, c)
		}
	}
	return dst
}

// someLate returns which readings came late; nil if none did.
func someLate(late []bool) []bool {
	if !slices.Contains(late, true) {
		return nil
	}
	return slices.Clip(late)
}
