package control

import (
	"context"
	"fmt"
	"strings"

	"berth/schema"
	"berth/schema/record"
)

// OwnKeyspaces is how many providers may have a keyspace of their own on a Cassandra node with 1 GB of heap: each table that
// is written takes 2 MB of it, and a keyspace has three.
const OwnKeyspaces = 65

// onCassandra reports whether keyspaces are a cluster's.
func (s *Server) onCassandra() bool { return strings.HasPrefix(s.o.Status.Keyspaces, "cassandra:") }

// placeable refuses a placement that there is not.
func (s *Server) placeable(p record.Placement) error {
	switch {
	case p != record.Own && p != record.Shared:
		return schema.Errorf(schema.Invalid, "%q is no placement", p).WithNext("give --placement own or shared")
	case p == record.Shared && !s.onCassandra():
		return schema.Errorf(schema.Invalid, "files are not shared: only keyspaces in Cassandra have a placement").
			WithNext("leave --placement out, or serve with --keyspaces cassandra://...")
	}
	return nil
}

// notes says what somebody should know of a provider's keyspace.
func (s *Server) notes(ctx context.Context, p *record.Provider) []string {
	if !s.onCassandra() {
		return nil
	}
	if p.Placement == record.Shared {
		return []string{"it shares a keyspace: the cluster's grants do not keep its role from the rows of others there, only our programs do; and its size is not known"}
	}
	all, err := s.o.House.Providers(ctx)
	if err != nil {
		return nil
	}
	if n := Own(all); n > OwnKeyspaces {
		return []string{fmt.Sprintf("%d providers have a keyspace of their own, and a Cassandra node bears about %d for each GB of heap: "+
			"see that the nodes have more, or add providers with --placement shared", n, OwnKeyspaces)}
	}
	return nil
}

// Own counts the providers that have a keyspace of their own.
func Own(all []record.Provider) (n int) {
	for i := range all {
		if all[i].Placement == record.Own {
			n++
		}
	}
	return n
}
