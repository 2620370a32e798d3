package sqlite

import (
	"errors"
	"log/slog"
	"path/filepath"
	"testing"

	ddl "berth/schema/sql"

	"berth/schema/rollup"
)

// TestAHeadThatWasUndoneIsStoredAgain: a transaction that fails takes the beginnings back that it stored.
func TestAHeadThatWasUndoneIsStoredAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), catalogName)
	if err := create(t.Context(), path, ddl.Catalog()); err != nil {
		t.Fatal(err)
	}
	f, err := openWriteFile(t.Context(), path, ddl.Catalog(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.close() }()
	data := rollup.Encode(nil, []rollup.Stat{{Sensor: "level", Count: 1}})
	var stored []byte
	behead := func(times int, end error) error {
		return f.transact(t.Context(), func() (err error) {
			for range times {
				if stored, err = f.behead(t.Context(), data); err != nil {
					return err
				}
			}
			return end
		})
	}
	if err := behead(2, errors.New("the disk is full")); err == nil {
		t.Fatal("a transaction succeeds that should not")
	}
	for range 3 {
		if err := behead(1, nil); err != nil {
			t.Fatal(err)
		}
		id, rest, ok := ddl.SplitHead(stored)
		var head []byte
		if id > 0 {
			if err := f.conn.QueryRowContext(t.Context(), selectHead, id).Scan(&head); err != nil {
				t.Fatalf("beginning %d: %v", id, err)
			}
		}
		if !ok || string(head)+string(rest) != string(data) {
			t.Errorf("%q is stored as %q behind %q", data, rest, head)
		}
	}
	if id, _, _ := ddl.SplitHead(stored); id == 0 {
		t.Error("a beginning that came three times is not kept apart")
	}
}
