// Package keyspace is the contract of a provider's store: blocks, rollups and the catalog, written by one ingest and
// read by any number of others. Backends are packages below it (sqlite); each passes the contract suite in
// keyspacetest unchanged. The package leaves what the bytes mean to schema/block, schema/rollup and schema/catalog.
//
// Its one invariant: what Durable has reported survives a power cut, and a write repeated changes nothing.
package keyspace

import (
	"context"
	"errors"

	"berth/schema"
)

// ErrDamaged is in the chain of an error that says that something stored cannot be read, and which: another try will not
// help, and the rest can be read.
var ErrDamaged = errors.New("what is stored is damaged")

// BlockKey names exactly what a block holds: equal keys mean equal readings, so writing a block twice is writing it
// once.
type BlockKey struct {
	Gateway string
	First   int64           // time of the first reading, ns
	From    schema.Position // of the first reading
	To      schema.Position // of the last reading
	Part    uint16          // counts the blocks that one part was split into
}

// Block is a block as stored. It lies within one UTC day.
type Block struct {
	BlockKey
	Last int64  // time of the last reading, ns
	Data []byte // schema/block
}

// Gateway is a gateway's row in the catalog. A row with a higher Position replaces one with a lower, never the reverse.
type Gateway struct {
	Name     string
	Position schema.Position // every reading of the gateway up to here is in a block or in Tail
	Entry    []byte          // schema/catalog: latest values, first and last seen, attributes
	Tail     []byte          // schema/catalog: parts too small to be blocks; nil from Gateways
	Tailless bool            // from Gateways: it has no tail; false where that cannot be told without reading it
}

// Span is what a rollup sums up: an hour or a day, UTC.
type Span uint8

// The spans. The numbers are stored; they never change.
const (
	Hour Span = 1
	Day  Span = 2
)

// Length returns the span's length in nanoseconds.
func (s Span) Length() int64 {
	if s == Day {
		return schema.DaySpan
	}
	return schema.HourSpan
}

// RollupKey names a rollup.
type RollupKey struct {
	Gateway string
	Span    Span
	Start   int64 // ns, a multiple of the span's length
}

// Rollup is a rollup of all sensors of a gateway over one hour or day. It counts only if Computed is at or after Stale:
// else it was not computed from everything stored, and the reader computes from the readings. A key that was only ever
// marked has no Data and a zero Computed.
type Rollup struct {
	RollupKey
	Computed schema.Position // of the last reading that it was computed from
	Stale    schema.Position // of the last reading stored that lies in its span
	Data     []byte          // schema/rollup; nil when Computed is zero
}

// Counts reports whether the rollup was computed from everything stored in its span.
func (r *Rollup) Counts() bool { return !r.Computed.IsZero() && !r.Computed.Less(r.Stale) }

// Mark says that readings up to a position have been stored in a rollup's span. Stale only ever rises.
type Mark struct {
	RollupKey
	Stale schema.Position
}

// Changes are what one Write stores. [Changes.Check] says what can be stored at all.
//
// They are written in this order, each kind durable no later than the next: marks, blocks, gateways, rollups. A crash
// between leaves marks without blocks (harmless: the rollup is computed again) and never the reverse.
type Changes struct {
	Marks    []Mark
	Blocks   []Block
	Gateways []Gateway // rows overwritten, in position's order
	Rollups  []Rollup  // overwritten when Computed is not lower; never zero; Stale is ignored, a mark sets it
}

// Receipt numbers what becomes durable of one Writer: Opened, then its writes in the order in which Write returned.
type Receipt uint64

// Opened is the receipt of a Writer's opening. Until it is durable, what is read of the keyspace may yet be lost: Writers before
// may have written it last, and none will write it again.
const Opened Receipt = 1

// Isolating is what a Backend gives besides that can keep those who use one keyspace from all others.
type Isolating interface {
	// Grant lets whoever knows the secret use the keyspace, which exists, and nothing else; a secret given before ends.
	Grant(ctx context.Context, name, secret string) error
	// Access returns the URL with which an instance that has the secret uses the keyspace, without the secret, and secret
	// files by the names of the variables that carry their paths: the URL refers to them, as $NAME.
	Access(name, secret string) (url string, files map[string][]byte, err error)
}

