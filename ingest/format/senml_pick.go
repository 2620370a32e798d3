package format

// choice chooses the records of a pack that stand in spans, so that they are a pack of their own: before a record that does
// not follow the one chosen before it, a record with the base fields in effect there.
type choice struct {
	payload []byte
	spans   []Span // of those chosen, in order
	in      bool   // the record before was chosen
	has     uint16 // base fields in effect
	field   [senmlBases]Span
	pieces  []piece
}

// piece is a record of the pack that is made: as it stands in the payload, or of base fields that stand there.
type piece struct {
	all    Span
	base   bool
	fields []Span
}

// see takes the next record, which is these bytes of the payload, or leaves it.
func (c *choice) see(r *senmlRecord, at Span) {
	for len(c.spans) > 0 && c.spans[0].To <= at.From {
		c.spans = c.spans[1:]
	}
	chosen := len(c.spans) > 0 && c.spans[0].From <= at.From
	if chosen && !c.in && c.has != 0 {
		base := piece{base: true}
		for l := range senmlBases {
			if c.has>>l&1 == 1 {
				base.fields = append(base.fields, c.field[l])
			}
		}
		c.pieces = append(c.pieces, base)
	}
	if chosen {
		c.pieces = append(c.pieces, piece{all: at})
	}
	c.in = chosen
	for l := range senmlBases {
		if r.has>>l&1 == 1 {
			c.has |= 1 << l
			c.field[l] = r.field[l]
		}
	}
}
