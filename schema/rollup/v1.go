package rollup

import (
	"berth/schema"
	"berth/schema/internal/wire"
)

// decode1 reads what follows the version of a rollup of version 1.
func decode1(c *wire.Cursor) []Stat {
	unit, base := c.Byte(), c.Zigzag()
	count := c.Count(uint64(c.Left()))
	if unit > maxUnit {
		c.Fail()
	}
	if !c.OK() {
		return nil
	}
	stats := make([]Stat, 0, count)
	names := wire.NameReader{Limit: schema.MaxSensorName}
	for range count {
		s := Stat{Sensor: names.Next(c)}
		readStat1(c, &s, units[unit], base)
		if !c.OK() {
			return nil
		}
		stats = append(stats, s)
	}
	return stats
}

func readStat1(c *wire.Cursor, s *Stat, unit, base int64) {
	s.Count = c.Uvarint()
	others := c.Uvarint()
	if others > s.Count {
		c.Fail()
		return
	}
	s.Numbers = s.Count - others
	s.First, s.Last = c.Value(), c.Value()
	first := base + int64(c.Uvarint())
	s.FirstTime, s.LastTime = first*unit, (first+int64(c.Uvarint()))*unit
	if s.Numbers > 0 {
		s.Min, s.Max, s.Sum = c.Float(), c.Float(), c.Float()
	}
}
