package format

import "bytes"

// WholeLines returns how many bytes at the front of data, which begins at a line's beginning, are whole lines of line
// protocol: data that come in pieces may be cut there, and mean what they mean together.
func WholeLines(data []byte) int {
	last := bytes.LastIndexByte(data, '\n')
	if last < 0 || bytes.IndexByte(data, '"') < 0 {
		return last + 1
	}
	for i := 0; ; {
		next, whole := lineEnd(data, i)
		if !whole {
			return i
		}
		i = next
	}
}

// lineEnd returns where the line after the one that begins at i begins, and whether the one that does ends before. A line's
// end within a text does not end the line; a text begins with a quotation mark right after an equals sign, after the first
// space that is not escaped.
func lineEnd(p []byte, i int) (next int, whole bool) {
	i = blanks(p, i)
	n := bytes.IndexByte(p[i:], '\n')
	if n < 0 {
		return len(p), false
	}
	if p[i] == '#' || bytes.IndexByte(p[i:i+n], '"') < 0 {
		return i + n + 1, true
	}
	for i < len(p) && p[i] != '\n' && (p[i] != ' ' || p[i-1] == '\\') {
		i++
	}
	for i < len(p) && p[i] != '\n' {
		if p[i] == '"' && p[i-1] == '=' && p[i-2] != '\\' {
			end, _ := quoteEnd(p, i+1)
			if end < 0 {
				return len(p), false
			}
			i = end
		}
		i++
	}
	return min(i+1, len(p)), i < len(p)
}
