// Package block is the format in which readings are stored: the readings of one gateway over a span of time within one
// UTC day, a column per sensor and kind, compressed. It gives the codec (Encode, Open), a Builder that collects
// readings and resolves identities, and Merge, which reads several blocks as one. Where blocks are kept, and when one is
// cut, is left to others. Its invariant: what is read is bit for bit what was written, or an error that names the block.
//
// # Versions 1 to 3
//
// Version 2 is written only where readings came late, version 3 only where a stream is of form 6 or 7: a release before it reads what
// it would have written itself.
//
// Uvarint and zigzag are those of schema/internal/wire; times are in units of 10^u ns, the largest that all times of
// the block are multiples of.
//
//	3 bytes  "BBK"
//	byte     version
//	packed   gateway
//	byte     u, 0 to 9
//	zigzag   first time
//	uvarint  last time - first
//	uvarint  sequence of the first position
//	uvarint  ordinal of the first position
//	uvarint  sequence of the last position - that of the first
//	uvarint  ordinal of the last position
//	times    uvarint count, then each time column
//	uvarint  number of columns
//	heads    of the columns' names, front-coded (wire.AppendNameHead)
//	packed   the rests of the names, one after another
//	entries  the directory: what entry draws, for each column
//	payloads of each column
//	[lates]  not of version 1: what came late
//	4 bytes  CRC-32C of all before, lowest byte first
//
// A time column is itself, or which times of column 0 it has:
//
//	uvarint  count << 1                           uvarint  count << 1 | 1
//	uvarint  its first time - the block's first   byte     1 if it has the first of them | 2 if it has the last
//	uvarint  its last time - its first            uvarint  length of the stream
//	uvarint  length of the stream                 stream   a 1 or 0 for each
//	stream   the times - the block's first
//
// A payload is, by coding:
//
//	ints      stream of the integers; bools are 0 and 1
//	decimal   stream of n, the float is n / 10^scale; before it, if the entry says so, the exceptions: uvarint count,
//	          then for each: uvarint distance from the one before, 8 bytes
//	single    likewise, the quotient rounded to a float32
//	distinct  uvarint count, 8 bytes each; stream of indexes
//	ordered   stream of the floats' bits as integers in the order of floats (sign and magnitude to two's complement)
//	texts     uvarint count; the texts, each behind its length, as packed bytes; stream of indexes
//
// Packed bytes are in the shortest of three forms: as they are (0), zstd (1), or a code made for names (2), which
// letterLengths draws:
//
//	uvarint   length << 2 | form
//	[uvarint] length of what follows, unless the form is 0
//	bytes     the bytes, the zstd frame, or the codes, lowest bit first
//
// Lates are a byte: 0 where every reading came late, 2 (in version 3) where none did, else 1, and then there is a number for each column: 0 where none came
// late, 1 where those did that are at the same places as in the column before, else how many lengths follow, plus one:
//
//	uvarint   0, 1, or 2n + 1
//	[uvarint] 2n lengths, by turns of a stretch that came on time and of one that came late; the rest came on time
//
// # Streams of integers
//
// The directory has a stream's first, last, smallest and largest integer. If the last two are equal, the stream takes
// no bytes. Else it is of numbers x = (v - smallest) / d in 0..m, where d is a divisor that all differences share:
//
//	byte      form | 0x80 if d > 1
//	[uvarint] d
//	          form 0, packed:  x in 0..m
//	          form 1, deltas:  zigzag smallest difference, uvarint range r of them; differences less the smallest, in 0..r
//	          form 2, Rice:    byte k, uvarint level; x - level
//	          form 3, Rice:    byte k; differences less the mean difference (last x - first x) / (count - 1)
//	          form 4, Rice:    byte k; each difference less the one before, the first less the mean
//	          form 5, runs:    uvarint count, uvarint range r; of each its x in 0..m, and its length - 1 in 0..r
//	          form 6, digits:  zigzag smallest difference, uvarint range r of them but for exceptions; uvarint count of these, then
//	                           for each: uvarint distance from the one before, zigzag difference less the smallest;
//	                           differences less the smallest, in 0..r, an exception as 0
//	          form 7, moves:   of the differences that are not 0, those above it less one: zigzag smallest, uvarint range r of them,
//	                           uvarint count; byte k; they less the smallest, in 0..r; then from the last to the first how many
//	                           differences of 0 follow it, each as a Rice code of z
//
// Codes are written lowest bit first, and the last byte is padded with zeros. A number in 0..m has the truncated binary
// code: with w = bits of m and s = 2^w - m - 1, x < s takes w-1 bits; else x+s takes w bits, all but its lowest first.
// Numbers of forms 6 and 7 have that code if r is 1024 or more. Else c of them, the first as the lowest, are the digits of a number in
// base r + 1, which takes the w bits of the largest such number, lowest first; the last may have fewer digits and bits. Of all c
// with w of at most 56 bits, and w and the bits of r + 1 together at most 64, the one is taken where w / c is least, of equals
// the lower.
//
// A Rice code is of the zigzag z: z >> k zeros, a one, the low k bits of z; or 20 zeros, a one, and the 64 bits of z.
package block
