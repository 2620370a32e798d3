package format

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
)

// cache remembers series by the bytes that name them. It is a hash table of bounded size whose readers take no lock:
// every line of every connection passes here. A series stands within a few places of where its hash says; when these
// are taken one is overwritten, and what is overwritten is worked out anew when it comes again.
type cache struct {
	seed  maphash.Seed
	slots atomic.Pointer[[]atomic.Pointer[series]] // their number is a power of two

	mu   sync.Mutex // guards used, and is held while slots are written
	used int
}

const (
	cacheWays  = 8
	cacheFirst = 1 << 8  // slots at first
	cacheMost  = 1 << 19 // slots at most
)

func newCache() *cache {
	c := &cache{seed: maphash.MakeSeed()}
	slots := make([]atomic.Pointer[series], cacheFirst)
	c.slots.Store(&slots)
	return c
}

// hash returns the hash of a series' key for the sender with this hash.
func (c *cache) hash(sender uint64, key []byte) uint64 {
	return maphash.Bytes(c.seed, key) ^ sender
}

// sender returns the hash of a sender's name.
func (c *cache) sender(name string) uint64 {
	return maphash.String(c.seed, name) * 0x9e3779b97f4a7c15 // else a key equal to the sender would give 0
}

// find returns the series of the sender that the key names under these rules, or nil.
func (c *cache) find(hash uint64, sender string, key []byte, r *rules) *series {
	slots := *c.slots.Load()
	for i := range uint64(cacheWays) {
		s := slots[(hash+i)&uint64(len(slots)-1)].Load()
		if s == nil {
			return nil
		}
		if s.hash == hash && s.key == string(key) && s.sender == sender && s.rules == r {
			return s
		}
	}
	return nil
}

// put remembers a series.
func (c *cache) put(s *series) {
	c.mu.Lock()
	defer c.mu.Unlock()
	slots := *c.slots.Load()
	if 4*c.used >= len(slots) && len(slots) < cacheMost {
		slots = c.widen(slots)
	}
	// A place is found at once but for the rare case that many series stand close together.
	for !c.place(slots, s) && len(slots) < cacheMost && 32*c.used > len(slots) {
		slots = c.widen(slots)
	}
}

// widen doubles the slots.
func (c *cache) widen(slots []atomic.Pointer[series]) []atomic.Pointer[series] {
	wider := make([]atomic.Pointer[series], 2*len(slots))
	c.used = 0
	for i := range slots {
		if s := slots[i].Load(); s != nil {
			c.place(wider, s)
		}
	}
	c.slots.Store(&wider)
	return wider
}

// place puts a series into the slots. It returns false when another one had to give way.
func (c *cache) place(slots []atomic.Pointer[series], s *series) bool {
	for i := range uint64(cacheWays) {
		slot := &slots[(s.hash+i)&uint64(len(slots)-1)]
		old := slot.Load()
		if old == nil {
			c.used++
			slot.Store(s)
			return true
		}
		if old.hash == s.hash && old.key == s.key && old.sender == s.sender {
			slot.Store(s) // its rules have changed
			return true
		}
	}
	slots[(s.hash+(s.hash>>40)%cacheWays)&uint64(len(slots)-1)].Store(s)
	return false
}
