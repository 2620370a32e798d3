package gate

import (
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"berth/ingest/gate/intake"
	"berth/schema"
	"berth/schema/record"
)

// spareConns is how many connections beyond the limit are kept open at once, until they were told why they are not
// served.
const spareConns = 32

// conns are the open connections.
type conns struct {
	log *slog.Logger

	mu        sync.Mutex // guards what follows
	open      map[*intake.Conn]struct{}
	addresses map[netip.Addr]int
	said      time.Time // when the log last heard that a limit was reached
	stopping  error     // no more are let in
}

func (s *conns) begin(log *slog.Logger) {
	s.log, s.open, s.addresses = log, make(map[*intake.Conn]struct{}), make(map[netip.Addr]int)
}

func (s *conns) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}

// used returns how many connections there are, and of the address that has most.
func (s *conns) used() (all, ofAddress int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.addresses {
		ofAddress = max(ofAddress, int64(n))
	}
	return int64(len(s.open)), ofAddress
}

// refusal is why a connection is one too many, and the reason under which it is counted.
type refusal struct {
	why    error
	reason string // empty: it is not counted
}

// enter takes a connection up. no.why is set when there is one too many: it is to be told so, and not served; without ok
// it is not even taken up.
func (s *conns) enter(c *intake.Conn, limits *record.Limits) (no refusal, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	address := c.Address.Addr()
	open, ofAddress := int64(len(s.open)), int64(s.addresses[address])
	switch {
	case s.stopping != nil:
		return refusal{why: s.stopping}, false
	case open >= limits.Connections:
		no = refusal{schema.Errorf(schema.Limited, "the provider has %d connections, its limit", limits.Connections), intake.ReasonConnections}
	case ofAddress >= limits.ConnectionsPerAddress:
		no = refusal{schema.Errorf(schema.Limited, "%d connections come from this address, the limit", limits.ConnectionsPerAddress), intake.ReasonAddressConnections}
	}
	if no.why != nil && time.Since(s.said) > time.Minute {
		s.said = time.Now()
		s.log.Warn("connections are refused", "reason", no.why.Error())
	}
	if no.why != nil && (open >= limits.Connections+spareConns || ofAddress >= limits.ConnectionsPerAddress+spareConns) {
		return no, false
	}
	s.open[c] = struct{}{}
	s.addresses[address]++
	return no, true
}

// leave forgets a connection.
func (s *conns) leave(c *intake.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.open[c]; !ok {
		return
	}
	delete(s.open, c)
	address := c.Address.Addr()
	if s.addresses[address]--; s.addresses[address] == 0 {
		delete(s.addresses, address)
	}
}

// replace takes up what goes on in the place of a connection; false: that one was closed meanwhile.
func (s *conns) replace(c, by *intake.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.open[c]; !ok {
		return false
	}
	delete(s.open, c)
	s.open[by] = struct{}{}
	return true
}

// all returns the connections there are.
func (s *conns) all() []*intake.Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*intake.Conn, 0, len(s.open))
	for c := range s.open {
		all = append(all, c)
	}
	return all
}

// recheck drops the sessions that the keys do not let in any more.
func (s *conns) recheck(keys *intake.Keys) {
	for _, c := range s.all() {
		session := c.Session()
		if session == nil {
			continue // it shows its key with every request, or has not yet
		}
		if err := keys.Check(session.Identity()); err != nil {
			session.Drop(err)
		}
	}
}

// drop lets no more connections in, drops all sessions and closes the connections that nothing was recognised of yet.
func (s *conns) drop(why error) {
	s.mu.Lock()
	s.stopping = why
	s.mu.Unlock()
	for _, c := range s.all() {
		if session := c.Session(); session != nil {
			session.Drop(why)
		} else if !c.Served() {
			_ = c.Close() // nobody is in the middle of anything
		}
	}
}

// closeAll closes all connections, at once: crypto/tls waits some seconds for a peer that does not take the end.
func (s *conns) closeAll() {
	var closing sync.WaitGroup
	for _, c := range s.all() {
		closing.Go(func() { _ = c.Close() }) // they had their time
	}
	closing.Wait()
}
