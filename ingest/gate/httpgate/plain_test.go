package httpgate

import (
	"bufio"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// FuzzPlain: what is taken for a plain request net/http reads as the same request, and what is whole cannot be wanted more of.
func FuzzPlain(f *testing.F) {
	const head = "POST /write HTTP/1.1\r\nHost: a\r\nAuthorization: Token k\r\nContent-Length: "
	for _, seed := range []string{
		head + "6\r\n\r\nm a=1\n" + head + "7\r\n\r\nm a=12\n", head + "6\r\nX: y\r\n\r\nm a=1\n", head + "6\r\nContent-Length: 6\r\n\r\nm a=1\n",
		head + "6\r\nContent-Length: 6\r\n\r\nm a=1\n" + head + "7\r\nContent-Length: 6\r\n\r\nm a=12\n",
		"POST /write HTTP/1.1\r\nHost: a\r\nAuthorization: Token k\r\ncontent-length: 6\r\nContent-Length: 6\r\n\r\nm a=1\n",
		head + "06\r\n\r\nm a=1\n", head + "6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", head + "0\r\n\r\n", head + "-1\r\n\r\n", head + "6\n\nm a=1\n",
		head + "6\r\nUser-Agent: x\r\nAccept: */*\r\n\r\nm a=1\n", head + "6\r\n Accept: x\r\n\r\nm a=1\n", "POST /write?precision=s&gateway=g HTTP/1.1\r\nHost: a\r\n\r\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p := plain{key: "k"}
		data := []byte(text)
		wire := bufio.NewReader(strings.NewReader(text))
		for len(data) > 0 {
			begin, end, missing, ok := p.next(data)
			if !ok || missing > 0 {
				return
			}
			r, err := http.ReadRequest(wire)
			if err != nil {
				t.Fatalf("%q is plain and net/http says %v", data[:end], err)
			}
			body, err := io.ReadAll(r.Body)
			if err != nil || string(body) != string(data[begin:end]) || r.ContentLength != int64(len(body)) {
				t.Fatalf("%q is the body, and net/http reads %q, %v", data[begin:end], body, err)
			}
			if len(r.TransferEncoding) > 0 || r.Header.Get("Content-Length") != strconv.Itoa(len(body)) || routes[r.URL.Path].typed || r.Method != http.MethodPost {
				t.Fatalf("%q is no plain request", data[:end])
			}
			if _, key := shownBy(r, r.URL.Query()); key != "k" {
				t.Fatalf("%q shows another key", data[:end])
			}
			data = data[end:]
		}
	})
}
