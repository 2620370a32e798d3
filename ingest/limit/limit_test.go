package limit

import (
	"fmt"
	"math"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"berth/schema"
	"berth/schema/record"
)

// clocked returns a limiter and its clock.
func clocked(limits record.Limits) (*Limiter, *int64) {
	now := int64(time.Second)
	if limits.ConnectionsPerGateway == 0 {
		limits.ConnectionsPerGateway = 10
	}
	l := New(&limits)
	l.now = func() int64 { return now }
	return l, &now
}

func enter(t testing.TB, l *Limiter, gateway string) *Sender {
	t.Helper()
	s, err := l.Enter(gateway)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func near(a, b time.Duration) bool { return (a - b).Abs() < time.Millisecond }

func TestTheBurstIsFreeAndThenTheRateHolds(t *testing.T) {
	l, now := clocked(record.Limits{ReadingsPerSecond: 100, GatewayBytesPerSecond: 1000})
	s := enter(t, l, "g")
	if d, reason := s.Due(s.Spend(500, 5000)); d != 0 {
		t.Errorf("the burst has to wait for %v, %s", d, reason)
	}
	if d, reason := s.Due(s.Spend(100, 0)); !near(d, time.Second) || reason != ReasonReadings {
		t.Errorf("wait for %v, %s", d, reason)
	}
	mark := s.Spend(0, 7000)
	if d, reason := s.Due(mark); !near(d, 7*time.Second) || reason != ReasonGatewayBytes {
		t.Errorf("wait for %v, %s", d, reason)
	}
	*now += int64(3 * time.Second)
	if d, _ := s.Due(mark); !near(d, 4*time.Second) {
		t.Errorf("after three seconds wait for %v", d)
	}
	other := enter(t, l, "h")
	if d, _ := other.Due(other.Mark()); d != 0 {
		t.Errorf("a gateway waits %v for another", d)
	}
	again := enter(t, l, "g")
	if d, _ := again.Due(again.Mark()); !near(d, 4*time.Second) {
		t.Errorf("who comes again waits for %v", d)
	}
}

func TestChangesAreLive(t *testing.T) {
	l, now := clocked(record.Limits{ReadingsPerSecond: 10})
	s := enter(t, l, "")
	mark := s.Spend(1050, 0)
	if d, _ := s.Due(mark); !near(d, 100*time.Second) {
		t.Errorf("wait for %v", d)
	}
	l.Set(&record.Limits{ReadingsPerSecond: 1000})
	if d, _ := s.Due(mark); !near(d, time.Second) {
		t.Errorf("after the limit was raised wait for %v", d)
	}
	l.Set(&record.Limits{})
	if d, _ := s.Due(mark); d != 0 {
		t.Errorf("without a limit wait for %v", d)
	}
	s.Spend(1e9, 1e9)
	l.Set(&record.Limits{ReadingsPerSecond: 10})
	if d, _ := s.Due(s.Spend(60, 0)); !near(d, time.Second) {
		t.Errorf("what was sent without a limit is to be paid for: wait for %v", d)
	}
	*now += int64(time.Hour)
	if d, _ := s.Due(s.Spend(50, 0)); d != 0 {
		t.Errorf("after an hour wait for %v", d)
	}
	if d, _ := s.Due(s.Spend(10, 0)); !near(d, time.Second) {
		t.Errorf("an hour saves no more than a burst: wait for %v", d)
	}
}

func TestAGatewaysConnections(t *testing.T) {
	l, _ := clocked(record.Limits{ConnectionsPerGateway: 2})
	a, b := enter(t, l, "g"), enter(t, l, "g")
	if _, err := l.Enter("g"); !schema.Is(err, schema.Limited) {
		t.Errorf("a third connection: %v", err)
	}
	for range 10 {
		enter(t, l, "")
	}
	if u := l.Use(); u.ConnectionsPerGateway != 2 {
		t.Errorf("used: %+v", u)
	}
	a.Leave()
	c := enter(t, l, "g")
	b.Leave()
	c.Leave()
	if len(l.members) != 0 {
		t.Errorf("%d gateways are remembered of none", len(l.members))
	}
}

// TestGatewaysThatLeftAreForgotten: and not before what they sent is paid for.
func TestGatewaysThatLeftAreForgotten(t *testing.T) {
	l, now := clocked(record.Limits{GatewayReadingsPerSecond: 10})
	for i := range 5000 {
		s := enter(t, l, fmt.Sprint("gateway", i))
		s.Spend(1, 1)
		s.Leave()
		*now += int64(10 * time.Millisecond)
	}
	if n := len(l.members); n > 2*sweepLeast {
		t.Errorf("%d gateways are remembered that have left", n)
	}
	s := enter(t, l, "g")
	s.Spend(1050, 0)
	s.Leave()
	*now += int64(90 * time.Second)
	l.sweepAt = 0
	s = enter(t, l, "g")
	if d, _ := s.Due(s.Mark()); !near(d, 10*time.Second) {
		t.Errorf("it owes %v after it came again", d)
	}
}

func TestUse(t *testing.T) {
	l, now := clocked(record.Limits{})
	g, h := enter(t, l, "g"), enter(t, l, "h")
	for range 40 {
		g.Spend(10, 1000)
		h.Spend(30, 100)
		*now += int64(100 * time.Millisecond)
	}
	u := l.Use()
	if u.ReadingsPerSecond != 400 || u.BytesPerSecond != 11_000 || u.GatewayReadingsPerSecond != 300 || u.GatewayBytesPerSecond != 10_000 {
		t.Errorf("%+v", u)
	}
	*now += int64(time.Hour)
	if u := l.Use(); u.ReadingsPerSecond != 0 {
		t.Errorf("after an hour of silence %+v", u)
	}
}

// TestNoMoreThanTheRate: senders that keep to their turns, come and go, never get more through than the rate and the burst
// allow, and the line moves: nobody waits for longer than it takes to pay for what was spent.
func TestNoMoreThanTheRate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate := rapid.Int64Range(1, 10_000).Draw(t, "rate")
		limits := record.Limits{ReadingsPerSecond: rate, ConnectionsPerGateway: 100}
		l := New(&limits)
		begin := int64(time.Second)
		now := begin
		l.now = func() int64 { return now }
		senders := make([]*Sender, rapid.IntRange(1, 5).Draw(t, "senders"))
		marks := make([]Mark, len(senders))
		for i := range senders {
			senders[i], _ = l.Enter("g")
			marks[i] = senders[i].Mark()
		}
		most := 0
		total := 0
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			now += rapid.Int64Range(0, int64(time.Second)).Draw(t, "pause")
			i := rapid.IntRange(0, len(senders)-1).Draw(t, "who")
			if rapid.IntRange(0, 9).Draw(t, "again") == 0 {
				senders[i].Leave()
				senders[i], _ = l.Enter("g")
				marks[i] = senders[i].Mark()
			}
			if d, _ := senders[i].Due(marks[i]); d > 0 {
				continue
			}
			n := rapid.IntRange(0, int(2*rate)).Draw(t, "n")
			most = max(most, n)
			marks[i] = senders[i].Spend(n, 0)
			total += n
			allowed := float64(rate)*(time.Duration(now-begin)+Burst).Seconds() + float64(len(senders)*most)
			if float64(total) > math.Ceil(allowed) {
				t.Fatalf("%d came through in %v, more than %v", total, time.Duration(now-begin), allowed)
			}
		}
		if d, _ := senders[0].Due(senders[0].Mark()); d.Seconds() > float64(total)/float64(rate)+0.001 {
			t.Fatalf("the last waits for %v, for %d at %d a second", d, total, rate)
		}
	})
}

func TestConcurrently(t *testing.T) {
	l := New(&record.Limits{ReadingsPerSecond: 1e6, GatewayReadingsPerSecond: 1e6, ConnectionsPerGateway: 3})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 500 {
				s, err := l.Enter(fmt.Sprint("g", (i+j)%4))
				if err != nil {
					continue
				}
				s.Due(s.Spend(10, 100))
				l.Use()
				s.Leave()
			}
		})
	}
	wg.Wait()
	if u := l.Use(); u.ConnectionsPerGateway != 0 {
		t.Errorf("left open: %+v", u)
	}
}

func BenchmarkSpend(b *testing.B) {
	limits := record.DefaultLimits()
	l := New(&limits)
	s := enter(b, l, "gateway")
	b.ReportAllocs()
	for b.Loop() {
		s.Due(s.Spend(1, 40))
	}
}
