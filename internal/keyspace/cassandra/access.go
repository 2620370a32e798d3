package cassandra

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"os"
	"strings"

	"berth/internal/keyspace"
	"berth/schema"
)

// A cluster that is asked as somebody (user) asks everybody: then each keyspace has a role of its own, of the same name,
// that may read and write this keyspace and nothing else. Who makes keyspaces makes the roles; instances are told theirs.

var _ keyspace.Isolating = (*Backend)(nil)

// looked are the virtual tables that a writer looks at beside its own keyspace: how and since when the nodes sync, and how
// large the keyspace is.
var looked = []string{"gossip_info", "settings", "disk_usage"}

// Grant makes the keyspace's role, or finds it, with this secret as its password, and lets it do what instances need.
// Where the cluster is not asked as anybody there are no roles.
func (b *Backend) Grant(ctx context.Context, name, secret string) error {
	if b.address.user == "" {
		return nil
	}
	t, err := b.existing(ctx, name)
	if err != nil {
		return err
	}
	b.changing.Lock()
	defer b.changing.Unlock()
	password := quoted(secret)
	statements := []string{
		"CREATE ROLE IF NOT EXISTS " + t.role() + " WITH PASSWORD = " + password + " AND LOGIN = true AND SUPERUSER = false",
		"ALTER ROLE " + t.role() + " WITH PASSWORD = " + password + " AND LOGIN = true AND SUPERUSER = false",
		"GRANT SELECT ON KEYSPACE " + t.keyspace + " TO " + t.role(),
		"GRANT MODIFY ON KEYSPACE " + t.keyspace + " TO " + t.role(),
	}
	for _, table := range looked {
		statements = append(statements, "GRANT SELECT ON system_views."+table+" TO "+t.role())
	}
	for _, s := range statements {
		if err := t.query(ctx, s).Exec(); err != nil && !refused(err) { // a release without such a table has nothing to grant
			return t.failed(ctx, "grant access to", err)
		} else if err != nil && !strings.Contains(s, "system_views") {
			return t.failed(ctx, "grant access to", err)
		}
	}
	return nil
}

// withdraw drops the keyspace's role, or finds it gone.
func (t *tables) withdraw(ctx context.Context) error {
	if t.backend.address.user == "" {
		return nil
	}
	return t.query(ctx, "DROP ROLE IF EXISTS "+t.role()).Exec()
}

// role returns the quoted name of the keyspace's role.
func (t *tables) role() string { return `"` + t.backend.address.prefix + t.name + `"` }

// quoted returns text as CQL writes it.
func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

// The names under which instances are given files: what the URL names as $BERTH_KEYSPACES_CA is the path that this variable
// has where they run.
const (
	passwordVariable = "BERTH_KEYSPACES_PASSWORD" //nolint:gosec // a name
	caVariable       = "BERTH_KEYSPACES_CA"
	certVariable     = "BERTH_KEYSPACES_CERT"
	keyVariable      = "BERTH_KEYSPACES_KEY"
)

// Access returns the URL with which an instance reaches the keyspace, as its role, and the files that it needs for that.
func (b *Backend) Access(name, secret string) (string, map[string][]byte, error) {
	values := url.Values{}
	maps.Copy(values, b.address.values)
	for _, own := range []string{"user", "password_file", "ca", "cert", "key", "replication"} {
		values.Del(own)
	}
	files := map[string][]byte{}
	refer := ""
	add := func(parameter, variable string, text []byte) {
		files[variable] = text
		refer += "&" + parameter + "=$" + variable
	}
	if b.address.user != "" {
		t, err := b.parseName(name)
		if err != nil {
			return "", nil, err
		}
		values.Set("user", b.address.prefix+t.name)
		add("password_file", passwordVariable, []byte(secret))
	}
	for _, f := range []struct{ parameter, variable string }{{"ca", caVariable}, {"cert", certVariable}, {"key", keyVariable}} {
		path := b.address.values.Get(f.parameter)
		if path == "" {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return "", nil, schema.Errorf(schema.Unavailable, "the file %s of the keyspaces' URL cannot be read", path).WithCause(err)
		}
		add(f.parameter, f.variable, text)
	}
	return fmt.Sprintf("cassandra://%s?%s", strings.Join(b.address.hosts, ","), strings.TrimPrefix(values.Encode()+refer, "&")), files, nil
}

// Variables are the names that [Backend.Access] may refer to.
func Variables() []string { return []string{passwordVariable, caVariable, certVariable, keyVariable} }
