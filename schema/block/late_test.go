package block

import (
	"encoding/binary"
	"slices"
	"testing"

	"berth/schema"
	"berth/schema/internal/wire"
)

// TestLatesThatCannotBe opens blocks that say of more readings than there are whether they came late, or of those of a
// column before that is another.
func TestLatesThatCannotBe(t *testing.T) {
	c := goldenOne()
	c.Columns[0].Times, c.Columns[0].Bits, c.Columns[0].Late = []int64{day, day + 1}, []uint64{1, 2}, []bool{false, true}
	other := c.Columns[0]
	other.Sensor, other.Times, other.Bits, other.Late = "t", []int64{day + 1}, []uint64{3}, nil
	c.Columns = append(c.Columns, other)
	data := encoded(t, c)
	said := []byte{latesEach, 3, 1, 1, 0}
	body := data[:len(data)-wire.ChecksumSize-len(said)]
	if got := string(data[len(body) : len(body)+len(said)]); got != string(said) {
		t.Fatalf("it ends with %x, not with %x", got, said)
	}
	for _, ok := range [][]byte{said, {latesAll}, {1, 0, 0}, {1, 3, 0, 2, 0}, {1, 0, 3, 0, 1}, {1, 5, 0, 1, 0, 1, 0}} {
		if _, err := Open(wire.Seal(append(slices.Clip(body), ok...), 0)); err != nil {
			t.Errorf("%v: %v", ok, err)
		}
	}
	for _, wrong := range [][]byte{
		{},
		{latesEach},
		{2, 0, 0},
		{latesAll, 0},
		{1, 3, 1, 1},
		{1, 3, 1, 2, 0},
		{1, 3, 3, 0, 0},
		{1, 2, 1, 0},
		{1, 1, 0},
		{1, 3, 1, 1, 1},
		{1, 3, 1, 1, 0, 0},
		{1, 7, 0, 1, 0, 1, 0, 0, 0},
		append(binary.AppendUvarint([]byte{1}, 2*MaxReadings+1), said...),
		binary.AppendUvarint([]byte{1}, 1<<63),
	} {
		if _, err := Open(wire.Seal(append(slices.Clip(body), wrong...), 0)); !schema.Is(err, schema.Invalid) {
			t.Errorf("%v: %v", wrong, err)
		}
	}
}

// TestNothingLateIsVersion1 has a release that does not know of late readings read what it would have written itself.
func TestNothingLateIsVersion1(t *testing.T) {
	c := goldenOne()
	without := encoded(t, c)
	c.Columns[0].Late = []bool{false}
	if with := encoded(t, c); string(with) != string(without) || with[len(Magic)] != Version {
		t.Errorf("%x is written, without what came late %x", with, without)
	}
	c.Columns[0].Late = []bool{true, false}
	if _, err := Encode(nil, c); !schema.Is(err, schema.Invalid) {
		t.Errorf("of one reading it is said whether two came late: %v", err)
	}
}
