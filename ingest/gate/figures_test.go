package gate

import (
	"bytes"
	"fmt"
	"net/textproto"
	"strconv"
	"testing"

	"berth/ingest/commit"
	"berth/ingest/commit/committest"
	"berth/internal/figures"
	"berth/schema/batch"
)

// TestFigures holds what a frame costs from the connection to its acknowledgement, over a log that keeps nothing, to
// testdata/figures.txt. The client sends what was made before, and allocates next to nothing itself.
func TestFigures(t *testing.T) {
	figures.Skip(t)
	f := start(t, func(f *fixture, o *Options) {
		_ = f.committer.Close(t.Context())
		f.committer = commit.New(commit.Options{
			Writer: committest.NewDiscard(), Logger: o.Logger,
			Follow: func(_ uint64, _ *batch.Header, rows *batch.Rows) { commit.GiveRows(rows) },
		})
		o.Committer = f.committer
	})
	const frames = 500
	sheet := figures.Sheet{}
	for _, readings := range []int{1, 1000} {
		text, n := payload(readings)
		sheet.Add(fmt.Sprintf("Berth frames of %d:", n), "frame", frames, puts(t, f, text, frames))
		sheet.Add(fmt.Sprintf("HTTP of %d:", n), "frame", frames, writes(t, f, text, frames))
	}
	sheet.Check(t, figures.Shared)
}

// puts returns a function that sends so many Berth frames without waiting, and then waits until all are acknowledged.
func puts(t *testing.T, f *fixture, text string, frames int) func() {
	t.Helper()
	c := f.hello(t, "gw1", enrolmentKey)
	sent := 0
	var out, last []byte
	return func() {
		out = out[:0]
		for range frames {
			sent++
			out = strconv.AppendInt(append(out, "PUT "...), int64(sent), 10)
			out = strconv.AppendInt(append(out, " line "...), int64(len(text)), 10)
			out = append(append(out, '\n'), text...)
		}
		last = strconv.AppendInt(append(last[:0], "ACK "...), int64(sent), 10)
		go func() { _, _ = c.Write(out) }() // who does not get through is not acknowledged
		for {
			line, err := c.in.ReadSlice('\n')
			if err != nil || !bytes.HasPrefix(line, []byte("ACK ")) {
				t.Fatalf("got %q, %v", line, err)
			}
			if bytes.Equal(bytes.TrimSpace(line), last) {
				return
			}
		}
	}
}

// writes returns a function that posts so many requests, one after another.
func writes(t *testing.T, f *fixture, text string, requests int) func() {
	t.Helper()
	c := f.dial(t)
	request := []byte(fmt.Sprintf("POST /write HTTP/1.1\r\nHost: berth\r\nAuthorization: Token gw1:%s\r\nContent-Length: %d\r\n\r\n%s", enrolmentKey, len(text), text))
	answer := textproto.NewReader(c.in)
	return func() {
		for range requests {
			if _, err := c.Write(request); err != nil {
				t.Fatal(err)
			}
			line, err := answer.ReadLine()
			if err != nil || line != "HTTP/1.1 204 No Content" {
				t.Fatalf("got %q, %v", line, err)
			}
			for line != "" && err == nil {
				line, err = answer.ReadLine()
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}
