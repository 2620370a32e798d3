package format

import (
	"encoding/binary"
	"slices"
	"sync"
	"sync/atomic"
	"unique"

	"berth/schema"
	"berth/schema/batch"
	"berth/schema/record"
)

// TableOptions are what a Table is made with.
type TableOptions struct {
	// Known says whether the provider has this gateway already and what its sensors are. It is asked when a gateway is
	// first seen since the start, and may take as long as a look into the keyspace does. When it cannot tell, it answers
	// true: a limit must never refuse what is known. nil knows nothing.
	Known func(gateway string) (sensors []string, ok bool)
	// Gateways is how many gateways the provider has at the start.
	Gateways int
	// Interner keeps the shapes; nil is one of the table's own.
	Interner *batch.Interner
}

// maxShapes is how many shapes a table's own interner remembers.
const maxShapes = 1 << 17

// Table is what is known of a provider's gateways and sensors: it keeps the limits and remembers what recurring lines
// look like. It is for concurrent use.
type Table struct {
	known    func(gateway string) ([]string, bool)
	interner *batch.Interner
	lines    *cache
	objects  *cache
	rules    atomic.Pointer[rules]

	mu       sync.Mutex // guards all below
	gateways map[string]*gateway
	refused  map[string]struct{} // gateways beyond the limit, lest each of their lines asks Known
	count    int                 // gateways the provider has
	layouts  map[string]*layout  // by the kinds and names of their fields
}

// gateway is the sensors of a gateway, sorted.
type gateway struct{ sensors []string }

const (
	maxRefused = 1 << 14 // gateways beyond the limit that are remembered
	maxShared  = 1 << 12 // layouts that are remembered
)

// NewTable returns a table that knows what o says.
func NewTable(o TableOptions) *Table {
	t := &Table{
		known: o.Known, interner: o.Interner, count: o.Gateways,
		lines: newCache(), objects: newCache(),
		gateways: make(map[string]*gateway), refused: make(map[string]struct{}), layouts: make(map[string]*layout),
	}
	if t.known == nil {
		t.known = func(string) ([]string, bool) { return nil, false }
	}
	if t.interner == nil {
		t.interner = batch.NewInterner(maxShapes)
	}
	return t
}

// admit takes the sensors of a gateway up, or refuses them all when that would go beyond a limit.
func (t *Table) admit(name string, sensors []string, l *record.Limits) *refusal {
	seen, refused := t.seen(name, l)
	if !seen {
		var known []string
		ok := false
		if !refused {
			known, ok = t.known(name)
		}
		if r := t.enter(name, known, ok, l); r != nil {
			return r
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	g := t.gateways[name]
	fresh := 0
	for _, s := range sensors {
		if _, ok := slices.BinarySearch(g.sensors, s); !ok {
			fresh++
		}
	}
	if fresh == 0 {
		return nil
	}
	if len(g.sensors)+fresh > l.SensorsPerGateway {
		return refuse(schema.Limited, ReasonSensorLimit, "gateway %q has %d sensors and %d new ones would be more than its limit of %d",
			name, len(g.sensors), fresh, l.SensorsPerGateway)
	}
	for _, s := range sensors {
		if i, ok := slices.BinarySearch(g.sensors, s); !ok {
			g.sensors = slices.Insert(g.sensors, i, unique.Make(s).Value())
		}
	}
	return nil
}

// seen reports whether the gateway was taken up since the start, and whether it was refused and still is.
func (t *Table) seen(name string, l *record.Limits) (seen, refused bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, refused = t.refused[name]
	return t.gateways[name] != nil, refused && t.count >= l.Gateways
}

// enter takes a gateway up that was not seen since the start, or refuses it.
func (t *Table) enter(name string, sensors []string, known bool, l *record.Limits) *refusal {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.gateways[name] != nil {
		return nil
	}
	if !known {
		if t.count >= l.Gateways {
			if len(t.refused) >= maxRefused {
				clear(t.refused)
			}
			t.refused[name] = struct{}{}
			return refuse(schema.Limited, ReasonGatewayLimit, "gateway %q would be one more than the provider's limit of %d", name, l.Gateways)
		}
		t.count++
	}
	g := &gateway{sensors: make([]string, 0, len(sensors))}
	for _, s := range sensors {
		g.sensors = append(g.sensors, unique.Make(s).Value())
	}
	slices.Sort(g.sensors)
	g.sensors = slices.Compact(g.sensors)
	t.gateways[unique.Make(name).Value()] = g
	return nil
}

// layout returns the layout of the fields.
func (t *Table) layout(fields []field) *layout {
	var key []byte
	for _, f := range fields {
		key = append(binary.AppendUvarint(append(key, byte(f.kind)), uint64(len(f.name))), f.name...)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.layouts[string(key)]
	if l == nil {
		if len(t.layouts) >= maxShared {
			clear(t.layouts) // those in use stay with their series
		}
		l = newLayout(fields)
		t.layouts[string(key)] = l
	}
	return l
}

// rules is how a provider's tags name gateways and attributes. Equal rules are the same pointer as long as they last.
type rules struct {
	gatewayTag string
	attributes []string
}

func (t *Table) rulesOf(s *record.Settings) *rules {
	r := t.rules.Load()
	if r == nil || r.gatewayTag != s.GatewayTag || !slices.Equal(r.attributes, s.AttributeTags) {
		r = &rules{gatewayTag: s.GatewayTag, attributes: slices.Clone(s.AttributeTags)}
		t.rules.Store(r)
	}
	return r
}
