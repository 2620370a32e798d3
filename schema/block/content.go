package block

import (
	"cmp"
	"slices"

	"berth/schema"
)

// Limits of one block. They bound what a decoder allocates before it has seen a value; parts are cut far below them.
const (
	// MaxReadings is the most readings that one block holds.
	MaxReadings = 1 << 20
	// MaxColumns is the most columns that one block holds.
	MaxColumns = 1 << 16
	// MaxTextBytes is the most bytes of distinct texts that one column holds.
	MaxTextBytes = 8 << 20
)

// Column is the readings of one sensor of one kind.
type Column struct {
	Sensor string
	Kind   schema.Kind
	Times  []int64  // strictly rising; columns of one Content may share them, so they are read only
	Bits   []uint64 // of each reading, as schema.Value.Bits; unused for Text
	Texts  []string // of each reading of a Text column; else unused
	Late   []bool   // of each reading, whether it came late (schema.LateAfter); nil: none did
}

// Len returns how many readings the column holds.
func (c *Column) Len() int { return len(c.Times) }

// Value returns the value of reading i.
func (c *Column) Value(i int) schema.Value {
	if c.Kind == schema.Text {
		return schema.TextValue(c.Texts[i])
	}
	return schema.BitsValue(c.Kind, c.Bits[i])
}

// Content is what a block holds: the readings of one gateway within one UTC day, the latest of every identity between
// two positions. Columns are sorted by (Sensor, Kind); a (sensor, time) is there once, whatever its kind.
type Content struct {
	Gateway string
	From    schema.Position // of the first reading that went in, also when a later one of its identity replaced it
	To      schema.Position // of the last one
	Columns []Column
}

// Position returns the positions of the first and last reading that went in.
func (c *Content) Position() (from, to schema.Position) { return c.From, c.To }

// Readings returns how many readings the content holds.
func (c *Content) Readings() int {
	n := 0
	for i := range c.Columns {
		n += len(c.Columns[i].Times)
	}
	return n
}

// Span returns the times of the first and the last reading, zeros if there is none.
func (c *Content) Span() (first, last int64) {
	found := false
	for i := range c.Columns {
		t := c.Columns[i].Times
		if len(t) == 0 {
			continue
		}
		if !found {
			first, last, found = t[0], t[len(t)-1], true
		}
		first, last = min(first, t[0]), max(last, t[len(t)-1])
	}
	return first, last
}

// check returns an Invalid or TooLarge error unless the content can be a block.
func (c *Content) check() error {
	if err := schema.CheckGateway(c.Gateway); err != nil {
		return err
	}
	switch readings := c.Readings(); {
	case readings == 0:
		return schema.Errorf(schema.Invalid, "a block of gateway %q would hold no reading", c.Gateway)
	case readings > MaxReadings || len(c.Columns) > MaxColumns:
		return schema.Errorf(schema.TooLarge, "%d readings in %d columns of gateway %q are too many for a block", readings, len(c.Columns), c.Gateway)
	case c.To.Less(c.From):
		return schema.Errorf(schema.Invalid, "a block of gateway %q would reach from position %s back to %s", c.Gateway, c.From, c.To)
	}
	if first, last := c.Span(); schema.Start(first, schema.DaySpan) != schema.Start(last, schema.DaySpan) {
		return schema.Errorf(schema.Invalid, "a block of gateway %q would cross a UTC day, from %d to %d ns", c.Gateway, first, last)
	}
	for i := range c.Columns {
		if err := c.Columns[i].check(); err != nil {
			return err
		}
		if i > 0 {
			if err := checkOrder(c.Columns[:i], &c.Columns[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *Column) check() error {
	if err := schema.CheckSensor(c.Sensor); err != nil {
		return err
	}
	values := len(c.Bits)
	if c.Kind == schema.Text {
		values = len(c.Texts)
	}
	if !c.Kind.Valid() || values != len(c.Times) || values == 0 {
		return schema.Errorf(schema.Invalid, "a %s column of sensor %q has %d times and %d values", c.Kind, c.Sensor, len(c.Times), values)
	}
	if len(c.Late) != 0 && len(c.Late) != len(c.Times) {
		return schema.Errorf(schema.Invalid, "of %d readings of sensor %q it is said whether %d came late", len(c.Times), c.Sensor, len(c.Late))
	}
	for i := 1; i < len(c.Times); i++ {
		if c.Times[i-1] >= c.Times[i] {
			return schema.Errorf(schema.Invalid, "the times of sensor %q do not rise at %d ns", c.Sensor, c.Times[i])
		}
	}
	for _, s := range c.Texts {
		if len(s) > schema.MaxText {
			return schema.Errorf(schema.Invalid, "a text of %d bytes of sensor %q is longer than %d", len(s), c.Sensor, schema.MaxText)
		}
	}
	if c.Kind == schema.Bool && slices.Max(c.Bits) > 1 {
		return schema.Errorf(schema.Invalid, "a bool of sensor %q is neither 0 nor 1", c.Sensor)
	}
	return nil
}

// checkOrder returns an Invalid error unless next follows the columns before it, and shares no identity with them.
func checkOrder(before []Column, next *Column) error {
	last := &before[len(before)-1]
	if cmp.Or(cmp.Compare(last.Sensor, next.Sensor), cmp.Compare(last.Kind, next.Kind)) >= 0 {
		return schema.Errorf(schema.Invalid, "the column of sensor %q (%s) does not come after that of %q (%s)", next.Sensor, next.Kind, last.Sensor, last.Kind)
	}
	for i := len(before) - 1; i >= 0 && before[i].Sensor == next.Sensor; i-- {
		if t, both := common(before[i].Times, next.Times); both {
			return schema.Errorf(schema.Invalid, "sensor %q has a %s and a %s at %d ns", next.Sensor, before[i].Kind, next.Kind, t)
		}
	}
	return nil
}

// common returns a time that two rising columns share.
func common(a, b []int64) (int64, bool) {
	for len(a) > 0 && len(b) > 0 {
		switch {
		case a[0] == b[0]:
			return a[0], true
		case a[0] < b[0]:
			a = a[1:]
		default:
			b = b[1:]
		}
	}
	return 0, false
}
