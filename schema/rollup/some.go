package rollup

import (
	"berth/schema"
	"berth/schema/internal/wire"
)

// readSome reads the statistics that are wanted. Of the others it reads only what those after them may refer to.
func (d *Decoder) readSome(c *wire.Cursor, unit, base int64) {
	before := &Stat{}
	times := Stat{}
	for i := range d.stats {
		s := &d.stats[i]
		if !d.skip[i] {
			*s = Stat{Sensor: s.Sensor}
			readStat(c, s, before, unit, base)
			before = s
			continue
		}
		if before != &times {
			times.Count, times.FirstTime, times.LastTime = before.Count, before.FirstTime, before.LastTime
			before = &times
		}
		skipStat(c, &times, unit, base)
	}
}

// skipStat passes over what appendStat wrote, and notes in times the count and the times if they stand there. What it passes
// over is right: the checksum was.
func skipStat(c *wire.Cursor, times *Stat, unit, base int64) {
	head := c.Byte()
	if head&headTimes != 0 {
		readTimes(c, times, unit, base)
	}
	if schema.Kind(head&headCoding) == codingValues {
		numbers := times.Count
		if head&headOthers != 0 {
			numbers -= min(numbers, c.Uvarint())
		}
		c.Value()
		c.Value()
		if numbers > 0 {
			c.Float()
			c.Float()
			c.Float()
		}
		return
	}
	c.Skip(1)         // the smallest
	rest := 1         // the largest
	if c.Peek() > 0 { // which is another
		rest = 3 // the first and the last
	}
	if head&headFloatSum == 0 {
		rest++
	}
	c.Skip(rest)
	if head&headFloatSum != 0 {
		c.Float()
	}
}
