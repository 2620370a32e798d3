// Package headapi is what ingest answers about its head, as types: the readings that are not yet surely in the keyspace.
//
// A question is a JSON request on a subject of the provider's account. The answer is a stream of chunks: first a
// [Header] as JSON, then the chunks that each question names. Who asks must ask the head first and read the keyspace
// second, and merge by identity: a part leaves the head only when the keyspace has confirmed it, so nothing falls
// between; what is in both is the same.
//
//	subject        request          chunks after the Header
//	head.parts     PartsRequest     one encoded block (schema/block) per part that touches [From, To)
//	head.fleet     FleetRequest     the same of several gateways at once; each block says whose it is
//	head.latest    LatestRequest    the gateway's entry (schema/catalog EncodeEntry); none when the head has nothing of it
//	head.since     SinceRequest     encoded blocks of the readings after the position that are still in the head
//	head.gateways  GatewaysRequest  an entry per gateway that is newer than its row in the keyspace, or has changed since an answer
//	                                before, in order of names; the Header says of which gateways the head has readings, if that was asked
//	head.books     BooksRequest     the one chunk is api.Books as JSON; there is no Header
//	head.records   RecordsRequest   none, and no Header: it ends when ingest goes by the records as they were written
//	head.feed      FeedRequest      the one chunk is api.Fed as JSON; there is no Header
//	head.sources   none             the one chunk is a list of Source as JSON; there is no Header
//
// An entry of the head knows only what has come since the gateway's row was read: merge it into the row's entry
// with Observe, take the earlier first and the later last seen, and the row's interval where the head's
// is zero.
package headapi

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"berth/schema"
)

// The subjects of the questions.
const (
	Parts    = "head.parts"
	Fleet    = "head.fleet"
	Latest   = "head.latest"
	Since    = "head.since"
	Gateways = "head.gateways"
	Books    = "head.books"
	Records  = "head.records"
	Feed     = "head.feed"
	Sources  = "head.sources"
)

// The states of an ingest, as its service record and its books show them.
const (
	StateReady     = "ready"     // the head follows the log
	StateReplaying = "replaying" // the head is reading the log; acceptance goes on
	StateSlow      = "slow"      // the keyspace does not take what the head has; acceptance goes on
	StateFull      = "full"      // the log has no room: gateways wait
	StateDisk      = "disk"      // a disk is nearly full: gateways wait
	StateStalled   = "stalled"   // the log does not confirm batches: gateways wait
	StateQuota     = "quota"     // the keyspace holds as much as it may: frames are refused
	StateAside     = "aside"     // something that was acknowledged cannot be stored, and waits for somebody
	StateSource    = "source"    // a broker whose messages are to be taken is away, or refuses something; all else is taken
	StateDamaged   = "damaged"   // of reports: something stored cannot be read; answers leave it out and say so
)

// States returns all of them. An ingest that is as it should be is ready; of the others several may hold at once.
func States() []string {
	return []string{StateReady, StateReplaying, StateSlow, StateFull, StateDisk, StateQuota, StateStalled, StateAside, StateSource}
}

// Header is the first chunk of an answer.
type Header struct {
	Followed  uint64 `json:"followed"`           // the head holds, or has seen stored, every batch up to this sequence
	Committed uint64 `json:"committed"`          // the newest batch in the log
	Complete  bool   `json:"complete"`           // the head has followed all that was committed
	Reason    string `json:"reason,omitempty"`   // why it is not complete
	UpTo      int64  `json:"up_to,omitempty"`    // arrival of the newest batch followed, ns: what arrived before is all here
	Position  string `json:"position,omitempty"` // head.since: ask for what comes after this position the next time
	Missed    bool   `json:"missed,omitempty"`   // head.since, head.gateways: some of what came since has left the head for the keyspace
	Change    int64  `json:"change,omitempty"`   // head.gateways: ask with this Since for what changes from now on
	Parts     *Names `json:"parts,omitempty"`    // head.gateways: which gateways have readings in the range asked about; absent: it was not asked, or not told
}

// Names are the first of the gateways of which something is so, in byte order.
type Names struct {
	Names []string `json:"names"`
	Whole bool     `json:"whole"` // these are all
}

// Lack reports whether it is so of none of the gateways, whose names are sorted.
func (n *Names) Lack(gateways []string) bool {
	if n == nil || len(gateways) == 0 {
		return n != nil
	}
	if !n.Whole && (len(n.Names) == 0 || n.Names[len(n.Names)-1] < gateways[len(gateways)-1]) {
		return false
	}
	return !slices.ContainsFunc(gateways, func(g string) bool {
		_, found := slices.BinarySearch(n.Names, g)
		return found
	})
}

