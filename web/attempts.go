package web

import (
	"fmt"
	"hash/maphash"
	"math"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"berth/internal/httpserver"
	"berth/schema"
)

// pacerSlots is how many counters a pacer has: 32 KiB of them, however many ask.
const pacerSlots = 4096

// pacer counts how often something is done under a key, in a fixed number of counters. Two keys may share one, whose
// limit is then theirs together; who shares with whom cannot be foreseen. Each counter is the time at which all that was
// done has been paid for, at so much an act (the generic cell rate algorithm).
type pacer struct {
	seed maphash.Seed

	mu   sync.Mutex // guards paid
	paid [pacerSlots]time.Time
}

func newPacer() *pacer { return &pacer{seed: maphash.MakeSeed()} }

// pace is a limit: an act each so often, and so many at once.
type pace struct {
	every time.Duration
	burst int
}

// take counts one act under the key, unless it is one too many: then it returns how long to wait. left is how many more
// may be done at once, full after how long all of them may.
func (p *pacer) take(key string, limit pace, now time.Time) (left int, full, wait time.Duration) {
	slot := &p.paid[maphash.String(p.seed, key)%pacerSlots]
	p.mu.Lock()
	defer p.mu.Unlock()
	owed := max(slot.Sub(now), 0)
	most := limit.every * time.Duration(limit.burst)
	if owed > most {
		owed = 0 // the clock was set back
	}
	if owed+limit.every > most {
		return 0, owed, owed + limit.every - most
	}
	owed += limit.every
	*slot = now.Add(owed)
	return int((most - owed) / limit.every), owed, 0
}

// Paces of sign-in attempts. Who knows a name can keep nobody else from signing in: what counts is name and address
// together first; all addresses together may still try a name far too seldom to guess a password.
var (
	paceOfPair    = pace{every: time.Minute, burst: 10}
	paceOfName    = pace{every: 10 * time.Second, burst: 100}
	paceOfAddress = pace{every: 2 * time.Second, burst: 60}
)

// attempt counts an attempt to sign in, and returns how long to wait if it is one too many.
func (w *Web) attempt(remote, name string) (wait time.Duration) {
	network, now := networkOf(remote), w.now()
	if _, _, wait = w.attempts.take("address "+network, paceOfAddress, now); wait > 0 || name == "" {
		return wait
	}
	if _, _, wait = w.attempts.take("pair "+network+" "+name, paceOfPair, now); wait > 0 {
		return wait
	}
	_, _, wait = w.attempts.take("name "+name, paceOfName, now)
	return wait
}

// networkOf returns what one sender can hardly have many of: an IPv4 address, or the network of an IPv6 address.
func networkOf(remote string) string {
	at, err := netip.ParseAddr(httpserver.HostOf(remote))
	if err != nil {
		return remote
	}
	at = at.Unmap().WithZone("")
	if at.Is6() {
		if p, err := at.Prefix(64); err == nil {
			return p.String()
		}
	}
	return at.String()
}

// paceOfAPI is how often the API may be asked with one token, or in one session: what stands in its headers follows.
var paceOfAPI = pace{every: 2 * time.Millisecond, burst: 5000}

// slow counts a question to the API, says in the answer's headers how many more may be asked (draft-ietf-httpapi-
// ratelimit-headers-10), and returns Limited for one too many.
func (w *Web) slow(h http.Header, r *http.Request, v visitor) error {
	key := "address " + networkOf(r.RemoteAddr)
	switch {
	case v.bearer:
		key = "token " + v.provider + " " + v.token
	case v.role != "":
		key = "session " + v.session
	}
	left, full, wait := w.asked.take(key, paceOfAPI, w.now())
	window := time.Duration(paceOfAPI.burst) * paceOfAPI.every
	h.Set("RateLimit-Policy", fmt.Sprintf(`"api";q=%d;w=%d`, paceOfAPI.burst, int(window.Seconds())))
	h.Set("RateLimit", fmt.Sprintf(`"api";r=%d;t=%d`, left, int(math.Ceil(full.Seconds()))))
	if wait == 0 {
		return nil
	}
	h.Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds())))) // RFC 9110 §10.2.3
	return schema.Errorf(schema.Limited, "the API was asked more than %d times in %v", paceOfAPI.burst, window).
		WithNext("ask less often; the headers RateLimit-Policy and RateLimit say how often")
}
