package batch

import (
	"encoding/binary"
	"sync"

	"berth/schema"
)

// Interner gives the same *Shape for equal shapes, so that a shape can be recognised by its pointer. It is for
// concurrent use. It remembers at least the number of shapes that was asked for last, and at most twice that number; a
// shape that it forgot is made anew, so two pointers may hold equal shapes, which costs a little space and nothing else.
type Interner struct {
	mu      sync.RWMutex // guards all below
	shapes  generations[*Shape]
	layouts generations[*layout]
	lastID  uint64
}

// layout is the sensors of a shape and their kinds, which the shapes of many gateways share.
type layout struct {
	id      uint64
	sensors []string
	kinds   []schema.Kind
}

// NewInterner returns an interner that remembers about max shapes.
func NewInterner(max int) *Interner {
	return &Interner{shapes: newGenerations[*Shape](max), layouts: newGenerations[*layout](max)}
}

// Shape returns the one shape with this content. It copies what it keeps. The two slices sensors and kinds must be
// equally long.
func (n *Interner) Shape(gateway string, sensors []string, kinds []schema.Kind, attributes []Attribute) *Shape {
	var buf [1024]byte
	key := buf[:0]
	for i, s := range sensors {
		key = appendSensor(key, kinds[i], s)
	}
	l := n.layout(key)
	key = appendText(key[:0], gateway)
	for _, a := range attributes {
		key = appendText(appendText(key, a.Name), a.Value)
	}
	return n.shape(key, l)
}

// The key of a layout is, for each sensor, its kind and its name. The key of a shape is its gateway, the names and
// values of its attributes, and 8 bytes that are its layout's id.

func appendSensor[S string | []byte](key []byte, k schema.Kind, name S) []byte {
	return appendText(append(key, byte(k)), name)
}

func appendText[S string | []byte](dst []byte, s S) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// cutText cuts a text off the front of a key.
func cutText(key string) (text, rest string) {
	var length, shift uint
	for i := 0; ; i++ {
		c := key[i]
		length |= uint(c&0x7f) << shift
		shift += 7
		if c < 0x80 {
			return key[i+1 : i+1+int(length)], key[i+1+int(length):]
		}
	}
}

func (n *Interner) layout(key []byte) *layout {
	n.mu.RLock()
	l, ok := n.layouts.young[string(key)]
	n.mu.RUnlock()
	if ok {
		return l
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.layouts.get(key, func(kept string) *layout {
		n.lastID++
		l := &layout{id: n.lastID}
		for rest := kept; rest != ""; {
			var name string
			kind := schema.Kind(rest[0])
			name, rest = cutText(rest[1:])
			l.sensors, l.kinds = append(l.sensors, name), append(l.kinds, kind)
		}
		return l
	})
}

func (n *Interner) shape(key []byte, l *layout) *Shape {
	key = binary.LittleEndian.AppendUint64(key, l.id)
	n.mu.RLock()
	s, ok := n.shapes.young[string(key)]
	n.mu.RUnlock()
	if ok {
		return s
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.shapes.get(key, func(kept string) *Shape {
		s := &Shape{Sensors: l.sensors, Kinds: l.kinds}
		rest := kept[:len(kept)-8]
		s.Gateway, rest = cutText(rest)
		for rest != "" {
			var a Attribute
			a.Name, rest = cutText(rest)
			a.Value, rest = cutText(rest)
			s.Attributes = append(s.Attributes, a)
		}
		return s
	})
}

// generations is a bounded map: when the young generation is full it becomes the old one, and the old one is forgotten
// but for what is asked for again.
type generations[V any] struct {
	max        int
	young, old map[string]V
}

func newGenerations[V any](max int) generations[V] {
	return generations[V]{max: max, young: make(map[string]V)}
}

// get returns the value of key, made by fresh from a kept copy of the key if there is none.
func (g *generations[V]) get(key []byte, fresh func(key string) V) V {
	if v, ok := g.young[string(key)]; ok {
		return v
	}
	kept := string(key)
	v, ok := g.old[kept]
	if !ok {
		v = fresh(kept)
	}
	if len(g.young) >= g.max {
		g.old, g.young = g.young, make(map[string]V, len(g.young)/4)
	}
	g.young[kept] = v
	return v
}
