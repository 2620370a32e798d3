// Package query answers questions about a provider's readings: from rollups, blocks and tails of the keyspace, and from the
// head of its ingest for what is not stored yet. The head is asked first and the keyspace second; what both give is
// merged by identity, so that nothing falls between and nothing counts twice.
//
// Its one invariant: an answer that says it is complete holds every reading acknowledged before the question.
package query

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"berth/internal/api"
	"berth/internal/headapi"
	"berth/internal/keyspace"
	"berth/schema"
	"berth/schema/block"
	"berth/schema/catalog"
	"berth/schema/record"
)

// Head asks the provider's ingest: the bus does it; tests make it fail. Ask calls chunk for each part of the answer, in
// order, and returns Unavailable when nobody answers or the answer ends early.
type Head interface {
	Ask(ctx context.Context, subject string, request []byte, chunk func([]byte) error) error
}

// Options are what an Engine leans on.
type Options struct {
	Store    keyspace.Reader
	Head     Head
	Settings func() record.Settings                                               // of the provider, as they are now
	Keys     func() []string                                                      // names of gateways that have a key of their own, sorted
	Grouping func(gateway string) record.Grouping                                 // what people say of a gateway; nil: nothing
	Rejects  func(ctx context.Context) (of func(sender string) uint64, err error) // how many are kept; nil: nobody can tell
	Now      func() time.Time                                                     // nil: time.Now
	Logger   *slog.Logger
}

// Engine answers questions about one provider. Its methods may be called concurrently.
type Engine struct {
	store    keyspace.Reader
	head     Head
	settings func() record.Settings
	keys     func() []string
	grouping func(gateway string) record.Grouping
	kept     func(ctx context.Context) (of func(sender string) uint64, err error)
	now      func() time.Time
	log      *slog.Logger
	zone     atomic.Pointer[time.Location] // the provider's, as last loaded
	damages  damages
	days     days
	recently lately
}

// New returns an Engine.
func New(o Options) *Engine {
	e := &Engine{store: o.Store, head: o.Head, settings: o.Settings, keys: o.Keys, grouping: o.Grouping, kept: o.Rejects, now: o.Now, log: o.Logger}
	if e.grouping == nil {
		e.grouping = func(string) record.Grouping { return record.Grouping{} }
	}
	if e.now == nil {
		e.now = time.Now
	}
	return e
}

// headLimit bounds how long an answer waits for the head; after it the answer says that it is not complete.
const headLimit = 5 * time.Second

// ask puts a question to the head. The first chunk of the answer is its header. A head that does not answer, or not to the end, is no
// error: the completeness says so, and the header says nothing.
func (e *Engine) ask(ctx context.Context, subject string, request any, chunk func([]byte) error) (headapi.Header, api.Complete) {
	ctx, cancel := context.WithTimeout(ctx, headLimit)
	defer cancel()
	var header headapi.Header
	body, err := json.Marshal(request)
	first := true
	if err == nil {
		err = e.head.Ask(ctx, subject, body, func(data []byte) error {
			if first {
				first = false
				return json.Unmarshal(data, &header)
			}
			return chunk(data)
		})
	}
	switch {
	case err != nil:
		e.log.Debug("the head did not answer", "subject", subject, "error", err)
		return headapi.Header{}, api.Complete{Reason: "the newest readings cannot be asked for now: ingest does not answer"}
	case !header.Complete:
		c := api.Complete{Reason: header.Reason}
		if header.UpTo != 0 {
			c.UpTo = new(time.Unix(0, header.UpTo).UTC())
		}
		return header, c
	default:
		return header, api.Complete{Complete: true}
	}
}

// recent is what of a gateway may not be in blocks: the head's parts and the stored tail.
type recent struct {
	readers  []*block.Reader // in order of their first time
	complete api.Complete
	followed uint64 // the head has followed the log up to here
	damage   damage
}

// answered returns how far the answer is complete, by all that was read for it.
func (r *recent) answered() api.Complete { return r.damage.apply(r.complete) }

// recent gathers the head's parts of a gateway in [from, to), then its row with its tail. Whoever reads blocks or
// rollups does so after it: a part leaves the head, and a tail, only when what took it is stored. For a gateway that
// neither the head nor the keyspace knows and that has no key the error is unknown's.
func (e *Engine) recent(ctx context.Context, gateway string, from, to int64) (*recent, error) {
	r := &recent{damage: damage{engine: e}}
	request := headapi.PartsRequest{Gateway: gateway, From: from, To: to}
	header, complete := e.ask(ctx, headapi.Parts, request, func(data []byte) error {
		return r.add(data, from, to)
	})
	r.complete, r.followed = complete, header.Followed
	if err := e.addStored(ctx, r, gateway, from, to); err != nil {
		return nil, err
	}
	return r, nil
}

// said is what was said of gateways before they are asked about: first by the head, of the range that they are asked about, and then
// by their rows.
type said struct {
	head     headapi.Header
	tailless []bool // of each: its row has no tail; nil: that was not said
}

// of is what was said of those from one number up to another.
func (s *said) of(from, to int) *said {
	if s.tailless == nil {
		return s
	}
	return &said{s.head, s.tailless[from:to]}
}

