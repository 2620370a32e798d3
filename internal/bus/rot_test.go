package bus

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// rot flips a bit of the log's file where the text stands.
func (h *house) rot(text string) {
	h.t.Helper()
	found := 0
	err := filepath.WalkDir(h.dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".blk" {
			return err
		}
		data, err := os.ReadFile(path)
		if at := bytes.Index(data, []byte(text)); err == nil && at >= 0 {
			found++
			data[at] ^= 1
			err = os.WriteFile(path, data, 0o600)
		}
		return err
	})
	if err != nil || found != 1 {
		h.t.Fatalf("%q is in %d files of the log: %v", text, found, err)
	}
}

// TestRottenMessages: messages of the log whose bytes have rotted are read as lost, and all others as they were written,
// also when the server reads its files anew. A claim carries on from the newest that can be read. The log goes on, is
// trimmed, and is whole after a restart.
func TestRottenMessages(t *testing.T) {
	const last = 21
	text := func(seq int) string { return fmt.Sprintf("<message %d> %s", seq, strings.Repeat("x", 1000)) }
	for name, c := range map[string]struct {
		rotten, lost []int
		first        uint64 // of the log; those before it are gone
		carried      int
	}{
		"none":         {first: 1, carried: 21},
		"one":          {rotten: []int{11}, lost: []int{11}, first: 1, carried: 21},
		"in a row":     {rotten: []int{9, 10, 11}, lost: []int{9, 10, 11}, first: 1, carried: 21},
		"the first":    {rotten: []int{1}, first: 2, carried: 21},
		"the last":     {rotten: []int{21}, lost: []int{21}, first: 1, carried: 20},
		"the last two": {rotten: []int{20, 21}, lost: []int{20, 21}, first: 1, carried: 19},
		"most": {
			rotten: []int{1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20},
			lost:   []int{8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20}, first: 7, carried: 21,
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			l := openLog(h, LogOptions{})
			w, _, err := l.Claim(t.Context(), "one", 0, func([]byte) ([]byte, error) { return []byte(text(1)), nil })
			if err != nil {
				t.Fatal(err)
			}
			for seq := 2; seq <= last; seq++ {
				if err := w.Append([]byte(text(seq))); err != nil {
					t.Fatal(err)
				}
				if _, err := w.Next(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			w.Close()
			h.server.Stop()
			for _, seq := range c.rotten {
				h.rot(fmt.Sprintf("<message %d>", seq))
			}
			h.start()
			read := func(upTo uint64) {
				t.Helper()
				if s := awaitState(t, l); s.First != c.first {
					t.Errorf("the log begins at %d, want %d", s.First, c.first)
				}
				var lost []int
				err := l.Read(t.Context(), 0, upTo, func(seq uint64, data []byte) error {
					if data == nil {
						lost = append(lost, int(seq))
					} else if string(data) != text(int(seq)) {
						t.Errorf("message %d is %.30q", seq, data)
					}
					return nil
				})
				if err != nil || !slices.Equal(lost, c.lost) {
					t.Errorf("lost are %v, want %v; error %v", lost, c.lost, err)
				}
			}
			read(last)
			carried := ""
			next, _, err := l.Claim(t.Context(), "two", 0, func(prev []byte) ([]byte, error) {
				carried = string(prev)
				return []byte(text(last + 1)), nil
			})
			if err != nil {
				t.Fatal(err)
			}
			next.Close()
			if carried != text(c.carried) {
				t.Errorf("the claim carries on from %.20q, want message %d", carried, c.carried)
			}
			h.restart()
			read(last + 1)
			if err := l.Trim(t.Context(), last+1); err != nil {
				t.Fatal(err)
			}
			h.restart()
			if s := awaitState(t, l); s.First != last+1 || s.Last != last+1 || s.Messages != 1 {
				t.Errorf("trimmed to the last message the log is %+v", s)
			}
		})
	}
}

// awaitState returns the log's state when the connection has come back.
func awaitState(t *testing.T, l *Log) LogState {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		s, err := l.State(ctx)
		if err == nil {
			return s
		}
		if err := wait(ctx, 20*time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
}

// TestClaimLooksPastWhatItCannotRead: a message that the payload cannot carry on from is looked past.
func TestClaimLooksPastWhatItCannotRead(t *testing.T) {
	h := newHouse(t)
	l := openLog(h, LogOptions{})
	for i, want := range []string{"", "good", "good"} {
		got := ""
		w, _, err := l.Claim(t.Context(), fmt.Sprint("claim", i), 0, func(prev []byte) ([]byte, error) {
			if string(prev) == "bad" {
				return nil, ErrUnreadable
			}
			got = string(prev)
			return []byte([]string{"good", "bad", "bad"}[i]), nil
		})
		if err != nil || got != want {
			t.Fatalf("claim %d carries on from %q, want %q; error %v", i, got, want, err)
		}
		w.Close()
	}
}

// TestTornRecordIsLeftToTheServer: what was being written when the power went is not rotten.
func TestTornRecordIsLeftToTheServer(t *testing.T) {
	h := newHouse(t)
	l := openLog(h, LogOptions{})
	claim(t, l, "one", 0)
	h.server.Stop()
	files, err := filepath.Glob(filepath.Join(h.dir, "nats", "jetstream", "*", "streams", "LOG", "msgs", "*.blk"))
	if err != nil || len(files) != 1 {
		t.Fatalf("the log has the files %v: %v", files, err)
	}
	whole, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		if good, rotten := sift(slices.Concat(whole, whole[:n]), "LOG-1"); len(rotten) > 0 || len(good) != 1 {
			t.Fatalf("with %d bytes of another record %d stretches are good and %d rotten", n, len(good), len(rotten))
		}
	}
	for n := range len(whole) - 7 {
		data := slices.Concat(whole, whole, whole)
		clear(data[len(whole)+n : 2*len(whole)])
		if good, rotten := sift(data, "LOG-1"); len(rotten) > 0 || len(good) != 1 {
			t.Fatalf("with a record of which %d bytes were written %d stretches are good and %d rotten", n, len(good), len(rotten))
		}
	}
	headers := recordHead + len(logSubject) // their length is outside the checksum: a batch's own checksum finds it
	for i := range 8 * len(whole) {
		if headers <= i/8 && i/8 < headers+4 {
			continue
		}
		data := slices.Concat(whole, whole, whole)
		data[len(whole)+i/8] ^= 1 << (i % 8)
		good, rotten := sift(data, "LOG-1")
		if len(rotten) != 1 || len(rotten[0]) != len(whole) || !bytes.Equal(bytes.Join(good, nil), slices.Concat(whole, whole)) {
			t.Fatalf("with bit %d flipped %d stretches are good and %d rotten", i, len(good), len(rotten))
		}
	}
	h.start()
}
