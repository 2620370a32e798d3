package schema

import (
	"cmp"
	"fmt"
)

// Position is where a reading stands in its provider's log. Positions never go back: a log that begins anew begins
// above the highest position that the keyspace knows. The zero Position is before every reading.
type Position struct {
	Sequence uint64 // of the batch in the log, from 1
	Ordinal  uint32 // of the reading within the batch, from 0
}

// Compare returns -1, 0 or 1 as p is before, at or after o.
func (p Position) Compare(o Position) int {
	if c := cmp.Compare(p.Sequence, o.Sequence); c != 0 {
		return c
	}
	return cmp.Compare(p.Ordinal, o.Ordinal)
}

// Less reports whether p is before o.
func (p Position) Less(o Position) bool { return p.Compare(o) < 0 }

// IsZero reports whether p is before every reading.
func (p Position) IsZero() bool { return p == Position{} }

// String returns the position as "sequence/ordinal".
func (p Position) String() string { return fmt.Sprintf("%d/%d", p.Sequence, p.Ordinal) }
