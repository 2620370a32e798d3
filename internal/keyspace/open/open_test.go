package open_test

import (
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"berth/internal/keyspace/open"
	"berth/schema"
)

func TestOpenSQLite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a folder?with#odd%20characters")
	b, err := open.Open("sqlite:"+dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Create(t.Context(), "provider1"); err != nil {
		t.Fatal(err)
	}
	w, err := b.Writer(t.Context(), "provider1")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if found, _ := filepath.Glob(strings.ReplaceAll(dir, "?", "[?]") + "/provider1/catalog.db"); len(found) != 1 {
		t.Errorf("the catalog is not at %s/provider1/catalog.db", dir)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, url := range []string{"", "sqlite", "sqlite:", "/var/lib", "nosuch:thing"} {
		_, err := open.Open(url, slog.New(slog.DiscardHandler))
		if !schema.Is(err, schema.Invalid) {
			t.Errorf("Open(%q) = %v, want an Invalid error", url, err)
		} else if !strings.Contains(err.Error(), "sqlite:/") {
			t.Errorf("Open(%q) = %v, which does not say what to give", url, err)
		}
	}
}

func TestOpenCassandra(t *testing.T) {
	b, err := open.Open("cassandra://127.0.0.1:1?replication=1", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Create(t.Context(), "provider1"); !schema.Is(err, schema.Unavailable) || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("creating where nobody listens: %v, want an Unavailable error that names the address", err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := open.Open("cassandra://127.0.0.1?replication=none", slog.New(slog.DiscardHandler)); !schema.Is(err, schema.Invalid) {
		t.Errorf("a wrong parameter is answered by %v, want an Invalid error", err)
	}
}
