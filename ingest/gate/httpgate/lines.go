package httpgate

import "bytes"

// wholeLines returns how many bytes at the front of data, which begins at a line's beginning, are whole lines of line
// protocol. A line's end within a text does not end the line; a text begins with a quotation mark right after an equals
// sign, after the first space that is not escaped.
func wholeLines(data []byte) int {
	last := bytes.LastIndexByte(data, '\n')
	if last < 0 || bytes.IndexByte(data, '"') < 0 {
		return last + 1
	}
	whole := 0
	for whole < len(data) {
		next, ok := lineAfter(data, whole)
		if !ok {
			break
		}
		whole = next
	}
	return whole
}

// lineAfter returns where the line after the one that begins at i begins; false when the data ends before.
func lineAfter(p []byte, i int) (next int, ok bool) {
	end := bytes.IndexByte(p[i:], '\n')
	if end < 0 {
		return 0, false
	}
	end += i
	for p[i] == ' ' || p[i] == '\t' || p[i] == '\r' {
		i++
	}
	if p[i] == '#' || bytes.IndexByte(p[i:end], '"') < 0 {
		return end + 1, true
	}
	for i < len(p) && p[i] != '\n' && (p[i] != ' ' || p[i-1] == '\\') {
		i++
	}
	for i < len(p) && p[i] != '\n' {
		if p[i] == '"' && p[i-1] == '=' && p[i-2] != '\\' {
			if i = textEnd(p, i+1); i < 0 {
				return 0, false
			}
		}
		i++
	}
	return i + 1, i < len(p)
}

// textEnd returns the index of the quotation mark that ends the text which begins at i, -1 if there is none. A
// backslash takes a quotation mark or backslash after it along.
func textEnd(p []byte, i int) int {
	for ; i < len(p); i++ {
		switch {
		case p[i] == '"':
			return i
		case p[i] == '\\' && i+1 < len(p) && (p[i+1] == '"' || p[i+1] == '\\'):
			i++
		}
	}
	return -1
}
