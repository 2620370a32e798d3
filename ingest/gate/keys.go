package gate

import (
	"time"

	"berth/ingest/commit"
	"berth/ingest/gate/intake"
	"berth/schema/record"
)

// keysEnd bounds how late it is seen that a key has ended.
const keysEnd = time.Second

// keys returns who may send, in the place of those before.
func (g *Gate) keys(p *record.Pipeline, own map[string]record.GatewayKey, before *intake.Keys) *intake.Keys {
	k := intake.NewKeys(p, own, intake.Around{
		Witness: g.o.Witness, Introduced: g.o.Introduced, Now: g.o.Now,
		Open:  g.o.OpenKey,
		Used:  func(string) { g.checkSoon() },
		Count: func(reason string) { g.o.Committer.Count(commit.Counts{Reasons: map[string]int{reason: 1}}) },
	}, before)
	g.o.Witness.Decide(k.Decided)
	return k
}

// checkSoon has connections dropped whose key is good no more.
func (g *Gate) checkSoon() {
	select {
	case g.recheck <- struct{}{}:
	default: // it will be done
	}
}

// watchKeys drops connections whose key ends by itself: one that was replaced.
func (g *Gate) watchKeys() {
	tick := time.NewTicker(keysEnd)
	defer tick.Stop()
	seen := g.o.Now()
	for {
		select {
		case <-g.recheck:
			g.dropReplaced(g.in.Keys())
		case <-tick.C:
			now := g.o.Now()
			if keys := g.in.Keys(); keys.Ended(seen, now) {
				g.dropReplaced(keys)
			}
			seen = now
		case <-g.in.Context().Done():
			return
		}
	}
}

// Set changes settings and keys. Connections whose key no longer holds are dropped.
func (g *Gate) Set(p *record.Pipeline, own map[string]record.GatewayKey) {
	keys := g.keys(p, own, g.in.Keys())
	g.in.SetKeys(keys)
	g.door.SetClients(keys.Clients())
	g.dropReplaced(keys)
}

// dropReplaced drops the connections, and the sessions of DTLS, whose key is good no more.
func (g *Gate) dropReplaced(keys *intake.Keys) {
	g.conns.recheck(keys)
	g.coap.Recheck()
}
