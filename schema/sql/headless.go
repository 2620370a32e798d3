package sql

import (
	"bytes"
	"encoding/binary"
)

// headMark begins the data of a rollup whose beginning is in the catalog's heads. No rollup begins so.
var headMark = []byte("BRH")

// Headless returns what is stored of a rollup whose beginning is in heads under the number.
func Headless(head int64, rest []byte) []byte {
	data := binary.AppendUvarint(append(make([]byte, 0, len(headMark)+binary.MaxVarintLen64+len(rest)), headMark...), uint64(head))
	return append(data, rest...)
}

// Whole returns what is stored of data that is kept whole.
func Whole(data []byte) []byte {
	if bytes.HasPrefix(data, headMark) {
		return Headless(0, data)
	}
	return data
}

// SplitHead returns the number of the head that stored data lacks, 0 when it lacks none, and the rest; false says that it is
// neither.
func SplitHead(stored []byte) (head int64, rest []byte, ok bool) {
	marked, found := bytes.CutPrefix(stored, headMark)
	if !found {
		return 0, stored, true
	}
	id, n := binary.Uvarint(marked)
	if n <= 0 || id > 1<<62 {
		return 0, nil, false
	}
	return int64(id), marked[n:], true
}
