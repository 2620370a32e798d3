package block

import (
	"cmp"
	"container/heap"
	"slices"
	"sort"

	"berth/schema"
)

// Series is the readings of one sensor of all kinds, in order of time. It may share memory with what it was merged
// from: read only.
type Series struct {
	Sensor string
	Times  []int64 // strictly rising
	Kinds  []schema.Kind
	Bits   []uint64 // as schema.Value.Bits; of a Text the index in Texts
	Texts  []string
	Late   []bool // of each reading, whether it came late each time that it came; nil: none did
}

// Len returns how many readings the series holds.
func (s *Series) Len() int { return len(s.Times) }

// Value returns the value of reading i.
func (s *Series) Value(i int) schema.Value {
	if s.Kinds[i] == schema.Text {
		return schema.TextValue(s.Texts[s.Bits[i]])
	}
	return schema.BitsValue(s.Kinds[i], s.Bits[i])
}

// Source is what Merge reads: a *Content or a *Reader.
type Source interface {
	// Position returns the positions of the first and the last reading that went in.
	Position() (from, to schema.Position)
	// size returns the number of columns.
	size() int
	// ends returns a column's sensor and the times of its first and last reading.
	ends(i int) (sensor string, first, last int64)
	// count returns how many readings a column holds.
	count(i int) uint64
	// run returns a column, for reading only.
	run(i int) (Column, error)
}

var (
	_ Source = (*Content)(nil)
	_ Source = (*Reader)(nil)
)

func (c *Content) size() int { return len(c.Columns) }

func (c *Content) ends(i int) (sensor string, first, last int64) {
	t := c.Columns[i].Times
	if len(t) == 0 {
		return c.Columns[i].Sensor, 0, -1
	}
	return c.Columns[i].Sensor, t[0], t[len(t)-1]
}

func (c *Content) count(i int) uint64 { return uint64(c.Columns[i].Len()) }

func (c *Content) run(i int) (Column, error) { return c.Columns[i], nil }

func (r *Reader) size() int { return len(r.infos) }

func (r *Reader) ends(i int) (sensor string, first, last int64) {
	return r.infos[i].Sensor, r.infos[i].FirstTime, r.infos[i].LastTime
}

func (r *Reader) count(i int) uint64 { return r.infos[i].Count }

// piece is a part of a column that goes into a series.
type piece struct {
	Column
	rank int // of its source: the higher wins
	at   int // of the reading that is next
}

// Merge returns the readings in [from, to) of the sensors that keep wants (nil wants all), each identity once, sorted
// by sensor. The sources are of one gateway.
//
// Of two sources that hold one identity, the one whose last position is greater wins. That is the later reading: the
// parts of a gateway's day close in position order, so a source holds the latest of every identity of its day between
// its two positions. Had the source that reaches less far a later reading of the identity, that reading's position
// would lie within the other's range as well, or before it, where the other's own is later. Late is a reading that came
// late in every source that holds it: what came on time and was sent again did not.
func Merge(sources []Source, keep func(sensor string) bool, from, to int64) ([]Series, error) {
	ranks := rank(sources)
	pieces := make(map[string][]piece)
	for s, source := range sources {
		for i := range source.size() {
			sensor, first, last := source.ends(i)
			if first >= to || last < from || first > last || keep != nil && !keep(sensor) {
				continue
			}
			column, err := source.run(i)
			if err != nil {
				return nil, err
			}
			if column.cut(from, to) {
				pieces[sensor] = append(pieces[sensor], piece{Column: column, rank: ranks[s]})
			}
		}
	}
	merged := make([]Series, 0, len(pieces))
	for sensor, of := range pieces {
		s := Series{Sensor: sensor}
		s.merge(of)
		merged = append(merged, s)
	}
	slices.SortFunc(merged, func(a, b Series) int { return cmp.Compare(a.Sensor, b.Sensor) })
	return merged, nil
}

// rank returns the precedence of each source. Equal last positions mean equal readings where both hold one; the rest
// of the order only makes it the same each time.
func rank(sources []Source) []int {
	order := make([]int, len(sources))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		fromA, toA := sources[a].Position()
		fromB, toB := sources[b].Position()
		return cmp.Or(toA.Compare(toB), fromA.Compare(fromB))
	})
	ranks := make([]int, len(sources))
	for rank, i := range order {
		ranks[i] = rank
	}
	return ranks
}

