package sqlite

import (
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	ddl "berth/schema/sql"
)

// TestPlans asks SQLite how it answers each question: by its trees and in their order, never by reading a table whole
// and never by sorting.
func TestPlans(t *testing.T) {
	for _, s := range []*ddl.Schema{ddl.Blocks(), ddl.Catalog()} {
		path := filepath.Join(t.TempDir(), s.Name+".db")
		if err := create(t.Context(), path, s); err != nil {
			t.Fatal(err)
		}
		f, err := openWriteFile(t.Context(), path, s, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range append(readStatements[s.Name], writeStatements[s.Name]...) {
			plan := strings.NewReplacer("SCAN 16 CONSTANT ROWS", "", "SCAN asked", "").Replace(explain(t, f, text)) // what the statement brings along
			for _, bad := range []string{"SCAN", "TEMP B-TREE"} {
				// One row, and the tree's last entry.
				if strings.Contains(plan, bad) && text != selectPosition && text != selectNextID {
					t.Errorf("%s\nis answered by\n%s", text, plan)
				}
			}
		}
		if err := f.close(); err != nil {
			t.Fatal(err)
		}
	}
}

func explain(t *testing.T, f *writeFile, text string) string {
	t.Helper()
	args := make([]any, strings.Count(text, "?"))
	rows, err := f.conn.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+text, args...)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	var plan strings.Builder
	for rows.Next() {
		var id, parent, unused int
		var detail string
		if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
			t.Fatal(err)
		}
		plan.WriteString(detail + "\n")
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return plan.String()
}

// TestFailedTransaction gives a gateway a number in a transaction that fails: the next gives it one again.
func TestFailedTransaction(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "blocks.db")
	if err := create(ctx, path, ddl.Blocks()); err != nil {
		t.Fatal(err)
	}
	f, err := openWriteFile(ctx, path, ddl.Blocks(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.close() }()
	failure := errors.New("failure")
	for _, want := range []error{failure, nil} {
		err := f.transact(ctx, func() error {
			if _, err := f.id(ctx, "g"); err != nil {
				return err
			}
			return want
		})
		if !errors.Is(err, want) {
			t.Fatalf("got error %v, want %v", err, want)
		}
	}
	var names int
	if err := f.conn.QueryRowContext(ctx, "SELECT count(*) FROM names").Scan(&names); err != nil || names != 1 {
		t.Errorf("%d names (error %v), want 1", names, err)
	}
}
