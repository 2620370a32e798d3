// Package cql is the shape of a keyspace in Cassandra: its three tables, as numbered migrations, and the bytes of the
// cells that are overwritten. The package leaves sessions, writing and reading to internal/keyspace/cassandra.
//
// Its one invariant: a migration that has been released never changes; a change of shape is a new one.
//
//	blocks     provider, gateway, week ── first, from, to, part, last ── data       written once
//	rollups    provider, gateway, span, month ── start ── stale, computed, data     overwritten in position's order
//	catalog    provider, bucket ── gateway ── entry, tail                           overwritten in position's order
//	           the same, 64 buckets on ── gateway ── what is stored of the gateway  sets that grow, and bounds
//	           provider, -1 ── '' ── highest position, writer, retention            the keyspace's own row
//
// A cell that is overwritten begins with its order, so that of two writes the later wins, whichever arrives first:
//
//	0   8  sequence of the position, big endian
//	8   4  ordinal of the position, big endian
//	12  8  stamp, big endian: tells the writes of one position apart, a later one is higher; not in stale
//	20     what the column says
//
// The write time of such a cell is [WriteTime] of its position, which never puts a later position before an earlier;
// where it is the same for two, Cassandra keeps the higher bytes, and those are the later.
package cql

import (
	_ "embed" // the migrations are files
	"encoding/binary"
	"hash/fnv"
	"strconv"
	"strings"

	"berth/schema"
)

//go:embed 0001.cql
var migration1 string

//go:embed 0002.cql
var migration2 string

// migrations make version i+1 from version i.
var migrations = []string{migration1, migration2}

// Version is the newest version of a keyspace's tables.
func Version() int { return len(migrations) }

// comment begins the comment of a catalog; the version follows.
const comment = "berth keyspace, version "

// ParseVersion returns the version that a catalog's comment says, 0 when it says none.
func ParseVersion(text string) int {
	number, ok := strings.CutPrefix(text, comment)
	version, err := strconv.Atoi(number)
	if !ok || err != nil || version < 0 {
		return 0
	}
	return version
}

// Migration returns the statements that make the version from the one before it, for a keyspace.
func Migration(version int, keyspace string) []string {
	var all []string
	for s := range strings.SplitSeq(withoutComments(migrations[version-1]), ";") {
		if s = strings.TrimSpace(s); s != "" {
			all = append(all, strings.ReplaceAll(s, "{keyspace}", keyspace))
		}
	}
	return all
}

func withoutComments(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		code, _, _ := strings.Cut(line, "--")
		b.WriteString(strings.TrimRight(code, " \n"))
		b.WriteByte('\n')
	}
	return b.String()
}

// Buckets of the catalog.
const (
	Buckets     = 64
	StoredFrom  = Buckets // the bucket of what is stored of a gateway is so much higher than that of its row
	OwnBucket   = -1      // of the keyspace's own row
	prefixStale = 12
	prefix      = 20
)

// Bucket returns the catalog's bucket of a gateway's row.
func Bucket(gateway string) int {
	h := fnv.New64a()
	_, _ = h.Write([]byte(gateway)) // it never fails
	return int(h.Sum64() % Buckets)
}

// Bits of a position in a write time. What does not fit is told apart by the cells' bytes.
const (
	ordinalBits  = 24
	maxOrdinal   = 1<<ordinalBits - 1
	maxSequence  = 1<<(63-ordinalBits) - 2
	firstWritten = 1 // write times begin above zero
)

// WriteTime returns the write time of a cell of a position: the later position never has the lower.
func WriteTime(p schema.Position) int64 {
	sequence, ordinal := p.Sequence, uint64(p.Ordinal)
	if sequence > maxSequence {
		sequence, ordinal = maxSequence, maxOrdinal
	}
	return int64(sequence<<ordinalBits|min(ordinal, maxOrdinal)) + firstWritten
}

// Stale returns the cell of a mark.
func Stale(p schema.Position) []byte {
	b := make([]byte, 0, prefixStale)
	b = binary.BigEndian.AppendUint64(b, p.Sequence)
	return binary.BigEndian.AppendUint32(b, p.Ordinal)
}

// Cell returns a cell that holds data.
func Cell(p schema.Position, stamp int64, data []byte) []byte {
	b := make([]byte, 0, prefix+len(data))
	b = append(b, Stale(p)...)
	b = binary.BigEndian.AppendUint64(b, uint64(stamp))
	return append(b, data...)
}

// ParseStale returns the position of a mark, zero when there is none.
func ParseStale(cell []byte) (schema.Position, error) {
	if len(cell) == 0 {
		return schema.Position{}, nil
	}
	if len(cell) < prefixStale {
		return schema.Position{}, schema.Errorf(schema.Internal, "a cell of %d bytes holds no position", len(cell))
	}
	return schema.Position{Sequence: binary.BigEndian.Uint64(cell), Ordinal: binary.BigEndian.Uint32(cell[8:])}, nil
}

// ParseCell returns the position of a cell, and its data; nothing when there is no cell.
func ParseCell(cell []byte) (schema.Position, []byte, error) {
	if len(cell) > 0 && len(cell) < prefix {
		return schema.Position{}, nil, schema.Errorf(schema.Internal, "a cell of %d bytes holds no position", len(cell))
	}
	p, err := ParseStale(cell)
	if err != nil || len(cell) <= prefix {
		return p, nil, err
	}
	return p, cell[prefix:], nil
}
