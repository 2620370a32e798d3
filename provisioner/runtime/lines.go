package runtime

import "bytes"

// LastLines returns the last n lines of data, all for 0.
func LastLines(data []byte, n int) []byte {
	if n <= 0 {
		return data
	}
	end := len(bytes.TrimSuffix(data, []byte("\n")))
	for range n {
		i := bytes.LastIndexByte(data[:end], '\n')
		if i < 0 {
			return data
		}
		end = i
	}
	return data[end+1:]
}
