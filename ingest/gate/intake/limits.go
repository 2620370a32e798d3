package intake

import (
	"berth/ingest/commit"
	"berth/ingest/limit"
	"berth/schema"
)

// Admit counts the connection as one of who shows the key, from now until it is closed or shows another name, and returns
// it as a sender whose rate is kept. The error is Limited: the gateway has as many connections as it may.
func (in *Intake) Admit(c *Conn, id Identity) (*limit.Sender, error) {
	name := id.Gateway
	if id.Relay {
		name = "" // it speaks for many: its name is not one gateway's
	}
	if s := c.sender.Load(); s != nil && s.Gateway() == name {
		return s, nil
	}
	s, err := in.Limiter.Enter(name)
	if err != nil {
		in.Committer.Count(commit.Counts{Reasons: map[string]int{limit.ReasonGatewayConnections: 1}})
		return nil, err
	}
	if before := c.sender.Swap(s); before != nil {
		before.Leave()
	}
	if c.closed.Load() { // meanwhile: nobody else ends it
		c.leave()
	}
	return s, nil
}

// Slowed counts that a sender had to wait for a reason of package limit.
func (in *Intake) Slowed(reason string) {
	in.Committer.Count(commit.Counts{Reasons: map[string]int{limit.Slowed + reason: 1}})
}

// SetFull sets why nothing is taken, nil when something is: the keyspace holds as much as it may.
func (in *Intake) SetFull(why *schema.Error) { in.full.Store(why) }

// Full returns why nothing is taken, nil when something is. Listeners ask before they decode; what they refuse for it is
// counted under ReasonKeyspace.
func (in *Intake) Full() *schema.Error { return in.full.Load() }
