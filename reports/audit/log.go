package audit

import (
	"context"
	"fmt"
	"time"

	"berth/internal/api"
	"berth/schema"
	"berth/schema/batch"
)

// link is what the next message of the log is held against.
type link struct {
	known  bool // false at the beginning, and after a message that cannot be read
	claim  string
	totals batch.Totals
	bytes  uint64 // that the next message is to carry
}

// log reads the log up to where it ends now, holds each message against the one before it, and looks each reading up.
func (a *audit) log(ctx context.Context) error {
	state, err := a.Log.State(ctx)
	if err != nil {
		return err
	}
	a.result.Log.First, a.result.Log.Last = state.First, state.Last
	if err := a.followed(ctx, state.Last); err != nil {
		return err
	}
	next, before, tries := state.First, link{}, 0
	for next <= state.Last {
		err := a.Log.Read(ctx, next, state.Last, func(sequence uint64, data []byte) error {
			if sequence != next { // it was trimmed up to here
				a.result.Log.Trimmed += sequence - next
				before = link{}
			}
			next, tries = sequence+1, 0
			return a.message(ctx, sequence, data, &before)
		})
		switch {
		case err == nil && next <= state.Last: // all the rest was trimmed
			a.result.Log.Trimmed += state.Last + 1 - next
			next = state.Last + 1
		case schema.Is(err, schema.Conflict), schema.Is(err, schema.Unavailable):
			if tries++; tries > int(patience/tryEvery) {
				return err
			}
			if err := pause(ctx); err != nil {
				return err
			}
		case err != nil:
			return err
		}
	}
	if err := a.lookUp(ctx); err != nil {
		return err
	}
	return a.settleDoubts(ctx)
}

// followed waits until the head has followed the log up to a message: before, its readings need not be there.
func (a *audit) followed(ctx context.Context, upTo uint64) error {
	limit := time.Now().Add(patience)
	for {
		b, err := a.books(ctx)
		if err != nil || b.Log.Followed >= upTo {
			return err
		}
		if time.Now().After(limit) {
			return schema.Errorf(schema.Unavailable, "the books cannot be recounted: ingest has followed the log up to %d of %d", b.Log.Followed, upTo).
				WithNext("see what it waits for: provisioner show %s", a.Provider)
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

// message takes a message of the log.
func (a *audit) message(ctx context.Context, sequence uint64, data []byte, before *link) error {
	a.result.Log.Messages++
	if err := a.progress("log: message %d of %d to %d", sequence, a.result.Log.First, a.result.Log.Last); err != nil {
		return err
	}
	if data == nil {
		*before = link{}
		return a.wrong(sequence, "what it held is gone; it is named here: provisioner aside ls "+a.Provider, "the log has lost it: its bytes have rotted on the disk")
	}
	h, rows, err := batch.Decode(data, a.shapes)
	if err != nil {
		*before = link{}
		return a.wrong(sequence, "ingest sets it aside when it reads it: provisioner aside ls "+a.Provider, "it cannot be read: %s", schema.Show(err))
	}
	if fence(&h, before) {
		return nil
	}
	for _, text := range check(&h, rows, before) {
		if err := a.wrong(sequence, nextBooks, "%s", text); err != nil {
			return err
		}
	}
	bytes := h.Totals.Bytes
	if h.Kind == batch.Data {
		bytes += uint64(len(data))
	} else if before.known {
		bytes = max(bytes, before.bytes) // it may be a fence
	}
	*before = link{known: true, claim: h.Claim, totals: h.Totals, bytes: bytes}
	a.totals = &h.Totals
	a.result.Log.Readings += uint64(rows.Readings())
	a.seen.add(sequence, rows)
	if a.seen.readings < windowReadings {
		return nil
	}
	return a.lookUp(ctx)
}

func (a *audit) wrong(sequence uint64, next, format string, args ...any) error {
	return a.found(api.Finding{What: api.FoundLog, Where: fmt.Sprintf("message %d", sequence), Text: fmt.Sprintf(format, args...), Next: next})
}

// fence reports whether a message is the fence of a claim, which a claimant writes behind a writer that is still busy: what
// it carries may be outdated (internal/bus, claim.go). The claim that follows carries on from the message before it, and is
// held against that; so is a batch that follows a claim which only looks like a fence, and it is of another claim then.
func fence(h *batch.Header, before *link) bool {
	t, b := &h.Totals, &before.totals
	return h.Kind == batch.Claim && before.known && (t.Accepted < b.Accepted || t.FramesCommitted < b.FramesCommitted)
}

// check returns what is wrong with a message, held against the one before it.
func check(h *batch.Header, rows *batch.Rows, before *link) (wrong []string) {
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	t := h.Totals
	if t.FramesReceived != t.FramesCommitted+t.FramesRejected+t.FramesGivenUp {
		say("it carries totals that do not balance: %d frames received, %d committed, %d rejected, %d given up",
			t.FramesReceived, t.FramesCommitted, t.FramesRejected, t.FramesGivenUp)
	}
	if !before.known {
		return wrong
	}
	b := &before.totals
	if got := t.Accepted - b.Accepted; got != uint64(rows.Readings()) {
		say("it holds %d readings, but counts %d more as accepted than the message before it", rows.Readings(), int64(got))
	}
	if t.FramesCommitted < b.FramesCommitted || t.FramesRejected < b.FramesRejected || t.FramesGivenUp < b.FramesGivenUp {
		say("its totals are less than those of the message before it")
	}
	if t.Bytes != before.bytes && t.Bytes != b.Bytes { // a release that does not count them carries them along, and so does a fence
		say("it counts %d bytes before it, but they are %d", t.Bytes, before.bytes)
	}
	if h.Kind == batch.Data && h.Claim != before.claim {
		say("it is of claim %q, but the log was claimed by %q", h.Claim, before.claim)
	}
	return wrong
}
