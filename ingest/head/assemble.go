package head

import (
	"cmp"
	"fmt"
	"slices"

	"berth/schema"
	"berth/schema/batch"
	"berth/schema/block"
)

// assembler turns the rows of a part into a block's content. Its memory is used again, so a content is good until the
// next one; the zero assembler is ready. It is not for concurrent use.
//
// Mostly every sensor of a part is in rows of one shape only: then its columns share their times, and whether a time
// came twice is found once for all of them. What is mixed otherwise goes through a block.Builder, reading by reading.
type assembler struct {
	content block.Content
	groups  []group
	index   map[*batch.Shape]int // of groups
	order   []column
	bits    []uint64
	encoded []byte
}

// group is the rows of one shape within a part.
type group struct {
	shape *batch.Shape
	rows  []uint32 // indices, in order of time once settled
	times []int64
	late  []bool // of each time; empty: no row came late
}

// column says where the values of a column are: sensor i of a group.
type column struct {
	sensor string
	group  int
	i      int
}

// assemble returns the content of a view that holds at least one reading.
func (a *assembler) assemble(v *view) (*block.Content, error) {
	a.group(v.rows)
	if v.base != nil || !a.distinct() {
		return build(v)
	}
	c := &a.content
	c.Gateway, c.From, c.To = v.gateway, v.rows[0].position(), v.rows[len(v.rows)-1].end()
	c.Columns = c.Columns[:0]
	total := 0
	for i := range a.groups {
		a.groups[i].settle(v.rows)
		total += len(a.groups[i].rows) * len(a.groups[i].shape.Sensors)
	}
	a.bits = slices.Grow(a.bits[:0], total)
	for _, o := range a.order {
		c.Columns = append(c.Columns, a.column(v, o))
	}
	return c, nil
}

// encode returns the view as an encoded block, good until the next one.
func (a *assembler) encode(v *view) (data []byte, c *block.Content, err error) {
	if c, err = a.assemble(v); err != nil {
		return nil, nil, err
	}
	if a.encoded, err = block.Encode(a.encoded[:0], c); err != nil {
		return nil, c, fmt.Errorf("encode block of gateway %q: %w", v.gateway, err)
	}
	return a.encoded, c, nil
}

// group sorts the rows into groups.
func (a *assembler) group(rows []row) {
	a.groups = a.groups[:0]
	if a.index == nil {
		a.index = make(map[*batch.Shape]int)
	}
	clear(a.index)
	at := -1
	for i := range rows {
		if at < 0 || a.groups[at].shape != rows[i].shape {
			at = a.find(rows[i].shape)
		}
		a.groups[at].rows = append(a.groups[at].rows, uint32(i))
	}
}

// find returns the index of a shape's group, a new one if there is none.
func (a *assembler) find(s *batch.Shape) int {
	if i, ok := a.index[s]; ok {
		return i
	}
	a.index[s] = len(a.groups)
	if len(a.groups) < cap(a.groups) { // its memory of the last time
		a.groups = a.groups[:len(a.groups)+1]
	} else {
		a.groups = append(a.groups, group{})
	}
	g := &a.groups[len(a.groups)-1]
	g.shape, g.rows, g.times, g.late = s, g.rows[:0], g.times[:0], g.late[:0]
	return len(a.groups) - 1
}

// distinct puts the columns in order and reports whether every sensor is there once.
func (a *assembler) distinct() bool {
	a.order = a.order[:0]
	for n := range a.groups {
		for i, s := range a.groups[n].shape.Sensors {
			a.order = append(a.order, column{sensor: s, group: n, i: i})
		}
	}
	slices.SortFunc(a.order, func(x, y column) int { return cmp.Compare(x.sensor, y.sensor) })
	for i := 1; i < len(a.order); i++ {
		if a.order[i-1].sensor == a.order[i].sensor {
			return false
		}
	}
	return true
}

// settle puts the group's rows in order of time and keeps the last of those that claim one time, which came late if all of
// these did.
func (g *group) settle(rows []row) {
	g.times, g.late = g.times[:0], g.late[:0]
	rising, some := true, false
	for i, r := range g.rows {
		g.times = append(g.times, rows[r].time)
		rising = rising && (i == 0 || g.times[i-1] < g.times[i])
		some = some || rows[r].late()
	}
	if rising {
		for i := 0; some && i < len(g.rows); i++ {
			g.late = append(g.late, rows[g.rows[i]].late())
		}
		return
	}
	slices.SortFunc(g.rows, func(x, y uint32) int {
		return cmp.Or(cmp.Compare(rows[x].time, rows[y].time), cmp.Compare(x, y))
	})
	kept, late := 0, true
	for i, r := range g.rows {
		late = late && rows[r].late()
		if i+1 < len(g.rows) && rows[g.rows[i+1]].time == rows[r].time {
			continue
		}
		g.rows[kept], g.times[kept] = r, rows[r].time
		if some {
			g.late = append(g.late, late)
		}
		kept, late = kept+1, true
	}
	g.rows, g.times = g.rows[:kept], g.times[:kept]
}

// column copies a column's values out of the rows.
func (a *assembler) column(v *view, o column) block.Column {
	g := &a.groups[o.group]
	c := block.Column{Sensor: o.sensor, Kind: g.shape.Kinds[o.i], Times: g.times}
	if len(g.late) > 0 {
		c.Late = g.late
	}
	if c.Kind == schema.Text {
		c.Texts = make([]string, 0, len(g.rows))
		for _, r := range g.rows {
			c.Texts = append(c.Texts, v.value(&v.rows[r], o.i).Text())
		}
		return c
	}
	start := len(a.bits)
	for _, r := range g.rows {
		a.bits = append(a.bits, v.bits[int(v.rows[r].first)+o.i])
	}
	c.Bits = a.bits[start:len(a.bits):len(a.bits)]
	return c
}

// build assembles any view, reading by reading.
func build(v *view) (*block.Content, error) {
	b := block.NewBuilder(v.gateway)
	if v.base != nil {
		base, err := contentOf(v.base)
		if err != nil {
			return nil, err
		}
		b.AddContent(base)
	}
	for i := range v.rows {
		r := &v.rows[i]
		p := r.position()
		add := b.Add
		if r.late() {
			add = b.AddLate
		}
		for j, sensor := range r.shape.Sensors {
			add(sensor, r.time, v.value(r, j), p)
			p.Ordinal++
		}
	}
	return b.Content(), nil
}

// contentOf decodes a block.
func contentOf(data []byte) (*block.Content, error) {
	r, err := block.Open(data)
	if err != nil {
		return nil, fmt.Errorf("open tail: %w", err)
	}
	c, err := r.Content()
	if err != nil {
		return nil, fmt.Errorf("read tail: %w", err)
	}
	return c, nil
}

// hours returns which hours of its day the content has readings in, a bit each.
func hours(c *block.Content) uint32 {
	var set uint32
	var seen []int64
	for i := range c.Columns {
		times := c.Columns[i].Times
		if len(seen) > 0 && len(times) == len(seen) && &times[0] == &seen[0] {
			continue // shared with the column before
		}
		seen = times
		for len(times) > 0 {
			hour := schema.Start(times[0], schema.HourSpan)
			set |= 1 << ((hour - schema.Start(hour, schema.DaySpan)) / schema.HourSpan)
			n, _ := slices.BinarySearch(times, hour+schema.HourSpan)
			times = times[n:]
		}
	}
	return set
}
