// Package witness remembers what is seen of who sends: whether a key was used, whether it was shown where others may have
// read it, and which gateways wait for approval.
//
// It leaves deciding who may send to package intake, and keeping its records where a restart finds them to its caller:
// [Witness.Load] and [Witness.Flush]. Its one invariant: what it holds and writes is bounded by the keys and by
// MostWaiting, however often they are shown: of a key it writes twice, and then once a day.
package witness

import (
	"sync"
	"time"

	"berth/schema"
	"berth/schema/record"
)

const (
	// MostWaiting is how many gateways may wait for approval.
	MostWaiting = 256
	// forgetAfter is how long a gateway that waits may stay away before another may take its place.
	forgetAfter = 24 * time.Hour
	// noteEvery is how often it is noted that a gateway which waits came again.
	noteEvery = time.Minute
	// clearEvery is how often it is noted that a key is shown in clear still.
	clearEvery = 24 * time.Hour
)

// shown is record.Shown, small.
type shown struct {
	hash              string
	used, clear, last int64 // Unix seconds; 0: never
}

// Witness remembers. It is safe for concurrent use.
type Witness struct {
	mu      sync.RWMutex // guards what follows
	shown   map[string]*shown
	waiting map[string]*record.Waiting
	decided func(gateway string) bool // whether there is a record of the gateway; nil: none
	dirty   map[key]struct{}          // what is to be written, or removed if there is nothing to be written
}

// key names a record.
type key struct {
	waiting bool // else what is seen of a key
	gateway string
}

// New returns a witness that has seen nothing.
func New() *Witness {
	return &Witness{shown: map[string]*shown{}, waiting: map[string]*record.Waiting{}, dirty: map[key]struct{}{}}
}

// Saw notes that a gateway's key was shown; the enrolment key's gateway is "". first is whether it was so for the first time.
func (w *Witness) Saw(gateway, hash string, clear bool, at time.Time) (first bool) {
	now := at.Unix()
	w.mu.RLock()
	s := w.shown[gateway]
	known := s != nil && s.hash == hash && (!clear || s.clear != 0 && now-s.last < int64(clearEvery/time.Second))
	w.mu.RUnlock()
	if known {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if s = w.shown[gateway]; s == nil || s.hash != hash {
		s = &shown{hash: hash, used: now}
		w.shown[gateway], first = s, true
	}
	if clear {
		s.last = now
		if s.clear == 0 {
			s.clear = now
		}
	}
	w.dirty[key{gateway: gateway}] = struct{}{}
	return first
}

// Used reports whether a gateway's key was ever shown.
func (w *Witness) Used(gateway, hash string) bool {
	w.mu.RLock()
	defer w.mu.RUnlock()
	s := w.shown[gateway]
	return s != nil && s.hash == hash
}

// Waits reports whether the gateway waits for approval.
func (w *Witness) Waits(gateway string) bool {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.waiting[gateway] != nil
}

// Wait notes that a gateway has shown the enrolment key and is to wait for approval. It returns what the gateway is told.
func (w *Witness) Wait(gateway, address string, at time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	at = at.UTC().Truncate(time.Second)
	g := w.waiting[gateway]
	if g == nil && len(w.waiting) >= MostWaiting && !w.makeRoom(at) {
		return schema.Errorf(schema.Pending, "gateway %q is new, and %d others wait for approval already", gateway, MostWaiting).
			WithNext("have some approved or refused, and send again in a minute")
	}
	if g == nil {
		g = &record.Waiting{Version: record.Version, Gateway: gateway, First: at}
		w.waiting[gateway] = g
	}
	g.Times++
	if at.Sub(g.Last) >= noteEvery || g.Times == 1 {
		g.Last, g.Address = at, address
		w.dirty[key{waiting: true, gateway: gateway}] = struct{}{}
	}
	return schema.Errorf(schema.Pending, "gateway %q waits for approval", gateway).
		WithNext("have it approved by the provider, and send again in a minute: nothing was taken")
}

// makeRoom forgets the gateway that has stayed away for longest, if that is long enough. The lock is held.
func (w *Witness) makeRoom(now time.Time) bool {
	var oldest *record.Waiting
	for _, g := range w.waiting {
		if oldest == nil || g.Last.Before(oldest.Last) {
			oldest = g
		}
	}
	if oldest == nil || now.Sub(oldest.Last) < forgetAfter {
		return false
	}
	w.forget(oldest.Gateway)
	return true
}

// forget lets a gateway wait no longer. The lock is held.
func (w *Witness) forget(gateway string) {
	delete(w.waiting, gateway)
	w.dirty[key{waiting: true, gateway: gateway}] = struct{}{}
}

// Decide says of which gateways there are records: what is seen of others' keys is forgotten, and who has one waits no more.
func (w *Witness) Decide(decided func(gateway string) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.decided = decided
	for gateway := range w.waiting {
		if decided(gateway) {
			w.forget(gateway)
		}
	}
	for gateway := range w.shown {
		if gateway != "" && !decided(gateway) {
			delete(w.shown, gateway)
			w.dirty[key{gateway: gateway}] = struct{}{}
		}
	}
}
