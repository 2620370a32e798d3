// Package open opens the keyspaces that a URL names, whichever backend keeps them. It is the only place that knows all
// of the backends; adding one is a line in its table.
package open

import (
	"log/slog"
	"maps"
	"net/url"
	"slices"
	"strings"

	"berth/internal/keyspace"
	"berth/internal/keyspace/cassandra"
	"berth/internal/keyspace/sqlite"
	"berth/schema"
)

// backends are the backends by the scheme of their URLs. Each gets what follows the scheme's colon.
var backends = map[string]func(rest string, log *slog.Logger) (keyspace.Backend, error){
	"sqlite":    openSQLite,
	"cassandra": openCassandra,
}

// Open returns the backend that a URL names, such as "sqlite:/var/lib/berth/keyspaces" or "cassandra://host1,host2".
func Open(text string, log *slog.Logger) (keyspace.Backend, error) {
	scheme, rest, ok := strings.Cut(text, ":")
	if backend := backends[scheme]; ok && backend != nil {
		return backend(rest, log)
	}
	known := strings.Join(slices.Sorted(maps.Keys(backends)), ", ")
	return nil, schema.Errorf(schema.Invalid, "%q names no keyspaces: the scheme is none of %s", text, known).
		WithNext("give for example sqlite:/var/lib/berth/keyspaces or cassandra://127.0.0.1:9042")
}

// Expand returns url with the paths of the files that it refers to as variables, such as $BERTH_KEYSPACES_PASSWORD.
func Expand(text string, getenv func(string) string) string {
	scheme, rest, _ := strings.Cut(text, ":")
	if scheme != "cassandra" {
		return text
	}
	for _, name := range cassandra.Variables() {
		rest = strings.ReplaceAll(rest, "=$"+name, "="+url.QueryEscape(getenv(name)))
	}
	return scheme + ":" + rest
}

func openCassandra(rest string, log *slog.Logger) (keyspace.Backend, error) {
	b, err := cassandra.New(rest, log)
	if err != nil {
		return nil, err
	}
	return b, nil
}

func openSQLite(dir string, log *slog.Logger) (keyspace.Backend, error) {
	if dir == "" {
		return nil, schema.Errorf(schema.Invalid, "the keyspaces' URL names no folder").
			WithNext("give for example sqlite:/var/lib/berth/keyspaces")
	}
	b, err := sqlite.New(dir, log)
	if err != nil {
		return nil, err
	}
	return b, nil
}
