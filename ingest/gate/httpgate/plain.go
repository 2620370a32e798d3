package httpgate

import (
	"bufio"
	"bytes"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"berth/ingest/format"
)

// Bounds of a plain request, in bytes.
const (
	maxPlainHead = 2 << 10
	maxPlainBody = 16 << 10
)

var (
	headEnd   = []byte("\r\n\r\n")
	lengthKey = []byte("\r\nContent-Length: ")
	anyLength = []byte("\r\ncontent-length:")
)

// plain knows the requests of one connection that are as simple as gateways' are, and like the one before: a POST of lines
// whose head differs in the number of the body's bytes at most. Such a head is read once and then known by its bytes, so that
// a request costs about as much as its lines; everything else is net/http's.
type plain struct {
	name, key string // that every request shows

	before, after []byte // of the head, around the number; nil: none was read yet
	precision     time.Duration
}

// next returns where the body of the request at the front of data begins and ends. missing is how many bytes it lacks at
// least; ok is false when it is not plain.
func (p *plain) next(data []byte) (begin, end, missing int, ok bool) {
	if p.before == nil || !bytes.HasPrefix(data, p.before) {
		head := bytes.Index(data[:min(len(data), maxPlainHead)], headEnd)
		if head < 0 {
			return 0, 0, 1, len(data) < maxPlainHead && begins(data)
		}
		if !p.study(data[:head+len(headEnd)]) {
			return 0, 0, 0, false
		}
	}
	begin, length := len(p.before), 0
	for begin < len(data) && data[begin] >= '0' && data[begin] <= '9' {
		if length = 10*length + int(data[begin]-'0'); length > maxPlainBody {
			return 0, 0, 0, false
		}
		begin++
	}
	rest := data[begin:]
	if len(rest) < len(p.after) {
		return 0, 0, len(p.after) - len(rest), bytes.HasPrefix(p.after, rest)
	}
	if begin == len(p.before) || length == 0 || !bytes.HasPrefix(rest, p.after) {
		return 0, 0, 0, false
	}
	begin += len(p.after)
	return begin, begin + length, max(begin+length-len(data), 0), true
}

// begins reports whether data may be the beginning of a plain request.
func begins(data []byte) bool {
	for path, at := range routes {
		if at.typed {
			continue
		}
		line := "POST " + path
		if n := min(len(data), len(line)); string(data[:n]) == line[:n] {
			return true
		}
	}
	return false
}

// plainFields are what a plain request may say beside how long it is: nothing of it changes how its body is taken.
var plainFields = map[string]bool{
	"Accept": true, "Accept-Encoding": true, "Authorization": true, "Content-Length": true, "Content-Type": true, "User-Agent": true,
}

// isPlain reports whether a request that net/http has read may be one of many plain ones.
func isPlain(r *http.Request, at route) bool {
	return !at.typed && r.Proto == "HTTP/1.1" && !r.Close && r.ContentLength > 0 && r.ContentLength <= maxPlainBody &&
		r.Header.Get("Content-Encoding") == ""
}

// study reads a head by net/http's own parser and remembers it if it is plain.
func (p *plain) study(head []byte) bool {
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(head)))
	if err != nil {
		return false
	}
	_ = r.Body.Close() // nothing of it is there
	at, known := routes[r.URL.Path]
	if !known || at.typed || r.Method != http.MethodPost || r.Proto != "HTTP/1.1" || r.Close || r.Host == "" || r.ContentLength <= 0 {
		return false
	}
	for name, values := range r.Header {
		if !plainFields[name] || len(values) != 1 {
			return false
		}
	}
	if !printable(head) {
		return false
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return false
	}
	if name, key := shownBy(r, query); name != p.name || key != p.key {
		return false
	}
	precision, err := format.Precision(query.Get("precision"))
	if err != nil {
		return false
	}
	i := bytes.Index(head, lengthKey)
	if i < 0 || bytes.Count(bytes.ToLower(head), anyLength) != 1 { // net/http takes it twice if both are the same
		return false
	}
	number := strconv.FormatInt(r.ContentLength, 10)
	before, after := head[:i+len(lengthKey)], head[i+len(lengthKey):]
	if after, known = bytes.CutPrefix(after, []byte(number)); !known {
		return false
	}
	p.before, p.after, p.precision = bytes.Clone(before), bytes.Clone(after), precision
	return true
}

// printable reports whether a head consists of lines of printable ASCII.
func printable(head []byte) bool {
	for i, c := range head {
		switch {
		case c == '\r' && i+1 < len(head) && head[i+1] == '\n', c == '\n' && i > 0 && head[i-1] == '\r':
		case c < ' ' || c > '~':
			return false
		}
	}
	return true
}
