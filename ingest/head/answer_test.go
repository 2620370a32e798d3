package head

import (
	"context"
	"encoding/json"
	"testing"

	"berth/internal/headapi"
	"berth/schema/batch"
)

// TestLiveHeadThatIsBehindIsNotComplete asks a head that follows for what was confirmed and has not reached it yet:
// whoever saw that acknowledged must not be told that the answer is complete.
func TestLiveHeadThatIsBehindIsNotComplete(t *testing.T) {
	committed := uint64(1)
	h := New(Options{Committed: func() uint64 { return committed }}, 1, 1)
	in := batch.NewInterner(16)
	ask := func(subject string) (header headapi.Header) {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // it waits for nothing
		first := true
		err := h.Answers()[subject](ctx, []byte(`{"gateway":"truck_0","to":9000000000000000000}`), func(chunk []byte) error {
			if !first {
				return nil
			}
			first = false
			return json.Unmarshal(chunk, &header)
		})
		if err != nil {
			t.Fatal(err)
		}
		return header
	}
	for seq := uint64(2); seq < 5; seq++ {
		committed = seq
		for subject := range h.Answers() {
			if header := ask(subject); header.Complete || header.Committed != seq || header.Followed != seq-1 || header.Reason == "" {
				t.Errorf("with batch %d confirmed and not followed the answer to %s is headed %+v", seq, subject, header)
			}
		}
		h.Follow(seq, &batch.Header{Kind: batch.Data}, truckRows(in, 1, 1, aDay))
		for subject := range h.Answers() {
			if header := ask(subject); !header.Complete || header.Followed != seq {
				t.Errorf("with batch %d followed the answer to %s is headed %+v", seq, subject, header)
			}
		}
	}
}
