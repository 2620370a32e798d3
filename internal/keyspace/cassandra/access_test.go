package cassandra_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gocql/gocql"

	"berth/internal/keyspace/cassandra"
	"berth/internal/keyspace/cassandra/cassandratest"
	"berth/internal/keyspace/open"
	"berth/schema"
)

// given writes the files that an instance is given, and returns the URL with their paths in it.
func given(t *testing.T, text string, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return open.Expand(text, func(name string) string { return filepath.Join(dir, name) })
}

// backendAt returns the backend of a URL.
func backendAt(t *testing.T, text string) *cassandra.Backend {
	t.Helper()
	b, err := cassandra.New(strings.TrimPrefix(text, "cassandra:"), slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// TestEachKeyspaceHasARole runs a node that asks for passwords, for TLS and for certificates of clients. The role of one
// keyspace does in it all that a writer does, and nothing in another, with other roles, or with the cluster.
func TestEachKeyspaceHasARole(t *testing.T) {
	certificates := cassandratest.Certify(t)
	node := cassandratest.Started(t, "AUTHENTICATOR=PasswordAuthenticator", "AUTHORIZER=CassandraAuthorizer", "TLS="+certificates, "TLS_CLIENTS=true", "SYNC=batch")
	password := filepath.Join(t.TempDir(), "administrator")
	if err := os.WriteFile(password, []byte("cassandra\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	in := func(name string) string { return url.QueryEscape(filepath.Join(certificates, name)) }
	base := "cassandra://" + node.Address + "?prefix=test_&user=cassandra&password_file=" + url.QueryEscape(password)
	trust := "&ca=" + in("ca.pem") + "&cert=" + in("client.pem") + "&key=" + in("client.key")
	admin := backendAt(t, base+trust)
	patiently(t, "come in as the administrator", func(ctx context.Context) error { return admin.Create(ctx, "alpha") })
	if err := errors.Join(admin.Create(t.Context(), "beta"), admin.Grant(t.Context(), "alpha", "first"), admin.Grant(t.Context(), "beta", "it's")); err != nil {
		t.Fatal(err)
	}
	address, files, err := admin.Access("alpha", "first")
	if err != nil {
		t.Fatal(err)
	}
	if shown := address; strings.Contains(shown, "first") || strings.Contains(shown, "administrator") || strings.Contains(shown, "user=cassandra") || strings.Contains(shown, "PRIVATE") {
		t.Errorf("an instance's URL holds a secret: %s", shown)
	}
	asAlpha := given(t, address, files)
	useKeyspace(t, backendAt(t, asAlpha), "alpha")
	for _, name := range []string{"beta"} {
		b := backendAt(t, asAlpha)
		if _, err := b.Writer(t.Context(), name); !schema.Is(err, schema.Forbidden) {
			t.Errorf("the role of alpha opens %s: %v", name, err)
		}
		r, err := b.Reader(t.Context(), name)
		if err == nil {
			_, err = r.Position(t.Context())
		}
		if !schema.Is(err, schema.Forbidden) {
			t.Errorf("the role of alpha reads %s: %v", name, err)
		}
	}
	refusedAll(t, node.Address, certificates, "test_alpha", "first")
	for what, text := range map[string]string{
		"without TLS": base, "with another authority": base + "&ca=" + url.QueryEscape(filepath.Join(cassandratest.Certify(t), "ca.pem")),
		"without a certificate": base + "&ca=" + in("ca.pem"),
	} {
		if err := backendAt(t, text).Create(t.Context(), "gamma"); !schema.Is(err, schema.Unavailable) {
			t.Errorf("%s the cluster answers %v", what, err)
		}
	}
	comesIn := func(secret string) error {
		address, files, err := admin.Access("alpha", secret)
		if err != nil {
			return err
		}
		_, err = backendAt(t, given(t, address, files)).Reader(t.Context(), "alpha")
		return err
	}
	if err := admin.Grant(t.Context(), "alpha", "second"); err != nil {
		t.Errorf("another secret: %v", err)
	}
	patiently(t, "the new secret opens the keyspace", func(context.Context) error { return comesIn("second") })
	patiently(t, "the old secret ends", func(context.Context) error { // a node may remember it for two seconds
		if comesIn("first") == nil {
			return errors.New("it still opens the keyspace")
		}
		return nil
	})
	if err := errors.Join(admin.Drop(t.Context(), "alpha"), admin.Create(t.Context(), "alpha")); err != nil {
		t.Fatal(err)
	}
	patiently(t, "the role is gone with its keyspace", func(context.Context) error {
		if comesIn("second") == nil {
			return errors.New("it still comes in")
		}
		return nil
	})
}

// useKeyspace does all that a writer does.
func useKeyspace(t *testing.T, b *cassandra.Backend, name string) {
	t.Helper()
	w, err := b.Writer(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	receipt, err := w.Write(t.Context(), numbered(1))
	if err != nil {
		t.Fatal(err)
	}
	if d, err := w.Durable(t.Context()); err != nil || d != receipt {
		t.Errorf("durable up to %d of %d, %v: it cannot see how the node syncs", d, receipt, err)
	}
	if _, err := w.Stats(t.Context()); err != nil {
		t.Error(err)
	}
	if lost := missing(t, w, 1); lost != 0 {
		t.Errorf("%d blocks are missing", lost)
	}
}

// refusedAll tries as a role what it must not do; each is refused for want of permission, and for nothing else.
func refusedAll(t *testing.T, address, certificates, role, password string) {
	t.Helper()
	c := gocql.NewCluster(address)
	c.Authenticator = gocql.PasswordAuthenticator{Username: role, Password: password}
	c.SslOpts = &gocql.SslOptions{
		CaPath: filepath.Join(certificates, "ca.pem"), CertPath: filepath.Join(certificates, "client.pem"), KeyPath: filepath.Join(certificates, "client.key"),
	}
	c.Timeout, c.ConnectTimeout = 10*time.Second, 10*time.Second
	s, err := c.CreateSession()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Query("SELECT gateway FROM test_alpha.catalog").Exec(); err != nil {
		t.Fatalf("it cannot read its own keyspace, so that the rest shows nothing: %v", err)
	}
	for _, statement := range []string{
		"SELECT * FROM test_beta.blocks", "SELECT * FROM test_beta.rollups", "SELECT * FROM test_beta.catalog",
		"INSERT INTO test_beta.catalog (provider, bucket, gateway, entry) VALUES ('beta', -1, '', 0x00)",
		"UPDATE test_beta.catalog SET writer = 'alpha' WHERE provider = 'beta' AND bucket = -1 AND gateway = '' IF writer = null",
		"DELETE FROM test_beta.catalog WHERE provider = 'beta' AND bucket = -1", "TRUNCATE test_beta.blocks",
		"BEGIN BATCH INSERT INTO test_alpha.catalog (provider, bucket, gateway) VALUES ('a', -9, ''); INSERT INTO test_beta.catalog (provider, bucket, gateway) VALUES ('b', -9, ''); APPLY BATCH",
		"ALTER TABLE test_beta.blocks WITH gc_grace_seconds = 0", "ALTER KEYSPACE test_beta WITH durable_writes = false",
		"DROP TABLE test_beta.blocks", "DROP KEYSPACE test_beta", "CREATE INDEX ON test_beta.catalog (entry)",
		"ALTER TABLE test_alpha.blocks WITH gc_grace_seconds = 0", "DROP TABLE test_alpha.blocks", "DROP KEYSPACE test_alpha",
		"CREATE TABLE test_alpha.more (a int PRIMARY KEY)", "CREATE TYPE test_alpha.kind (a int)",
		"CREATE KEYSPACE mine WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}",
		"SELECT * FROM system_auth.roles", "SELECT * FROM system_auth.role_permissions", "INSERT INTO system_auth.roles (role, is_superuser) VALUES ('test_alpha', true)",
		"CREATE ROLE mine WITH LOGIN = true", "ALTER ROLE test_alpha WITH SUPERUSER = true", "ALTER ROLE test_beta WITH PASSWORD = 'mine'",
		"DROP ROLE test_beta", "GRANT SELECT ON KEYSPACE test_beta TO test_alpha", "GRANT test_beta TO test_alpha",
		"SELECT * FROM system_views.clients", "SELECT * FROM system_views.queries", "UPDATE system.local SET cluster_name = 'mine' WHERE key = 'local'",
	} {
		err := s.Query(statement).Exec()
		answer, ok := errors.AsType[gocql.RequestError](err)
		if !ok || answer.Code() != gocql.ErrCodeUnauthorized {
			t.Errorf("%s: %s", statement, fmt.Sprint(err))
		}
	}
}
