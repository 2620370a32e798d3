// Package keyspacetest is the contract of a keyspace as tests, which every backend passes unchanged. It leaves to a
// backend's own tests what only that backend promises: what a crash leaves, files, speed.
//
// Its one invariant: it asks nothing of a backend that the comments of package keyspace do not say.
package keyspacetest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"berth/internal/keyspace"
	"berth/schema"
)

// Run runs the contract suite. open returns a backend; it is called once for each test, and its backends may share
// what they keep.
func Run(t *testing.T, open func(t *testing.T) keyspace.Backend) {
	t.Helper()
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b := open(t)
			t.Cleanup(func() { must(t, b.Close()) })
			s := &space{Backend: b, name: fmt.Sprintf("contract%d", i)}
			must(t, b.Drop(t.Context(), s.name))
			must(t, b.Create(t.Context(), s.name))
			c.run(t, s)
		})
	}
}

var cases = []struct {
	name string
	run  func(t tb, s *space)
}{
	{"create, drop and what does not exist", testLifecycle},
	{"names are those of providers", testNames},
	{"one writer", testOneWriter},
	{"closed", testClosed},
	{"ended contexts", testContext},
	{"reopen", testReopen},
	{"two keyspaces", testTwoKeyspaces},
	{"receipts", testReceipts},
	{"size", testSize},
	{"a block written twice", testTwice},
	{"order of blocks", testOrder},
	{"ranges", testRanges},
	{"days, months, years", testCalendar},
	{"large blocks", testLarge},
	{"many blocks", testMany},
	{"what cannot be stored", testInvalid},
	{"yield", testYield},
	{"gateways", testGateways},
	{"gateways' names", testGatewayNames},
	{"positions", testPosition},
	{"rollups and marks", testRollups},
	{"ranges of rollups", testRollupRanges},
	{"a fleet at once", testFleet},
	{"unrolled", testUnrolled},
	{"expire", testExpire},
	{"readers beside the writer", testConcurrent},
	{"as the model", testModel},
}

// space is the keyspace of one test.
type space struct {
	keyspace.Backend
	name string
}

// writer opens the keyspace for writing until the test ends.
func (s *space) writer(t tb) keyspace.Writer {
	t.Helper()
	w, err := s.Writer(t.Context(), s.name)
	must(t, err)
	t.Cleanup(func() { must(t, w.Close()) })
	return w
}

// reader opens the keyspace for reading until the test ends.
func (s *space) reader(t tb) keyspace.Reader {
	t.Helper()
	r, err := s.Reader(t.Context(), s.name)
	must(t, err)
	t.Cleanup(func() { must(t, r.Close()) })
	return r
}

// tb is what the tests need of a test, which may be one of many runs of a property.
type tb interface {
	rapid.TB
	Context() context.Context
	Cleanup(fn func())
}

func write(t tb, w keyspace.Writer, c *keyspace.Changes) keyspace.Receipt {
	t.Helper()
	r, err := w.Write(t.Context(), c)
	must(t, err)
	return r
}

// blocks returns what Blocks yields, copied.
func blocks(t tb, r keyspace.Reader, gateway string, from, to int64) []keyspace.Block {
	t.Helper()
	var all []keyspace.Block
	must(t, r.Blocks(t.Context(), gateway, from, to, func(b keyspace.Block) error {
		b.Data = append([]byte(nil), b.Data...)
		all = append(all, b)
		return nil
	}))
	return all
}

// rollups returns what Rollups yields, copied.
func rollups(t tb, r keyspace.Reader, gateway string, span keyspace.Span, from, to int64) []keyspace.Rollup {
	t.Helper()
	var all []keyspace.Rollup
	must(t, r.Rollups(t.Context(), gateway, span, from, to, func(r keyspace.Rollup) error {
		r.Data = append([]byte(nil), r.Data...)
		all = append(all, r)
		return nil
	}))
	return all
}

func gateways(t tb, r keyspace.Reader, after string, limit int) []keyspace.Gateway {
	t.Helper()
	all, err := r.Gateways(t.Context(), after, limit)
	must(t, err)
	return all
}

// counted returns how many rows of gateways the writer counts.
func counted(t tb, w keyspace.Writer) int {
	t.Helper()
	stats, err := w.Stats(t.Context())
	must(t, err)
	return stats.Gateways
}

func unrolled(t tb, w keyspace.Writer, endBefore int64) []keyspace.RollupKey {
	t.Helper()
	var all []keyspace.RollupKey
	must(t, w.Unrolled(t.Context(), endBefore, func(k keyspace.RollupKey) bool {
		all = append(all, k)
		return true
	}))
	return all
}

func must(t tb, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// same fails the test unless got is want; no bytes and nil bytes are the same.
func same[T any](t tb, what string, got, want T) {
	t.Helper()
	if reflect.DeepEqual(want, got) {
		return // at once: cmp takes its time with many bytes
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("%s (-want +got):\n%s", what, diff)
	}
}

// isCode fails the test unless err is of the kind, and says what it is about.
func isCode(t tb, what string, err error, code schema.Code, words ...string) {
	t.Helper()
	if !schema.Is(err, code) {
		t.Fatalf("%s: got error %v of kind %q, want %q", what, err, schema.CodeOf(err), code)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%s: error %q does not name %q", what, err, w)
		}
	}
}

func isError(t tb, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("%s: got error %v, want %v", what, err, want)
	}
}

func at(sequence uint64, ordinal uint32) schema.Position {
	return schema.Position{Sequence: sequence, Ordinal: ordinal}
}

// block returns a block of a gateway over [first, last] whose data tells it from others.
func block(gateway string, first, last int64, from, to schema.Position) keyspace.Block {
	b := keyspace.Block{BlockKey: keyspace.BlockKey{Gateway: gateway, First: first, From: from, To: to}, Last: last}
	b.Data = fmt.Appendf(nil, "%s %d-%d %v-%v", gateway, first, last, from, to)
	return b
}

func put(bs ...keyspace.Block) *keyspace.Changes { return &keyspace.Changes{Blocks: bs} }
