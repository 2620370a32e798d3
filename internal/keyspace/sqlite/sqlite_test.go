package sqlite_test

import (
	"log/slog"
	"testing"

	"go.uber.org/goleak"

	"berth/internal/keyspace"
	"berth/internal/keyspace/keyspacetest"
	"berth/internal/keyspace/sqlite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestContract(t *testing.T) {
	keyspacetest.Run(t, func(t *testing.T) keyspace.Backend {
		t.Helper()
		return open(t, t.TempDir())
	})
}

func open(tb testing.TB, dir string) *sqlite.Backend {
	tb.Helper()
	b, err := sqlite.New(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}
