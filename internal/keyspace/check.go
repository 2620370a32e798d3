package keyspace

import (
	"math"
	"time"

	"berth/schema"
)

// Limits that hold for every backend.
const (
	// MaxData is the longest Data of a block or a rollup, and Entry or Tail of a gateway, in bytes.
	MaxData = 8 << 20
	// MaxSequence is the highest sequence of a position that can be stored.
	MaxSequence = math.MaxInt64
)

// DayOf returns the UTC day that t lies in, counted from 1970-01-01, negative before; right for every int64, where
// schema.Start would wrap.
func DayOf(t int64) int64 {
	d := t / schema.DaySpan
	if t%schema.DaySpan < 0 {
		d--
	}
	return d
}

// Check returns an Invalid error, which names the row, when c holds what can never be stored. Every Writer calls it.
func (c *Changes) Check() error {
	for i := range c.Marks {
		m := &c.Marks[i]
		if err := m.check(m.Stale, nil, "mark"); err != nil {
			return err
		}
	}
	for i := range c.Blocks {
		if err := c.Blocks[i].check(); err != nil {
			return err
		}
	}
	for i := range c.Gateways {
		if err := c.Gateways[i].check(); err != nil {
			return err
		}
	}
	for i := range c.Rollups {
		r := &c.Rollups[i]
		if err := r.check(r.Computed, r.Data, "rollup"); err != nil {
			return err
		}
		if len(r.Data) == 0 {
			return invalid("rollup", r.Gateway, r.Start, "it has no data")
		}
	}
	return nil
}

// Highest returns the highest position in c.
func (c *Changes) Highest() schema.Position {
	var p schema.Position
	raise := func(o schema.Position) {
		if p.Less(o) {
			p = o
		}
	}
	for i := range c.Marks {
		raise(c.Marks[i].Stale)
	}
	for i := range c.Blocks {
		raise(c.Blocks[i].To)
	}
	for i := range c.Gateways {
		raise(c.Gateways[i].Position)
	}
	for i := range c.Rollups {
		raise(c.Rollups[i].Computed)
	}
	return p
}

func (b *Block) check() error {
	if err := schema.CheckGateway(b.Gateway); err != nil {
		return err
	}
	day := DayOf(b.First)
	switch {
	case b.Last < b.First:
		return invalid("block", b.Gateway, b.First, "it ends before it begins")
	case DayOf(b.Last) != day:
		return invalid("block", b.Gateway, b.First, "it crosses a UTC day")
	case b.To.Less(b.From):
		return invalid("block", b.Gateway, b.First, "its positions go back")
	case b.To.Sequence > MaxSequence:
		return invalid("block", b.Gateway, b.First, "its position is beyond what can be stored")
	case len(b.Data) == 0:
		return invalid("block", b.Gateway, b.First, "it has no data")
	case len(b.Data) > MaxData:
		return invalid("block", b.Gateway, b.First, "it is too large")
	}
	return nil
}

func (g *Gateway) check() error {
	if err := schema.CheckGateway(g.Name); err != nil {
		return err
	}
	switch {
	case g.Position.Sequence > MaxSequence:
		return schema.Errorf(schema.Invalid, "the row of gateway %q has a position beyond what can be stored", g.Name)
	case len(g.Entry) > MaxData || len(g.Tail) > MaxData:
		return schema.Errorf(schema.Invalid, "the row of gateway %q is larger than %d bytes", g.Name, MaxData)
	}
	return nil
}

// check checks what marks and rollups share: the key, and a position that says something.
func (k *RollupKey) check(p schema.Position, data []byte, what string) error {
	if err := schema.CheckGateway(k.Gateway); err != nil {
		return err
	}
	switch {
	case k.Span != Hour && k.Span != Day:
		return invalid(what, k.Gateway, k.Start, "it has no span")
	case k.Start%k.Span.Length() != 0:
		return invalid(what, k.Gateway, k.Start, "its start is not that of its span")
	case p.IsZero():
		return invalid(what, k.Gateway, k.Start, "it has no position")
	case p.Sequence > MaxSequence:
		return invalid(what, k.Gateway, k.Start, "its position is beyond what can be stored")
	case len(data) > MaxData:
		return invalid(what, k.Gateway, k.Start, "it is too large")
	}
	return nil
}

func invalid(what, gateway string, at int64, why string) error {
	return schema.Errorf(schema.Invalid, "the %s of gateway %q at %s cannot be stored: %s",
		what, gateway, time.Unix(0, at).UTC().Format(time.RFC3339Nano), why)
}
