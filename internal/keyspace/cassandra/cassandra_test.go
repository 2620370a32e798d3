package cassandra_test

import (
	"log/slog"
	"os"
	"testing"

	"go.uber.org/goleak"

	"berth/internal/keyspace"
	"berth/internal/keyspace/cassandra"
	"berth/internal/keyspace/cassandra/cassandratest"
	"berth/internal/keyspace/keyspacetest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	cassandratest.Stop()
	if code == 0 {
		// The driver asks a node that was killed for half a minute whether all agree on the schema, though the session is closed.
		if err := goleak.Find(goleak.IgnoreAnyFunction("github.com/gocql/gocql.(*Conn).awaitSchemaAgreement")); err != nil {
			_, _ = os.Stderr.WriteString(err.Error() + "\n")
			code = 1
		}
	}
	os.Exit(code)
}

// onSharedNode returns a backend of the test run's node.
func onSharedNode(tb testing.TB) keyspace.Backend {
	tb.Helper()
	b, err := cassandra.New("//"+cassandratest.Address(tb)+"?prefix=test_", slog.New(slog.NewTextHandler(tb.Output(), nil)))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func TestContract(t *testing.T) {
	keyspacetest.Run(t, func(t *testing.T) keyspace.Backend { return onSharedNode(t) })
}
