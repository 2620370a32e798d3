package format

import (
	"hash/maphash"
	"slices"
	"sync"

	"berth/schema"
	"berth/schema/record"
)

// census knows which gateways and sensors a provider has, as far as its limits want it. It is for concurrent use.
//
// It keeps hashes in place of names: of two names that had one hash the later would not be counted, no more. And it
// forgets, beyond a bound, which sensors those gateways have that have had no new one for the longest time; should they
// get one, known is asked anew. What known does not know yet by then (because the log is not followed) is not counted:
// a limit that forgets takes too much, and never refuses what is known. How many gateways there are is never forgotten.
type census struct {
	known func(gateway string) ([]string, bool)
	seed  maphash.Seed
	most  int // bytes of a generation

	mu    sync.Mutex // guards all below
	count int        // gateways the provider has
	top   int        // sensors of the gateway that was seen to have most
	added map[uint64]struct{}
	young map[uint64]*gateway
	old   map[uint64]*gateway // the generation before, which is forgotten but for what is asked for again
	bytes int                 // of young, about
}

// gateway is what is remembered of a gateway.
type gateway struct {
	counted bool     // it is one of the provider's; else it was only heard of
	sensors []uint64 // their hashes, sorted
}

const (
	gatewayMemory = 96 // bytes that a gateway takes, about, and for each sensor
	sensorMemory  = 8

	defaultCensus = 64 << 20
)

func newCensus(o *TableOptions) *census {
	c := &census{known: o.Known, seed: maphash.MakeSeed(), most: o.Memory / 2, count: o.Gateways, added: make(map[uint64]struct{})}
	c.young = make(map[uint64]*gateway)
	if c.known == nil {
		c.known = func(string) ([]string, bool) { return nil, false }
	}
	if c.most <= 0 {
		c.most = defaultCensus / 2
	}
	return c
}

// admit takes the sensors of a gateway up, and the gateway with them; or refuses them all when that would go beyond a
// limit, and then has changed nothing.
func (c *census) admit(name string, sensors []string, l *record.Limits) *refusal {
	fresh := c.hashes(sensors)
	id := maphash.String(c.seed, name)
	seen := c.seen(id)
	var known []uint64
	ok := false
	if !seen {
		var names []string
		names, ok = c.known(name) // without the lock: it may take its time
		known = c.hashes(names)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	g := c.find(id)
	if g == nil {
		_, added := c.added[id]
		g = &gateway{counted: ok || added, sensors: known}
		c.keep(id, g)
	}
	if !g.counted && int64(c.count) >= l.Gateways {
		return refuse(schema.Limited, ReasonGatewayLimit, "gateway %q would be one more than the provider's limit of %d", name, l.Gateways)
	}
	fresh = slices.DeleteFunc(fresh, func(s uint64) bool {
		_, there := slices.BinarySearch(g.sensors, s)
		return there
	})
	if len(fresh) > 0 && int64(len(g.sensors)+len(fresh)) > l.SensorsPerGateway {
		return refuse(schema.Limited, ReasonSensorLimit, "gateway %q has %d sensors and %d new ones would be more than its limit of %d",
			name, len(g.sensors), len(fresh), l.SensorsPerGateway)
	}
	if !g.counted {
		g.counted = true
		c.count++
		c.added[id] = struct{}{}
	}
	if len(fresh) > 0 {
		g.sensors = slices.Concat(g.sensors, fresh)
		slices.Sort(g.sensors)
		c.bytes += sensorMemory * len(fresh)
	}
	c.top = max(c.top, len(g.sensors))
	return nil
}

// has reports whether a gateway is remembered as one that the provider has.
func (c *census) has(name string) bool {
	id := maphash.String(c.seed, name)
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, added := c.added[id]; added {
		return true
	}
	g := c.find(id)
	return g != nil && g.counted
}

// use returns how many gateways there are, and how many sensors the gateway has that was seen to have most.
func (c *census) use() (gateways, sensors int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.count, c.top
}

// hashes returns the hashes of names, sorted, each once.
func (c *census) hashes(names []string) []uint64 {
	hashes := make([]uint64, len(names))
	for i, name := range names {
		hashes[i] = maphash.String(c.seed, name)
	}
	slices.Sort(hashes)
	return slices.Compact(hashes)
}

// seen reports whether the gateway is remembered.
func (c *census) seen(id uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.find(id) != nil
}

// find returns what is remembered of a gateway, nil for nothing, and remembers it for longer. The lock is held.
func (c *census) find(id uint64) *gateway {
	if g := c.young[id]; g != nil {
		return g
	}
	g := c.old[id]
	if g != nil {
		delete(c.old, id)
		c.keep(id, g)
	}
	return g
}

// keep remembers a gateway, and forgets others when that is too much. The lock is held.
func (c *census) keep(id uint64, g *gateway) {
	if c.bytes >= c.most {
		c.old, c.young, c.bytes = c.young, make(map[uint64]*gateway), 0
	}
	c.young[id] = g
	c.bytes += gatewayMemory + sensorMemory*len(g.sensors)
}
