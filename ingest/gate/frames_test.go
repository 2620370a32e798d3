package gate

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"berth/internal/api"
	"berth/schema"
	"berth/schema/record"
)

// sized returns line protocol of about so many bytes whose readings are value and, on the way, texts.
func sized(value, size int) string {
	text := fmt.Sprintf("m a=%d", value)
	for left := size - len(text); left > 10; left -= 1010 {
		text += fmt.Sprintf("\n# %s", strings.Repeat("x", min(left, 1007)-3))
	}
	return text
}

// TestFramesOfAllSizes sends frames from a few bytes to the longest, whole and cut anywhere.
func TestFramesOfAllSizes(t *testing.T) {
	f := start(t, nil)
	c := f.hello(t, "g", enrolmentKey)
	random := rand.New(rand.NewPCG(1, 2))
	var said strings.Builder
	var want []string
	const frames = 400
	for i := range frames {
		size := 10
		switch {
		case i%100 == 50:
			size = schema.MaxFrame
		case i%10 == 5:
			size = random.IntN(100_000)
		case i%2 == 1:
			size = random.IntN(5_000)
		}
		payload := sized(i, size)
		said.WriteString(frame(i+1, payload[:min(len(payload), schema.MaxFrame)]))
		want = append(want, fmt.Sprintf("g m.a %d", i))
	}
	go func() {
		for rest := said.String(); rest != ""; {
			n := min(len(rest), 1+random.IntN(50_000))
			if random.IntN(3) == 0 {
				n = min(n, 100)
			}
			if _, err := c.Write([]byte(rest[:n])); err != nil {
				return
			}
			rest = rest[n:]
		}
	}()
	for answer := ""; answer != fmt.Sprintf("ACK %d", frames); {
		answer = c.expect("ACK ")
	}
	if diff := cmp.Diff(want, f.readings(t)); diff != "" {
		t.Error(diff)
	}
}

func TestFramesThatAreTooLarge(t *testing.T) {
	f := start(t, nil)
	c := f.hello(t, "g", enrolmentKey)
	c.send(frame(1, "m a=1") + frame(2, strings.Repeat("x", schema.MaxFrame+1)) + frame(3, "m a=3"))
	answers := map[string]bool{}
	for answer := ""; answer != "ACK 3"; {
		answer = c.expect("")
		answers[answer] = true
	}
	if !answers["NAK 2 too_large a frame of 1048577 bytes is longer than 1048576"] {
		t.Errorf("got %v", answers)
	}
	if diff := cmp.Diff([]string{"g m.a 1", "g m.a 3"}, f.readings(t)); diff != "" {
		t.Error(diff)
	}
	c.send("PUT 4 line 999999999999\n")
	c.expect("NAK 4 too_large ")
	c.expect("ERR too_large ")
	c.expectEnd()
	if totals := f.books(t); totals.FramesRejected != 2 || totals.Reasons["frame_size"] != 2 {
		t.Errorf("%+v", totals)
	}
}

func TestRejectsAreKept(t *testing.T) {
	f := start(t, nil)
	c := f.hello(t, "own", "gk_own")
	c.send(frame(1, "m a") + frame(2, "m a=1\nm b") + "PUT 3 cbor 3\nabc")
	for answer := ""; !strings.HasPrefix(answer, "NAK 2"); {
		answer = c.expect("NAK ")
	}
	f.stop(t)
	want := []api.Reject{
		{Reject: record.Reject{Format: "line", Readings: 1, Size: 3, Refused: 3}, Kept: 3, Raw: []byte("m a")},
		{Reject: record.Reject{Format: "line", Readings: 1, Size: 9, Refused: 3, Part: true}, Kept: 3, Raw: []byte("m b")},
		{Reject: record.Reject{Format: "cbor", Size: 3, Refused: 3}, Kept: 3, Raw: []byte("abc")},
	}
	for i := range want {
		want[i].Version, want[i].Gateway, want[i].Protocol, want[i].Code = record.Version, "own", "berth", "invalid"
	}
	if diff := cmp.Diff(want, f.rejects, cmpopts.IgnoreFields(record.Reject{}, "Time", "Reason", "Lines", "Address")); diff != "" {
		t.Error(diff)
	}
	for _, r := range f.rejects {
		if r.Reason == "" || r.Time.IsZero() || !strings.HasPrefix(r.Address, "127.0.0.1:") {
			t.Errorf("%+v", r)
		}
	}
	totals := f.books(t)
	if totals.FramesReceived != 3 || totals.FramesCommitted != 1 || totals.FramesRejected != 2 || totals.Accepted != 1 || totals.Rejected != 1 ||
		totals.Reasons["syntax"] != 2 || totals.Reasons["format_unknown"] != 1 {
		t.Errorf("%+v", totals)
	}
}