// cut leaves the readings in [from, to), and reports whether there are any.
func (c *Column) cut(from, to int64) bool {
	n := len(c.Times)
	low := sort.Search(n, func(i int) bool { return c.Times[i] >= from })
	high := sort.Search(n, func(i int) bool { return c.Times[i] >= to })
	if low >= high {
		return false
	}
	if low == 0 && high == n {
		return true
	}
	c.Times = c.Times[low:high]
	if len(c.Late) > 0 {
		c.Late = c.Late[low:high]
	}
	if c.Kind == schema.Text {
		c.Texts = c.Texts[low:high]
	} else {
		c.Bits = c.Bits[low:high]
	}
	return true
}

// merge fills the series from pieces of its sensor. Pieces that overlap no other in time are copied whole.
func (s *Series) merge(pieces []piece) {
	slices.SortFunc(pieces, func(a, b piece) int { return cmp.Compare(a.Times[0], b.Times[0]) })
	total, late := 0, false
	for i := range pieces {
		total += len(pieces[i].Times)
		late = late || len(pieces[i].Late) > 0
	}
	s.Kinds = make([]schema.Kind, 0, total)
	if one := &pieces[0]; len(pieces) == 1 && one.Kind != schema.Text {
		s.Times, s.Bits, s.Late = one.Times, one.Bits, one.Late
		s.Kinds = append(s.Kinds, slices.Repeat([]schema.Kind{one.Kind}, total)...)
		return
	}
	s.Times, s.Bits = make([]int64, 0, total), make([]uint64, 0, total)
	if late {
		s.Late = make([]bool, 0, total)
	}
	for len(pieces) > 0 {
		n, last := 1, pieces[0].last()
		for ; n < len(pieces) && pieces[n].Times[0] <= last; n++ {
			last = max(last, pieces[n].last())
		}
		if n == 1 {
			s.appendPiece(&pieces[0])
		} else {
			s.appendOverlapping(pieces[:n])
		}
		pieces = pieces[n:]
	}
}

func (p *piece) last() int64 { return p.Times[len(p.Times)-1] }

func (s *Series) appendPiece(p *piece) {
	s.Times = append(s.Times, p.Times...)
	if s.Late != nil {
		s.Late = append(s.Late, p.Late...)
		s.Late = append(s.Late, make([]bool, len(s.Times)-len(s.Late))...)
	}
	for range p.Times {
		s.Kinds = append(s.Kinds, p.Kind)
	}
	if p.Kind != schema.Text {
		s.Bits = append(s.Bits, p.Bits...)
		return
	}
	for _, text := range p.Texts {
		s.appendText(text)
	}
}

// appendText appends a text that is often that of the reading before.
func (s *Series) appendText(text string) {
	if n := len(s.Texts); n == 0 || s.Texts[n-1] != text {
		s.Texts = append(s.Texts, text)
	}
	s.Bits = append(s.Bits, uint64(len(s.Texts)-1))
}

func (s *Series) appendOverlapping(pieces []piece) {
	h := make(pieceHeap, len(pieces))
	for i := range pieces {
		h[i] = &pieces[i]
	}
	heap.Init(&h)
	for len(h) > 0 {
		p := h[0]
		if t := p.Times[p.at]; len(s.Times) == 0 || s.Times[len(s.Times)-1] != t {
			s.Times = append(s.Times, t)
			s.Kinds = append(s.Kinds, p.Kind)
			if p.Kind == schema.Text {
				s.appendText(p.Texts[p.at])
			} else {
				s.Bits = append(s.Bits, p.Bits[p.at])
			}
			if s.Late != nil {
				s.Late = append(s.Late, lateAt(p.Late, p.at))
			}
		} else if s.Late != nil && !lateAt(p.Late, p.at) {
			s.Late[len(s.Late)-1] = false
		}
		if p.at++; p.at < len(p.Times) {
			heap.Fix(&h, 0)
		} else {
			heap.Pop(&h)
		}
	}
}

// pieceHeap has the earliest reading on top; of equal times that of the highest rank.
type pieceHeap []*piece

// Len is part of heap.Interface.
func (h *pieceHeap) Len() int { return len(*h) }

// Less is part of heap.Interface.
func (h *pieceHeap) Less(i, j int) bool {
	p, q := (*h)[i], (*h)[j]
	a, b := p.Times[p.at], q.Times[q.at]
	return a < b || a == b && p.rank > q.rank
}

// Swap is part of heap.Interface.
func (h *pieceHeap) Swap(i, j int) { (*h)[i], (*h)[j] = (*h)[j], (*h)[i] }

// Push is part of heap.Interface.
func (h *pieceHeap) Push(x any) {
	if p, ok := x.(*piece); ok {
		*h = append(*h, p)
	}
}

// Pop is part of heap.Interface.
func (h *pieceHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
