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
		"catalog": {"da26afe735bbf157", "2279069eb43e97d2"},
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

// TestHeads holds the bytes of rollups whose beginning lies elsewhere.
func TestHeads(t *testing.T) {
	for _, c := range []struct {
		stored string
		head   int64
		rest   string
	}{
		{string(sql.Headless(300, []byte("rest"))), 300, "rest"},
		{"BRH\xac\x02rest", 300, "rest"},
		{string(sql.Whole([]byte("BRU\x02..."))), 0, "BRU\x02..."},
		{string(sql.Whole([]byte("BRH\x01"))), 0, "BRH\x01"},
		{"BRH\x00BRH\x01", 0, "BRH\x01"},
		{string(sql.Whole(nil)), 0, ""},
	} {
		if head, rest, ok := sql.SplitHead([]byte(c.stored)); !ok || head != c.head || string(rest) != c.rest {
			t.Errorf("%q is read as %d, %q, %v", c.stored, head, rest, ok)
		}
	}
	for _, stored := range []string{"BRH", "BRH\x80", "BRH\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"} {
		if head, _, ok := sql.SplitHead([]byte(stored)); ok {
			t.Errorf("%q is read, as %d", stored, head)
		}
	}
}
