package sqlite_test

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"berth/internal/keyspace"
	"berth/schema"
)

const (
	killed     = "killed" // the keyspace's name
	killRounds = 8
	killStep   = 10 * schema.DaySpan // between the blocks of two rounds: a new month's file every third
)

func roundKey(n int64) keyspace.RollupKey {
	return keyspace.RollupKey{Gateway: "g", Span: keyspace.Day, Start: n * killStep}
}

// round returns what the n-th Write of the child stores.
func round(n int64) *keyspace.Changes {
	p := schema.Position{Sequence: uint64(n + 1)}
	b := keyspace.Block{BlockKey: keyspace.BlockKey{Gateway: "g", First: n * killStep, From: p, To: p}, Last: n*killStep + 1}
	b.Data = []byte(strings.Repeat(strconv.FormatInt(n, 10)+" ", 1000))
	return &keyspace.Changes{
		Marks:    []keyspace.Mark{{RollupKey: roundKey(n), Stale: p}},
		Blocks:   []keyspace.Block{b},
		Gateways: []keyspace.Gateway{{Name: "g", Position: p, Entry: []byte("entry"), Tail: b.Data}},
		Rollups:  []keyspace.Rollup{{RollupKey: roundKey(n), Computed: p, Data: b.Data}},
	}
}

// TestChild is the writer that TestKilledWriter kills; alone it does nothing. It writes round after round, and says so
// after each.
func TestChild(t *testing.T) {
	if flag.NArg() != 2 {
		t.Skip("it is run by TestKilledWriter")
	}
	n, err := strconv.ParseInt(flag.Arg(1), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	w, err := open(t, flag.Arg(0)).Writer(t.Context(), killed)
	if err != nil {
		t.Fatal(err)
	}
	for ; ; n++ {
		if _, err := w.Write(t.Context(), round(n)); err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprintf(os.Stdout, "round %d\n", n); err != nil {
			t.Fatal(err)
		}
	}
}

// TestKilledWriter kills a writing process again and again. A reader of another process sees each Write as soon as it
// is confirmed, and everything confirmed after the kill, before a writer opens the files and after.
func TestKilledWriter(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	if err := b.Create(t.Context(), killed); err != nil {
		t.Fatal(err)
	}
	r, err := b.Reader(t.Context(), killed)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	random := rand.New(rand.NewPCG(uint64(os.Getpid()), 0))
	confirmed := int64(-1)
	for range killRounds {
		confirmed = killChild(t, dir, r, confirmed, 1+random.Int64N(12))
		checkRounds(t, r, confirmed)
		w, err := b.Writer(t.Context(), killed)
		if err != nil {
			t.Fatalf("opening after a kill: %v", err)
		}
		checkRounds(t, w, confirmed)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// killChild starts a writer that goes on after the confirmed rounds, kills it when it has confirmed some more, and
// returns the last confirmed.
func killChild(t *testing.T, dir string, r keyspace.Reader, confirmed, more int64) int64 {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestChild$", "--", dir, strconv.FormatInt(confirmed+1, 10))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	for stop := confirmed + more; ; {
		line, err := lines.ReadString('\n')
		if errors.Is(err, io.EOF) {
			break
		}
		if _, err := fmt.Sscanf(line, "round %d\n", &confirmed); err != nil {
			t.Errorf("the child says %q", line)
		}
		if confirmed < stop {
			seen(t, r, confirmed)
		}
		if confirmed == stop-1 {
			_, err := open(t, dir).Writer(t.Context(), killed)
			if want := fmt.Sprintf("process %d", cmd.Process.Pid); !schema.Is(err, schema.Conflict) || !strings.Contains(err.Error(), want) {
				t.Errorf("a second process: got error %v, want a Conflict that names %s", err, want)
			}
		}
		if confirmed == stop {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait() // it was killed
	return confirmed
}

// seen checks that the reader sees a round.
func seen(t *testing.T, r keyspace.Reader, n int64) {
	t.Helper()
	found := 0
	err := r.Blocks(t.Context(), "g", n*killStep, n*killStep+1, func(b keyspace.Block) error {
		if string(b.Data) == string(round(n).Blocks[0].Data) {
			found++
		}
		return nil
	})
	if err != nil || found != 1 {
		t.Errorf("round %d was confirmed, and another process sees %d of 1 block (error %v)", n, found, err)
	}
}

// checkRounds checks that all confirmed rounds are stored, and that of the one after, which may be stored in part, no
// part is there without those that come before it.
func checkRounds(t *testing.T, r keyspace.Reader, confirmed int64) {
	t.Helper()
	blocks := int64(0)
	err := r.Blocks(t.Context(), "g", math.MinInt64, math.MaxInt64, func(b keyspace.Block) error {
		if want := round(blocks).Blocks[0]; b.BlockKey != want.BlockKey || string(b.Data) != string(want.Data) {
			return fmt.Errorf("block %d is %v", blocks, b.BlockKey)
		}
		blocks++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	g, err := r.Gateway(t.Context(), "g")
	if err != nil {
		t.Fatal(err)
	}
	marks, rollups := int64(0), int64(0)
	err = r.Rollups(t.Context(), "g", keyspace.Day, math.MinInt64, math.MaxInt64, func(r keyspace.Rollup) error {
		if !r.Stale.IsZero() {
			marks++
		}
		if !r.Computed.IsZero() {
			rollups++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	rows := int64(g.Position.Sequence)
	if marks < blocks || blocks < rows || rows < rollups || rollups <= confirmed || marks > confirmed+2 {
		t.Fatalf("after a kill, with %d rounds confirmed: %d marks, %d blocks, row of round %d, %d rollups", confirmed+1, marks, blocks, rows, rollups)
	}
	p, err := r.Position(t.Context())
	if err != nil || p.Sequence != uint64(marks) {
		t.Fatalf("position %v (error %v) with %d marks", p, err, marks)
	}
}
