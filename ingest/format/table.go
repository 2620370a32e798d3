package format

import (
	"encoding/binary"
	"slices"
	"sync"
	"sync/atomic"

	"berth/schema/batch"
	"berth/schema/record"
)

// TableOptions are what a Table is made with.
type TableOptions struct {
	// Known says whether the provider has this gateway already and what its sensors are. It is asked when a gateway is
	// first seen since the start, or has not been for long, and may take as long as a look into the keyspace does. When
	// it cannot tell, it answers true: a limit must never refuse what is known. nil knows nothing.
	Known func(gateway string) (sensors []string, ok bool)
	// Gateways is how many gateways the provider has at the start.
	Gateways int
	// Interner keeps the shapes; nil is one of the table's own.
	Interner *batch.Interner
	// Memory is about how many bytes it may take to remember which sensors the gateways have; 64 MiB if 0. Beyond it,
	// Known is asked about a gateway again.
	Memory int
}

// maxShapes is how many shapes a table's own interner remembers.
const maxShapes = 1 << 17

// Table is what is known of a provider's gateways and sensors: it keeps the limits and remembers what recurring lines
// look like. It is for concurrent use.
type Table struct {
	census   *census
	interner *batch.Interner
	lines    *cache
	objects  *cache
	records  *cache
	rules    atomic.Pointer[rules]

	mu      sync.Mutex         // guards layouts
	layouts map[string]*layout // by the kinds and names of their fields
}

// maxShared is how many layouts are remembered.
const maxShared = 1 << 12

// NewTable returns a table that knows what o says.
func NewTable(o TableOptions) *Table {
	t := &Table{
		census: newCensus(&o), interner: o.Interner,
		lines: newCache(), objects: newCache(), records: newCache(), layouts: make(map[string]*layout),
	}
	if t.interner == nil {
		t.interner = batch.NewInterner(maxShapes)
	}
	return t
}

// Use returns how many gateways the provider has, and how many sensors the gateway has that was seen to have most since the
// start.
func (t *Table) Use() (gateways, sensors int) { return t.census.use() }

// Has reports whether a gateway is remembered as one that the provider has. It may have been forgotten.
func (t *Table) Has(gateway string) bool { return t.census.has(gateway) }

// Add says that the provider has so many gateways more than was known at the start.
func (t *Table) Add(gateways int) {
	t.census.mu.Lock()
	defer t.census.mu.Unlock()
	t.census.count += gateways
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