// recents is recent for several gateways, whose names are sorted; the head is asked once for all, and not at all when it has
// said, whole, that it has nothing of them in [from, to): what it had before is stored. Then rows that have no tail are not read again.
func (e *Engine) recents(ctx context.Context, gateways []string, from, to int64, s *said) ([]*recent, error) {
	all, tailless := make([]*recent, len(gateways)), s.tailless
	for i := range all {
		all[i] = &recent{damage: damage{engine: e}}
	}
	header, complete := s.head, api.Complete{Complete: s.head.Complete}
	if !s.head.Complete || !s.head.Parts.Lack(gateways) {
		tailless = nil
		request := headapi.FleetRequest{Gateways: gateways, From: from, To: to}
		header, complete = e.ask(ctx, headapi.Fleet, request, func(data []byte) error {
			reader, err := block.Open(slices.Clone(data))
			if err != nil {
				return err
			}
			if at, asked := slices.BinarySearch(gateways, reader.Gateway()); asked {
				all[at].take(reader, from, to)
			}
			return nil
		})
	}
	for _, r := range all {
		r.complete, r.followed = complete, header.Followed
	}
	return all, e.addRows(ctx, all, gateways, tailless, from, to)
}

// addRows adds the rows of several gateways, but those that have no tail, as far as that is known of each.
func (e *Engine) addRows(ctx context.Context, all []*recent, gateways []string, tailless []bool, from, to int64) error {
	read := make([]string, 0, len(gateways))
	for i, name := range gateways {
		if tailless == nil || !tailless[i] {
			read = append(read, name)
		}
	}
	if len(read) == 0 {
		return nil
	}
	rows, err := e.store.FleetRows(ctx, read)
	damaged := errors.Is(err, keyspace.ErrDamaged)
	if err != nil && !damaged {
		return fmt.Errorf("read the rows of %d gateways: %w", len(read), err)
	}
	for i, r := range all {
		switch {
		case len(read) == 0 || read[0] != gateways[i]:
			continue
		case damaged:
			err = e.addStored(ctx, r, gateways[i], from, to)
		case len(rows) > 0 && rows[0].Name == gateways[i]:
			err = e.addRow(ctx, r, &rows[0], nil, from, to)
			rows = rows[1:]
		default:
			err = e.addRow(ctx, r, &keyspace.Gateway{Name: gateways[i]}, errNoRow, from, to)
		}
		if err != nil {
			return err
		}
		read = read[1:]
	}
	return nil
}

// addStored adds what a gateway's row has, after the head was asked.
func (e *Engine) addStored(ctx context.Context, r *recent, gateway string, from, to int64) error {
	row, err := e.store.Gateway(ctx, gateway)
	row.Name = gateway
	return e.addRow(ctx, r, &row, err, from, to)
}

// errNoRow says of a gateway that it has no row.
var errNoRow = schema.Errorf(schema.NotFound, "it has no row")

// addRow adds a gateway's row, or takes the error with which it was asked for.
func (e *Engine) addRow(ctx context.Context, r *recent, row *keyspace.Gateway, err error, from, to int64) error {
	switch {
	case schema.Is(err, schema.NotFound):
		if len(r.readers) > 0 {
			break
		}
		if known, head := e.known(ctx, row.Name); !known {
			return unknown(row.Name, &head)
		}
	case err != nil:
		if err := r.damage.take(err); err != nil {
			return err
		}
	default:
		r.addRow(row, from, to)
	}
	slices.SortFunc(r.readers, func(a, b *block.Reader) int { return cmp.Compare(a.First(), b.First()) })
	return nil
}

// add opens a block and keeps it when it touches [from, to).
func (r *recent) add(data []byte, from, to int64) error {
	reader, err := block.Open(slices.Clone(data))
	if err != nil {
		return err
	}
	r.take(reader, from, to)
	return nil
}

// take keeps a block when it touches [from, to).
func (r *recent) take(reader *block.Reader, from, to int64) {
	if reader.First() < to && reader.Last() >= from {
		r.readers = append(r.readers, reader)
	}
}

// addRow adds the tail of a gateway's row, and says up to when the keyspace is complete if the head is not. What of the
// row cannot be read is left out, and named.
func (r *recent) addRow(row *keyspace.Gateway, from, to int64) {
	seen, err := catalog.Outline(row.Entry)
	if err != nil {
		r.damage.add(err, "the entry of gateway %q in the catalog cannot be read", row.Name)
	} else if !r.complete.Complete && r.complete.UpTo == nil {
		r.complete.UpTo = new(time.Unix(0, seen.LastSeen).UTC())
	}
	if len(row.Tail) == 0 {
		return
	}
	blocks, err := catalog.DecodeTail(row.Tail)
	if err != nil {
		r.damage.add(err, "the tail of gateway %q, its newest stored readings, cannot be read", row.Name)
	}
	for _, data := range blocks {
		if err := r.add(data, from, to); err != nil {
			r.damage.add(err, "a block in the tail of gateway %q cannot be read", row.Name)
		}
	}
}

// known reports whether the head has heard of the gateway or a key was made for it, and how far the head's answer is
// complete.
func (e *Engine) known(ctx context.Context, gateway string) (heard bool, head api.Complete) {
	if _, has := slices.BinarySearch(e.keys(), gateway); has {
		return true, head
	}
	_, head = e.ask(ctx, headapi.Latest, headapi.LatestRequest{Gateway: gateway}, func([]byte) error {
		heard = true
		return nil
	})
	return heard, head
}

// Oldest returns the time before which readings are hidden now.
func (e *Engine) Oldest() int64 { return e.oldest() }

// oldest returns the time before which readings are hidden: retention may not have removed them yet.
func (e *Engine) oldest() int64 {
	return e.now().Add(-e.settings().Retention).UnixNano()
}
