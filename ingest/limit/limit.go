// Package limit keeps a provider's rates, and counts the connections of each of its gateways.
//
// It says how long a sender has to wait; whoever speaks the protocol lets it wait, in the protocol's own way. What a
// limit does, and why:
//
//	beyond                              a sender is
//	readings or bytes a second          slowed: nothing is refused that a slower pace would have accepted. A connection is
//	                                    not read on until what it sent is paid for, so TCP holds the sender back. HTTP,
//	                                    whose clients do not wait for long, waits a second and then answers 429 with
//	                                    Retry-After; so a request is taken whole or not at all.
//	connections, gateways, sensors      refused with the reason: waiting would not make fewer of them.
//	bytes of the keyspace               refused with the reason, until retention, or a higher limit, makes room.
//	bytes of the log                    slowed, as by every log that is full.
//
// A gateway's own rates and connections hold for who is one gateway. A relay speaks for many, and so does a sender who
// shows the enrolment key without a name; they have the provider's limits alone. The provider's protect others from it;
// a gateway's protect the provider from one of its devices that ran wild.
//
// Its one invariant: over any time no more is let through than the rate, a Burst of it, and what was being read.
// It takes no lock for a reading: a sender spends once for everything that it read together.
package limit

import (
	"sync"
	"sync/atomic"
	"time"

	"berth/schema"
	"berth/schema/record"
)

// The reasons under which senders are slowed or refused for a rate or their connections. Like those of package format they
// never change their meaning.
const (
	ReasonReadings           = "readings_rate"
	ReasonBytes              = "bytes_rate"
	ReasonGatewayReadings    = "gateway_readings_rate"
	ReasonGatewayBytes       = "gateway_bytes_rate"
	ReasonGatewayConnections = "gateway_connections"
)

// Slowed begins the reasons under which it is counted how often a sender had to wait: nothing was refused then.
const Slowed = "slowed_"

// Limiter keeps the rates of one provider. It is for concurrent use.
type Limiter struct {
	limits atomic.Pointer[record.Limits]
	now    func() int64 // ns since some time, never back
	own    meter

	mu      sync.Mutex // guards what follows
	members map[string]*member
	sweepAt int // how many members there may be before those are forgotten that left no trace
}

// meter is what one scope, the provider or a gateway, spends.
type meter struct {
	mu              sync.Mutex // guards both
	readings, bytes bucket
}

// member is a gateway that has connections, or had some and is not yet paid for.
type member struct {
	meter
	name  string
	conns int64 // guarded by Limiter.mu
}

// sweepLeast is how many members there may be before anything is swept.
const sweepLeast = 1024

// New returns a limiter.
func New(limits *record.Limits) *Limiter {
	begin := time.Now().Add(-time.Second) // 0 is no time
	l := &Limiter{now: func() int64 { return int64(time.Since(begin)) }, members: map[string]*member{}, sweepAt: sweepLeast}
	l.Set(limits)
	return l
}

// Set changes the limits, which are not to be changed after that.
func (l *Limiter) Set(limits *record.Limits) { l.limits.Store(limits) }

// Sender is somebody who sends: a connection that has shown a key.
type Sender struct {
	l *Limiter
	m *member // nil: it is no single gateway
}

// Enter counts a connection of a gateway; an empty name is a sender that is no single gateway. The error is Limited: the
// gateway has as many as it may.
func (l *Limiter) Enter(gateway string) (*Sender, error) {
	if gateway == "" {
		return &Sender{l: l}, nil
	}
	limits := l.limits.Load()
	l.mu.Lock()
	defer l.mu.Unlock()
	m := l.members[gateway]
	if m == nil {
		m = &member{name: gateway}
	}
	if m.conns >= limits.ConnectionsPerGateway {
		return nil, schema.Errorf(schema.Limited, "gateway %q has %d connections, its limit", gateway, m.conns)
	}
	m.conns++
	l.members[gateway] = m
	if len(l.members) > l.sweepAt {
		l.sweep(limits)
	}
	return &Sender{l: l, m: m}, nil
}

// sweep forgets who has no connection and owes nothing. mu is held.
func (l *Limiter) sweep(limits *record.Limits) {
	now := l.now()
	for _, m := range l.members {
		l.forget(m, now, limits)
	}
	l.sweepAt = max(sweepLeast, 2*len(l.members))
}

func (l *Limiter) forget(m *member, now int64, limits *record.Limits) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.conns == 0 && m.readings.full(now, limits.GatewayReadingsPerSecond) && m.bytes.full(now, limits.GatewayBytesPerSecond) {
		delete(l.members, m.name)
	}
}

// Leave ends the connection. It is called once.
func (s *Sender) Leave() {
	if s.m == nil {
		return
	}
	s.l.mu.Lock()
	defer s.l.mu.Unlock()
	s.m.conns--
	s.l.forget(s.m, s.l.now(), s.l.limits.Load())
}

