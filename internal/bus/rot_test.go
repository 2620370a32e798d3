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

// TestRottenMessages: messages of the log whose bytes have rotted are read as lost, wherever they are, and all others as
// they were written. A claim carries on from the newest that can be read.
func TestRottenMessages(t *testing.T) {
	const batches = 20 // messages 2 to 21
	for name, rotten := range map[string][]int{
		"none": nil, "one": {11}, "some in a row": {9, 10, 11}, "the first": {1}, "the last": {21}, "the last ones": {19, 20, 21}, "all but one": {1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			l := openLog(h, LogOptions{})
			text := func(seq int) string { return fmt.Sprintf("<message %d> %s", seq, strings.Repeat("x", 1000)) }
			payload := func([]byte) ([]byte, error) { return []byte(text(1)), nil }
			w, _, err := l.Claim(t.Context(), "one", 0, payload)
			if err != nil {
				t.Fatal(err)
			}
			for i := range batches {
				if err := w.Append([]byte(text(2 + i))); err != nil {
					t.Fatal(err)
				}
				if _, err := w.Next(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			w.Close()
			h.server.Stop()
			for _, seq := range rotten {
				h.rot(fmt.Sprintf("<message %d>", seq))
			}
			h.start()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			for {
				if _, err := l.State(ctx); err == nil { // the connection has come back
					break
				}
				if err := wait(ctx, 20*time.Millisecond); err != nil {
					t.Fatal(err)
				}
			}
			var lost []int
			err = l.Read(ctx, 0, 1+batches, func(seq uint64, data []byte) error {
				if data == nil {
					lost = append(lost, int(seq))
				} else if string(data) != text(int(seq)) {
					t.Errorf("message %d is %.30q", seq, data)
				}
				return nil
			})
			if err != nil || !slices.Equal(lost, rotten) {
				t.Errorf("lost are %v, want %v; error %v", lost, rotten, err)
			}
			carried := ""
			next, _, err := l.Claim(ctx, "two", 0, func(prev []byte) ([]byte, error) {
				if len(carried) == 0 && name == "one" { // what the reader cannot take is looked past too
					carried = "-"
					return nil, ErrUnreadable
				}
				carried, _, _ = strings.Cut(string(prev), ">")
				return prev, nil
			})
			if err != nil {
				t.Fatal(err)
			}
			next.Close()
			want := map[string]string{"the last": "20", "the last ones": "18", "all but one": "7", "one": "20"}[name]
			if want == "" {
				want = "21"
			}
			if carried != "<message "+want {
				t.Errorf("the claim carries on from %q>, want %s", carried, want)
			}
		})
	}
}