// Reader reads a keyspace while one Writer, in this process or another, writes it. What a Write has returned for is seen
// by every call that begins after it; of what is written during a call some may be seen. Whoever wants a gateway's tail
// and blocks reads the tail first: what leaves it goes into a block before.
//
// The methods may be called concurrently, also from the yield functions, and a yield function may take its time: nothing
// is held open meanwhile.
//
// Errors: NotFound for a keyspace that does not exist or no longer does, Unavailable when the backend cannot be reached
// or the Reader is closed; a context's own error when it ended; what comes from the yield functions is returned as it is.
type Reader interface {
	Fleet
	// Blocks yields the blocks of a gateway that hold or may hold readings in [from, to): those that do not end before
	// from and begin before to. In order of First, then From, To and Part. Data is valid until yield returns. What is
	// damaged does not hide the rest: when all that can be read has been yielded, the error has ErrDamaged in its chain and
	// says what is missing.
	Blocks(ctx context.Context, gateway string, from, to int64, yield func(Block) error) error
	// Gateway returns a gateway's row with its tail, or NotFound.
	Gateway(ctx context.Context, name string) (Gateway, error)
	// Rollups yields the rollups of a gateway whose spans start in [from, to), in order of Start, those that are only
	// marked too. Data is valid until yield returns.
	Rollups(ctx context.Context, gateway string, span Span, from, to int64, yield func(Rollup) error) error
	// Position returns the highest position that the keyspace knows, of marks, blocks, gateways and rollups, also of
	// those that have expired since: a log that begins anew begins above it. Blocks that cannot be read are left out: what
	// was written with them knows their position too.
	Position(ctx context.Context) (schema.Position, error)
	// Close releases what the Reader holds. It may be called twice.
	Close() error
}

// Fleet is what a Reader answers about several gateways in one go, for which a backend may need less time than for one after the
// other. Names are given in byte order, none twice.
type Fleet interface {
	// Gateways returns up to limit rows, without tails, whose names are after the given one, in byte order of names.
	// None are returned for a limit below one.
	Gateways(ctx context.Context, after string, limit int) ([]Gateway, error)
	// FleetRows returns the rows of those that have one, with their tails, in the order of their names; with ErrDamaged none:
	// Gateway tells whose can be read.
	FleetRows(ctx context.Context, names []string) ([]Gateway, error)
	// FleetRollups yields the rollups of each gateway, of one after the other in the order of their names, whose spans start in
	// [from, to), in order of Start. The data is that of a rollup that counts, and nil for one that does not; it is valid until
	// yield returns. With ErrDamaged some may be missing: Rollups tells of which gateway.
	FleetRollups(ctx context.Context, names []string, span Span, from, to int64, yield func(key RollupKey, data []byte) error) error
}

// Writer writes a keyspace. One process at a time holds the Writer of a keyspace, and it holds one; its methods may be
// called concurrently. Close waits for a Write under way.
type Writer interface {
	Reader
	Upkeep
	// Write stores the changes, idempotently. An error means that the outcome is unknown: the same Write again is
	// safe. What could not be stored for good is an Invalid error, and then nothing of c is stored. The bytes of c must
	// not change before the receipt is durable: a backend may have to write them again.
	Write(ctx context.Context, c *Changes) (Receipt, error)
	// Durable returns the receipt up to which every Write surely survives a power cut, 0 when not even what was there at
	// the opening does. A backend whose Write syncs returns the newest.
	Durable(ctx context.Context) (Receipt, error)
}

// Upkeep is what a Writer gives beside writing: what is to be done, and how much there is.
type Upkeep interface {
	// Unrolled yields the keys of rollups that do not count (Computed before Stale), whose spans end at or before
	// the given time, those that start first first within each kind of span, until yield returns false.
	Unrolled(ctx context.Context, endBefore int64, yield func(RollupKey) bool) error
	// Expire drops blocks of readings before blocksBefore and rollups of spans before rollupsBefore, where the
	// backend does not do so by itself. It may keep what shares a file with younger data.
	Expire(ctx context.Context, blocksBefore, rollupsBefore int64) error
	// Stats returns what the keyspace holds, without reading what it counts.
	Stats(ctx context.Context) (Stats, error)
	// Size returns the bytes that the keyspace occupies, as last measured; it is cheap enough to be asked every second.
	Size(ctx context.Context) (int64, error)
}

// Stats is what a keyspace holds.
type Stats struct {
	Bytes    int64 `json:"bytes"`    // that it occupies
	Gateways int   `json:"gateways"` // rows that Gateways would return
}

// Backend makes, opens and drops keyspaces, which it knows by name: that of their provider, else Invalid (see
// [schema.CheckProvider]). Writer and Reader of a keyspace that does not exist are NotFound.
type Backend interface {
	// Create makes the keyspace, or finds it made.
	Create(ctx context.Context, name string) error
	// Drop removes the keyspace with all its data, or finds it gone. Conflict says that a Writer holds it.
	Drop(ctx context.Context, name string) error
	// Writer opens the keyspace for its one writer; Conflict says that another holds it, and who.
	Writer(ctx context.Context, name string) (Writer, error)
	// Reader opens the keyspace for reading.
	Reader(ctx context.Context, name string) (Reader, error)
	// Close releases what the Backend holds; Readers and Writers are closed on their own.
	Close() error
}
