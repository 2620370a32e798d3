package bus

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"berth/schema"
)

// Shelf is a stream beside the log in which something is kept to be looked at, and to be fed again or removed by
// somebody. Each entry is bytes as they came, and what is known of them.
type Shelf struct {
	stream, subject string
	once            bool // entries have names, and of each name one is kept
}

// The shelves of a provider.
var (
	// Rejects are what was refused. The oldest make room for the newest.
	Rejects = Shelf{stream: rejectsStream, subject: rejectsSubject}
	// Aside is what was acknowledged and can never be stored. Nothing leaves it by itself: when it is full it refuses.
	Aside = Shelf{stream: asideStream, subject: asideSubject, once: true}
)

// aboutHeader carries what is known of the bytes. Entries without it are of the release before this one: their data are
// the reject as JSON, bytes and all.
const aboutHeader = "Berth-About"

// Kept is an entry of a shelf.
type Kept struct {
	ID    uint64
	About []byte // JSON; nil of entries of the release before
	Raw   []byte
}

// Keep puts bytes on a shelf with what is known of them, and returns when they are on disk. On a shelf that drops nothing
// an entry has a name, for what it is: kept is false when it is there already. Limited says that such a shelf is full. Among
// the rejects the name is the sender's, or empty: see [Conn.CountKept].
func (c *Conn) Keep(ctx context.Context, s Shelf, name string, about, raw []byte) (kept bool, err error) {
	msg := &nats.Msg{Subject: s.subject, Header: nats.Header{aboutHeader: {string(about)}}, Data: raw}
	if s.once || name != "" {
		msg.Subject = s.subjectOf(name)
	}
	_, err = c.js.PublishMsg(ctx, msg, jetstream.WithRetryAttempts(0))
	if e, ok := errors.AsType[*jetstream.APIError](err); ok && e.ErrorCode == codeStoreFailed {
		if strings.Contains(e.Description, "per subject") {
			return false, nil
		}
		err = schema.Errorf(schema.Limited, "what is set aside has reached its quota").
			WithNext("look at it, then feed it again or remove it: provisioner aside ls <provider>").WithCause(err)
	}
	return err == nil, failed("keep "+s.subject, err)
}

// subjectOf returns the subject of entries of a name, which may hold what a subject may not. Of senders there are few beside
// what half a sum tells apart, and all their subjects come in one answer.
func (s Shelf) subjectOf(name string) string {
	sum := sha256.Sum256([]byte(name))
	if s.once {
		return s.subject + "." + hex.EncodeToString(sum[:])
	}
	return s.subject + "." + hex.EncodeToString(sum[:8])
}

// CountKept returns how many entries of each name a shelf holds.
func (c *Conn) CountKept(ctx context.Context, s Shelf) (of func(name string) uint64, err error) {
	stream, err := c.js.Stream(ctx, s.stream)
	if err != nil {
		return nil, failed("count "+s.subject, err)
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(s.subject+".*"))
	if err != nil {
		return nil, failed("count "+s.subject, err)
	}
	kept := info.State.Subjects
	return func(name string) uint64 {
		if len(kept) == 0 {
			return 0
		}
		return kept[s.subjectOf(name)]
	}, nil
}

// mostMisses bounds how many entries that are gone a list steps over.
const mostMisses = 10_000

// List returns the entries of a shelf before the one with the given ID (0: the newest), newest first, at most limit of
// them and about most bytes, and how many are kept in all.
func (c *Conn) List(ctx context.Context, s Shelf, before uint64, limit, most int) (newest []Kept, kept uint64, err error) {
	stream, err := c.js.Stream(ctx, s.stream)
	if err != nil {
		return nil, 0, failed("list "+s.subject, err)
	}
	state := stream.CachedInfo().State
	at := state.LastSeq
	if before > 0 {
		at = min(at, before-1)
	}
	for misses := 0; at >= max(state.FirstSeq, 1) && len(newest) < limit && most > 0 && misses < mostMisses; at-- {
		msg, err := stream.GetMsg(ctx, at)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			misses++
			continue
		}
		if err != nil {
			return nil, 0, failed("list "+s.subject, err)
		}
		newest = append(newest, keptOf(msg))
		most -= len(msg.Data)
	}
	return newest, state.Msgs, nil
}

func keptOf(msg *jetstream.RawStreamMsg) Kept {
	k := Kept{ID: msg.Sequence, Raw: msg.Data}
	if about := msg.Header.Get(aboutHeader); about != "" {
		k.About = []byte(about)
	}
	return k
}

// Get returns an entry of a shelf, or NotFound.
func (c *Conn) Get(ctx context.Context, s Shelf, id uint64) (Kept, error) {
	stream, err := c.js.Stream(ctx, s.stream)
	if err != nil {
		return Kept{}, failed("read "+s.subject, err)
	}
	msg, err := stream.GetMsg(ctx, max(id, 1))
	if err != nil {
		return Kept{}, failed("read "+s.subject, err)
	}
	return keptOf(msg), nil
}

// Drop removes an entry of a shelf, or finds it gone.
func (c *Conn) Drop(ctx context.Context, s Shelf, id uint64) error {
	stream, err := c.js.Stream(ctx, s.stream)
	if err != nil {
		return failed("remove from "+s.subject, err)
	}
	if err := stream.DeleteMsg(ctx, id); err != nil {
		if _, gone := stream.GetMsg(ctx, max(id, 1)); errors.Is(gone, jetstream.ErrMsgNotFound) {
			return nil
		}
		return failed("remove from "+s.subject, err)
	}
	return nil
}

// ShelfState is how much a shelf holds.
type ShelfState struct {
	Entries, Bytes, Quota uint64
}

// ShelfState returns how much a shelf holds.
func (c *Conn) ShelfState(ctx context.Context, s Shelf) (ShelfState, error) {
	stream, err := c.js.Stream(ctx, s.stream)
	if err != nil {
		return ShelfState{}, failed("look at "+s.subject, err)
	}
	info := stream.CachedInfo()
	return ShelfState{Entries: info.State.Msgs, Bytes: info.State.Bytes, Quota: uint64(max(info.Config.MaxBytes, 0))}, nil
}