// PartsRequest asks for the readings of a gateway in [From, To), in nanoseconds. The blocks may hold others too.
type PartsRequest struct {
	Gateway string `json:"gateway"`
	From    int64  `json:"from"`
	To      int64  `json:"to"`
}

// FleetRequest asks for the readings of some gateways, MostFleet at most, in [From, To), in nanoseconds. The blocks may hold
// others too.
type FleetRequest struct {
	Gateways []string `json:"gateways"`
	From     int64    `json:"from"`
	To       int64    `json:"to"`
}

// MostFleet bounds the gateways of a FleetRequest.
const MostFleet = 1000

// LatestRequest asks for what the head knows of a gateway.
type LatestRequest struct {
	Gateway string `json:"gateway"`
}

// SinceRequest asks for the readings of a gateway after a position. An empty After asks only for the position to begin
// at: the answer has no blocks.
type SinceRequest struct {
	Gateway string   `json:"gateway"`
	After   string   `json:"after"`             // FormatPosition
	Sensors []string `json:"sensors,omitempty"` // none: all
}

// GatewaysRequest asks for the first Limit gateways whose names are after After, in byte order, and, when From is before To,
// for which of all gateways after After the head has readings in [From, To), in nanoseconds: so who asks about many gateways
// does not ask again about those of which the head has nothing.
type GatewaysRequest struct {
	After string `json:"after"`
	Limit int    `json:"limit"`
	From  int64  `json:"from,omitempty"`
	To    int64  `json:"to,omitempty"`

	// Since, the Change of an answer before, asks for those that have changed since then instead of those newer than their rows; their
	// entries are without attributes and newest readings. When not all can be told the Header says that some were missed, and nothing follows.
	Since int64 `json:"since,omitempty"`
	// Names asks for these only, MostFleet at most.
	Names []string `json:"names,omitempty"`
}

// BooksRequest asks for the provider's running totals.
type BooksRequest struct{}

// RecordsRequest asks to be told when ingest goes by the provider's records (bucket "pipeline") of at least a revision.
// The asker sets the limit of the wait. Conflict: it cannot use one of them, and goes by what that said before.
type RecordsRequest struct {
	Revision uint64 `json:"revision"`
}

// FeedRequest asks to take in again something that is kept, or to remove it.
type FeedRequest struct {
	Aside  bool   `json:"aside,omitempty"` // of what was set aside; else of the rejects
	ID     uint64 `json:"id"`
	Remove bool   `json:"remove,omitempty"`
}

// FormatPosition returns a position as questions and answers write it, "sequence/ordinal".
func FormatPosition(p schema.Position) string { return p.String() }

// ParsePosition reads a position as [FormatPosition] writes it; anything else is Invalid.
func ParsePosition(s string) (schema.Position, error) {
	sequence, ordinal, ok := strings.Cut(s, "/")
	seq, err := strconv.ParseUint(sequence, 10, 64)
	if !ok || err != nil {
		return schema.Position{}, invalid(s)
	}
	ord, err := strconv.ParseUint(ordinal, 10, 32)
	if err != nil {
		return schema.Position{}, invalid(s)
	}
	return schema.Position{Sequence: seq, Ordinal: uint32(ord)}, nil
}

func invalid(s string) error {
	return fmt.Errorf("parse position: %w", schema.Errorf(schema.Invalid, "%q is no position: write sequence/ordinal", s))
}

// The states of a source.
const (
	SourceConnected  = "connected"
	SourceConnecting = "connecting" // it has not been connected since it was added, or changed, and nothing is wrong yet
	SourceWaiting    = "waiting"    // nothing can be taken now: the broker keeps what comes
	SourceAway       = "away"       // the broker is away, or lets it not in: it is tried again and again
	SourceRefused    = "refused"    // connected, but the broker refuses a subscription
)

// Source is how a source does. What it counts begins anew with the instance.
type Source struct {
	Name     string    `json:"name"`
	State    string    `json:"state"`
	Detail   string    `json:"detail,omitempty"` // why
	Since    time.Time `json:"since,omitzero"`   // when the state began
	Taken    uint64    `json:"taken"`            // messages that the log has, and that were acknowledged
	Refused  uint64    `json:"refused"`          // messages of which nothing was taken; acknowledged, and kept among the rejects
	Retained uint64    `json:"retained"`         // messages that the broker had kept, of readings without a time: not taken
	InHand   int       `json:"in_hand"`          // messages that are not acknowledged yet
	Resumed  bool      `json:"resumed"`          // the broker had kept the session at the last connection
	Last     time.Time `json:"last,omitzero"`    // when the last message came
}
