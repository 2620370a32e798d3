package cassandra_test

import (
	"testing"
	"time"

	"github.com/gocql/gocql"

	"berth/internal/keyspace/cassandra/cassandratest"
	"berth/schema"
	"berth/schema/cql"
)

// TestMigrated takes a keyspace of version 1 to the newest. Until then no instance comes in; then all is as in one that was made new.
func TestMigrated(t *testing.T) {
	b := onSharedNode(t)
	t.Cleanup(func() { _ = b.Close() })
	c := gocql.NewCluster(cassandratest.Address(t))
	c.Timeout, c.ConnectTimeout = time.Minute, time.Minute
	s, err := c.CreateSession()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const name, in = "migrated", "test_migrated"
	if err := b.Drop(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	first := append([]string{"CREATE KEYSPACE " + in + " WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}"}, cql.Migration(1, in)...)
	for _, statement := range first {
		if err := s.Query(statement).WithContext(t.Context()).Exec(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.Writer(t.Context(), name); !schema.Is(err, schema.Unavailable) {
		t.Errorf("a keyspace of version 1 is opened: %v", err)
	}
	for range 2 { // once more, for who is cut off begins again
		if err := b.Create(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	w, err := b.Writer(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if _, err := w.Write(t.Context(), numbered(1)); err != nil {
		t.Fatal(err)
	}
	if lost := missing(t, w, 1); lost != 0 {
		t.Errorf("%d blocks are missing", lost)
	}
	for _, table := range []string{"blocks", "rollups", "catalog"} {
		var compression map[string]string
		err := s.Query("SELECT compression FROM system_schema.tables WHERE keyspace_name = ? AND table_name = ?", in, table).WithContext(t.Context()).Scan(&compression)
		if class := compression["class"]; err != nil || class != "org.apache.cassandra.io.compress.ZstdCompressor" || compression["chunk_length_in_kb"] != "64" {
			t.Errorf("table %s is compressed by %v, %v", table, compression, err)
		}
	}
}
