package head

import (
	"cmp"
	"fmt"
	"slices"

	"berth/schema"
	"berth/schema/block"
	"berth/schema/catalog"
)

// base is the part of a tail that is of one day.
type base struct {
	day      int64
	to       schema.Position
	readings int
	data     []byte
}

// basesOf reads a tail: a base per day, though the tail may hold several blocks of one. What cannot be read is left out.
func basesOf(tail []byte) (bases []base, problems []error) {
	if len(tail) == 0 {
		return nil, nil
	}
	blocks, err := catalog.DecodeTail(tail)
	if err != nil {
		return nil, []error{fmt.Errorf("read tail: %w", err)}
	}
	var contents []*block.Content
	for _, data := range blocks {
		c, err := contentOf(data)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		contents = append(contents, c)
	}
	slices.SortStableFunc(contents, func(a, b *block.Content) int { return cmp.Or(cmp.Compare(dayOf(a), dayOf(b)), a.To.Compare(b.To)) })
	for len(contents) > 0 {
		n := 1
		for n < len(contents) && dayOf(contents[n]) == dayOf(contents[0]) {
			n++
		}
		b, err := baseOf(contents[:n])
		if err != nil {
			problems = append(problems, err)
		} else {
			bases = append(bases, b)
		}
		contents = contents[n:]
	}
	return bases, problems
}

func dayOf(c *block.Content) int64 {
	first, _ := c.Span()
	return schema.Start(first, schema.DaySpan)
}

// baseOf makes one base of the contents of a day, which are in order of position.
func baseOf(contents []*block.Content) (base, error) {
	c := contents[0]
	if len(contents) > 1 {
		b := block.NewBuilder(c.Gateway)
		for _, c := range contents {
			b.AddContent(c)
		}
		c = b.Content()
	}
	data, err := block.Encode(nil, c)
	if err != nil {
		return base{}, fmt.Errorf("join tails: %w", err)
	}
	return base{day: dayOf(c), to: c.To, readings: c.Readings(), data: data}, nil
}
