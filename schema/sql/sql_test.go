package sql_test

import (
	"crypto/sha256"
	"encoding/hex"
	"testing"

	"berth/schema/sql"
)

// TestReleasedMigrations holds the checksum of every migration: files with their outcome exist, so none may change.
func TestReleasedMigrations(t *testing.T) {
	want := map[string][]string{
		"blocks":  {"f6548310d59a13e2"},
		"catalog": {"da26afe735bbf157"},
	}
	applications := map[int32]string{}
	for _, s := range []*sql.Schema{sql.Blocks(), sql.Catalog()} {
		if s.Version() != len(want[s.Name]) {
			t.Fatalf("%s has %d migrations, this test knows %d: add the new one's checksum", s.Name, s.Version(), len(want[s.Name]))
		}
		for i, m := range s.Migrations {
			sum := sha256.Sum256([]byte(m))
			if got := hex.EncodeToString(sum[:8]); got != want[s.Name][i] {
				t.Errorf("migration %d of %s has checksum %s, want %s: a released migration never changes", i+1, s.Name, got, want[s.Name][i])
			}
		}
		if other, ok := applications[s.Application]; ok {
			t.Errorf("%s and %s have one application id", s.Name, other)
		}
		applications[s.Application] = s.Name
	}
}
