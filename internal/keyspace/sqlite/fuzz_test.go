package sqlite

import "testing"

// FuzzMonthOfFile: a name that names a month is the name of that month's file, and of no other.
func FuzzMonthOfFile(f *testing.F) {
	for _, seed := range []string{"2026-03.db", "0000-01.db", "9999-12.db", "2026-3.db", "2026-13.db", "catalog.db", "2026-03.db-wal"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if m, ok := monthOfFile(name); ok && m.file() != name {
			t.Fatalf("%q names month %d, whose file is %q", name, m, m.file())
		}
	})
}
