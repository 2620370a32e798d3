package format

import (
	"sync"
	"sync/atomic"

	"berth/schema"
	"berth/schema/batch"
)

// series is what lines (or objects) that differ in their values alone have in common, and which fields they had.
// What it says about names never changes; layouts are added.
type series struct {
	hash   uint64
	key    string // the bytes that name it
	sender string
	rules  *rules

	gateway    string
	attributes []batch.Attribute
	sensor     func(field []byte) string // the sensor's name

	recent atomic.Pointer[shaped] // of the row before, which is most likely that of the next

	mu      sync.Mutex // held while the following are changed; the slices are replaced, never written
	layouts atomic.Pointer[[]*shaped]
	singles atomic.Pointer[[]*shaped] // of one field each
	rare    uint                      // rows that had none of the layouts
}

// field is one value of a row that is being read: its name as it stands in the payload, and its kind.
type field struct {
	name []byte
	kind schema.Kind
}

// layout is the fields of a row in their order. The series whose rows have the same fields share it.
type layout struct {
	fields []field
	leads  []string // each field's name and the equals sign after it, as a line has them
}

// shaped is a layout and the shape under which a series stores it.
type shaped struct {
	*layout
	shape *batch.Shape
}

const (
	maxLayouts = 8  // remembered of one series; rows beyond them are stored value by value
	relearn    = 64 // of so many rows beyond, one replaces the oldest layout
)

// match returns the layout that has exactly these fields, or nil.
func (s *series) match(fields []field) *shaped {
	all := s.layouts.Load()
	if all == nil {
		return nil
	}
	for _, l := range *all {
		if l.has(fields) {
			s.recent.Store(l)
			return l
		}
	}
	return nil
}

func (l *layout) has(fields []field) bool {
	if len(l.fields) != len(fields) {
		return false
	}
	for i := range fields {
		if l.fields[i].kind != fields[i].kind || string(l.fields[i].name) != string(fields[i].name) {
			return false
		}
	}
	return true
}

// room reports whether a new layout should be remembered. It is not when rows have ever other fields: then a layout of
// each would be endless.
func (s *series) room() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if all := s.layouts.Load(); all == nil || len(*all) < maxLayouts {
		return true
	}
	s.rare++
	return s.rare%relearn == 0
}

// remember adds a layout, in place of the oldest when there are enough.
func (s *series) remember(l *shaped) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.layouts.Store(with(s.layouts.Load(), l, maxLayouts))
	s.recent.Store(l)
}

// single returns the layout of one field alone. It looks from index from on, since fields come in much the same order
// in every row; next is where to look for the field after it.
func (s *series) single(f field, from int) (l *shaped, next int) {
	all := s.singles.Load()
	if all == nil {
		return nil, 0
	}
	for n := range len(*all) {
		i := from + n
		if i >= len(*all) {
			i -= len(*all)
		}
		if one := (*all)[i].fields[0]; one.kind == f.kind && string(one.name) == string(f.name) {
			return (*all)[i], i + 1
		}
	}
	return nil, 0
}

func (s *series) rememberSingle(l *shaped) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.singles.Store(with(s.singles.Load(), l, batch.MaxRowSensors))
}

// newLayout returns the layout of the fields.
func newLayout(fields []field) *layout {
	l := &layout{fields: make([]field, len(fields)), leads: make([]string, len(fields))}
	size := 0
	for _, f := range fields {
		size += len(f.name) + 1
	}
	names := make([]byte, 0, size)
	for _, f := range fields {
		names = append(append(names, f.name...), '=')
	}
	leads := string(names)
	for i, f := range fields {
		n := len(f.name)
		l.fields[i] = field{name: names[:n:n], kind: f.kind}
		l.leads[i] = leads[:n+1]
		names, leads = names[n+1:], leads[n+1:]
	}
	return l
}

// with returns a copy of the layouts with l added, and without the oldest when there would be more than most.
func with(all *[]*shaped, l *shaped, most int) *[]*shaped {
	var kept []*shaped
	if all != nil {
		kept = *all
	}
	if len(kept) >= most {
		kept = kept[1:]
	}
	added := append(make([]*shaped, 0, len(kept)+1), kept...)
	added = append(added, l)
	return &added
}