// Gateway returns the gateway's name, empty for a sender that is no single gateway.
func (s *Sender) Gateway() string {
	if s.m == nil {
		return ""
	}
	return s.m.name
}

// Mark is a place in the line of those who wait: [Sender.Due] says how long it is until it.
type Mark struct{ own, gateway spent }

// spent is what a scope had spent.
type spent struct{ readings, bytes float64 }

// Spend spends what came together, and returns the place behind it.
func (s *Sender) Spend(readings, bytes int) Mark {
	limits, now := s.l.limits.Load(), s.l.now()
	m := Mark{own: s.l.own.spend(now, limits.ReadingsPerSecond, limits.BytesPerSecond, readings, bytes)}
	if s.m != nil {
		m.gateway = s.m.spend(now, limits.GatewayReadingsPerSecond, limits.GatewayBytesPerSecond, readings, bytes)
	}
	return m
}

// Enough reports whether so much has come that it should be spent before more is taken: a quarter of a second's worth. It
// costs little.
func (s *Sender) Enough(readings, bytes int) bool {
	l := s.l.limits.Load()
	readingsRate, bytesRate := l.ReadingsPerSecond, l.BytesPerSecond
	if s.m != nil {
		readingsRate, bytesRate = lower(readingsRate, l.GatewayReadingsPerSecond), lower(bytesRate, l.GatewayBytesPerSecond)
	}
	return readingsRate > 0 && 4*int64(readings) >= readingsRate || bytesRate > 0 && 4*int64(bytes) >= bytesRate
}

// lower returns the lower of two rates, of which 0 is none.
func lower(a, b int64) int64 {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}

// Mark returns the place behind everybody: who comes anew begins there, so that nothing is won by coming again.
func (s *Sender) Mark() Mark { return s.Spend(0, 0) }

func (m *meter) spend(now, readingsRate, bytesRate int64, readings, bytes int) spent {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.readings.spend(now, readingsRate, float64(readings))
	m.bytes.spend(now, bytesRate, float64(bytes))
	return spent{m.readings.spent, m.bytes.spent}
}

// Due returns how long it is until the sender's turn at that place, and for which reason; 0 is now.
func (s *Sender) Due(m Mark) (wait time.Duration, reason string) {
	limits, now := s.l.limits.Load(), s.l.now()
	longest := func(d time.Duration, r string) {
		if d > wait {
			wait, reason = d, r
		}
	}
	readings, bytes := s.l.own.due(now, limits.ReadingsPerSecond, limits.BytesPerSecond, m.own)
	longest(readings, ReasonReadings)
	longest(bytes, ReasonBytes)
	if s.m != nil {
		readings, bytes = s.m.due(now, limits.GatewayReadingsPerSecond, limits.GatewayBytesPerSecond, m.gateway)
		longest(readings, ReasonGatewayReadings)
		longest(bytes, ReasonGatewayBytes)
	}
	return wait, reason
}

func (m *meter) due(now, readingsRate, bytesRate int64, at spent) (readings, bytes time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.readings.due(now, readingsRate, at.readings), m.bytes.due(now, bytesRate, at.bytes)
}

// Error returns what a sender is told that was slowed for a reason until it could be no more.
func (s *Sender) Error(reason string) *schema.Error {
	limits := s.l.limits.Load()
	switch reason {
	case ReasonBytes:
		return schema.Errorf(schema.Limited, "the provider sends more than its limit of %d bytes a second", limits.BytesPerSecond)
	case ReasonGatewayReadings:
		return schema.Errorf(schema.Limited, "gateway %q sends more than its limit of %d readings a second", s.Gateway(), limits.GatewayReadingsPerSecond)
	case ReasonGatewayBytes:
		return schema.Errorf(schema.Limited, "gateway %q sends more than its limit of %d bytes a second", s.Gateway(), limits.GatewayBytesPerSecond)
	default:
		return schema.Errorf(schema.Limited, "the provider sends more than its limit of %d readings a second", limits.ReadingsPerSecond)
	}
}

// Use returns how much of the rates, and of a gateway's connections, is used now: of the gateway that uses most of each.
func (l *Limiter) Use() record.Limits {
	now := l.now()
	var u record.Limits
	u.ReadingsPerSecond, u.BytesPerSecond = l.own.perSecond(now)
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range l.members {
		readings, bytes := m.perSecond(now)
		u.GatewayReadingsPerSecond = max(u.GatewayReadingsPerSecond, readings)
		u.GatewayBytesPerSecond = max(u.GatewayBytesPerSecond, bytes)
		u.ConnectionsPerGateway = max(u.ConnectionsPerGateway, m.conns)
	}
	return u
}

func (m *meter) perSecond(now int64) (readings, bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.readings.perSecond(now), m.bytes.perSecond(now)
}
