// Package figures holds tests to figures that are committed beside the code: what a reading costs in allocations and bytes.
// These do not depend on how fast or how busy a machine is, as times do, so a test can fail on them.
//
// A sheet is a file with a line for each figure, its name and its value. A test measures, and fails on what costs more than
// the sheet says; `go test ./that/package -run Figures -update-figures` writes the sheet anew, to be looked at and
// committed.
//
// Its one invariant: a figure that is measured and not on the sheet, or on it and not measured, fails too.
package figures

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update-figures", false, "write the sheets of figures anew")

// Cost is what one call costs.
type Cost struct{ Allocations, Bytes float64 }

// Of returns what f allocates, on average over some calls after a first one, whoever allocates it meanwhile: nothing else
// should run. It must not be called by tests that run in parallel.
func Of(f func()) Cost {
	const times = 10
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	f()
	runtime.GC()
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // a collection empties pools, at any time
	f()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range times {
		f()
	}
	runtime.ReadMemStats(&after)
	return Cost{float64(after.Mallocs-before.Mallocs) / times, float64(after.TotalAlloc-before.TotalAlloc) / times}
}

// Heap returns how many bytes are in use, when what is not has gone: also of pools, which keep it over one collection.
func Heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Sheet collects what a test measures.
type Sheet map[string]float64

// Add notes what it costs to handle each of n readings, or frames, in a call of f.
func (s Sheet) Add(name, each string, n int, f func()) {
	c := Of(f)
	s[name+" allocations/"+each] = c.Allocations / float64(n)
	s[name+" allocated-bytes/"+each] = c.Bytes / float64(n)
}

// By what share a figure may lie above the sheet's.
const (
	Exact  = 0.1 // where one goroutine does all
	Shared = 0.5 // where several do, and how they are scheduled decides what pools hold
)

// little is how much a figure that is next to nothing may grow.
const little = 0.02

// Check fails the test for each figure that is above the one that testdata/figures.txt has by more than a share.
func (s Sheet) Check(t *testing.T, share float64) {
	t.Helper()
	path := filepath.Join("testdata", "figures.txt")
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(s.text()), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	committed, err := read(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, fault := range s.against(committed, share) {
		t.Error(fault)
	}
}

// against says what is wrong with the figures, held against those that are committed.
func (s Sheet) against(committed Sheet, share float64) (faults []string) {
	const next = "; if it must be so, run this test with -update-figures, and say in the commit why"
	for _, name := range slices.Sorted(maps.Keys(s)) {
		was, known := committed[name]
		switch now := s[name]; {
		case !known:
			faults = append(faults, fmt.Sprintf("%s is %.3f and not on the sheet%s", name, now, next))
		case now > was*(1+share)+little:
			faults = append(faults, fmt.Sprintf("%s is %.3f, the sheet says %.3f%s", name, now, was, next))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(committed)) {
		if _, measured := s[name]; !measured {
			faults = append(faults, name+" is on the sheet and was not measured"+next)
		}
	}
	return faults
}

// text writes the sheet.
func (s Sheet) text() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(s)) {
		fmt.Fprintf(&b, "%-60s %.3f\n", name, s[name])
	}
	return b.String()
}

// read reads a sheet; one that does not exist is empty.
func read(path string) (Sheet, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Sheet{}, nil
	}
	s := Sheet{}
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		at := strings.LastIndexByte(line, ' ')
		value, err := strconv.ParseFloat(line[at+1:], 64)
		if err != nil {
			return nil, fmt.Errorf("%s: %q is no figure: %w", path, line, err)
		}
		s[strings.TrimSpace(line[:max(at, 0)])] = value
	}
	return s, err
}
