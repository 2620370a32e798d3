package block

import (
	"math/bits"
	"sync"
)

// Names are short and mostly of small letters, so a fixed prefix code takes about half of what they would: no table has
// to be stored with them, and zstd gains nothing on a hundred bytes.

// letterLengths are the lengths of the codes, in bits, and the letters that have them; the code is canonical: codes
// count up by length, then in the order here, highest bit first. They are part of the format and never change.
var letterLengths = [...]struct {
	length  int
	letters string
}{
	{4, "eaiortn."},
	{5, "sudlcmp_"},
	{6, "ghvyfbwk012-"},
	{8, "3456789xzjq="},
	{9, ",/" + otherLetter},
	{12, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"},
}

const (
	otherLetter     = "\x00" // its code announces eight bits as they are
	shortestLetter  = 4
	longestLetter   = 12
	otherLetterBits = 8
)

// letterCode is the code of a letter, lowest bit first; one without a length has none.
type letterCode struct {
	bits   uint16
	length uint8
}

// letterTable has the code of each byte, and what each code of longestLetter bits begins with.
type letterTable struct {
	codes [256]letterCode
	found [1 << longestLetter]struct{ letter, length uint8 }
}

var letters = sync.OnceValue(func() *letterTable {
	t := new(letterTable)
	code, before := 0, 0
	for _, group := range letterLengths {
		code <<= group.length - before
		before = group.length
		for i := range len(group.letters) {
			reversed := bits.Reverse16(uint16(code)) >> (16 - group.length)
			t.codes[group.letters[i]] = letterCode{bits: reversed, length: uint8(group.length)}
			for at := int(reversed); at < len(t.found); at += 1 << group.length {
				t.found[at].letter, t.found[at].length = group.letters[i], uint8(group.length)
			}
			code++
		}
	}
	return t
})

// letterBits returns how many bits the codes of data take.
func letterBits(data []byte) uint64 {
	t, n := letters(), uint64(0)
	for _, b := range data {
		if c := t.codes[b]; c.length > 0 && b != otherLetter[0] {
			n += uint64(c.length)
		} else {
			n += uint64(t.codes[otherLetter[0]].length) + otherLetterBits
		}
	}
	return n
}

// appendLetters appends the codes of data.
func appendLetters(dst, data []byte) []byte {
	t, w := letters(), bitWriter{dst: dst}
	w.reserve(letterBits(data))
	for _, b := range data {
		if c := t.codes[b]; c.length > 0 && b != otherLetter[0] {
			w.write(uint64(c.bits), uint(c.length))
			continue
		}
		other := t.codes[otherLetter[0]]
		w.write(uint64(other.bits), uint(other.length))
		w.write(uint64(b), otherLetterBits)
	}
	return w.close()
}

// readLetters reads n bytes from their codes.
func readLetters(codes []byte, n uint64) ([]byte, bool) {
	if n > 8*uint64(len(codes))/shortestLetter {
		return nil, false
	}
	t, r, data := letters(), bitReader{data: codes}, make([]byte, n)
	for i := range data {
		f := t.found[r.peek()&(1<<longestLetter-1)]
		if f.length == 0 {
			return nil, false
		}
		r.at += uint64(f.length)
		if data[i] = f.letter; f.letter == otherLetter[0] {
			data[i] = byte(r.read(otherLetterBits))
		}
	}
	return data, (r.at+7)/8 == uint64(len(codes))
}
