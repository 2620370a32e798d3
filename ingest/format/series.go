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

	recent atomic.Pointer[layout] // of the row before, which is most likely that of the next

	mu      sync.Mutex // held while the following are changed; the slices are replaced, never written
	layouts atomic.Pointer[[]*layout]
	singles atomic.Pointer[[]*layout] // of one field each
	rare    uint                      // rows that had none of the layouts
}

// field is one value of a row that is being read: its name as it stands in the payload, and its kind.
type field struct {
	name []byte
	kind schema.Kind
}

// layout is the fields of a row in their order, and the shape that they are stored under.
type layout struct {
	fields []field
	leads  []string // each field's name and the equals sign after it, as a line has them
	shape  *batch.Shape
}

const (
	maxLayouts = 8  // remembered of one series; rows beyond them are stored value by value
	relearn    = 64 // of so many rows beyond, one replaces the oldest layout
)

// match returns the layout that has exactly these fields, or nil.
func (s *series) match(fields []field) *layout {
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
func (s *series) remember(l *layout) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.layouts.Store(with(s.layouts.Load(), l, maxLayouts))
	s.recent.Store(l)
}

// single returns the layout of one field alone. It looks from index from on, since fields come in much the same order
// in every row; next is where to look for the field after it.
func (s *series) single(f field, from int) (l *layout, next int) {
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

func (s *series) rememberSingle(l *layout) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.singles.Store(with(s.singles.Load(), l, batch.MaxRowSensors))
}

// with returns a copy of the layouts with l added, and without the oldest when there would be more than most.
func with(all *[]*layout, l *layout, most int) *[]*layout {
	var kept []*layout
	if all != nil {
		kept = *all
	}
	if len(kept) >= most {
		kept = kept[1:]
	}
	added := append(make([]*layout, 0, len(kept)+1), kept...)
	added = append(added, l)
	return &added
}
