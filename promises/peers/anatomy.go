package main

import (
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
)

// component is the files of one kind of a table's SSTables, such as Data.db or Statistics.db.
type component struct {
	table, kind string
	files       int
	bytes       int64
}

// anatomy prints where the bytes of both keyspaces are, by table and kind of file.
func anatomy(all ...*stored) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', 0)
	fmt.Fprintf(w, "\nkeyspace\ttable\tfiles of\tnumber\tKB\tbytes a reading\n")
	for _, s := range all {
		for _, c := range s.parts {
			fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%.0f\t%.4f\n", s.keyspace, c.table, c.kind, c.files, float64(c.bytes)/1e3, float64(c.bytes)/float64(s.readings))
		}
	}
	return w.Flush()
}

// componentsOf returns what the files of a keyspace's tables have in them, the largest first. A table is a folder that bears its
// name and its id; a file's kind is what its name ends in, as in nb-1-big-Data.db.
func componentsOf(keyspace string) ([]component, error) {
	var all []component
	err := filepath.WalkDir(keyspace, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		within, err := filepath.Rel(keyspace, path)
		if err != nil {
			return err
		}
		table, _, _ := strings.Cut(within, "-")
		kind := filepath.Base(within)
		kind = kind[strings.LastIndexByte(kind, '-')+1:]
		i := slices.IndexFunc(all, func(c component) bool { return c.table == table && c.kind == kind })
		if i < 0 {
			i, all = len(all), append(all, component{table: table, kind: kind})
		}
		all[i].files++
		all[i].bytes += info.Size()
		return nil
	})
	slices.SortFunc(all, func(a, b component) int { return cmp.Compare(b.bytes, a.bytes) })
	if err != nil {
		return nil, fmt.Errorf("look into the tables' files: %w", err)
	}
	return all, nil
}
