package gateways

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"strconv"

	"berth/schema"
)

// speakHTTP posts frames, lines to the Influx write endpoint, pipelined on a kept connection: up to the window without
// waiting, as RFC 9112 §9.3.2 has it. 204 is the acknowledgement; after any other answer the rest is sent again on another
// connection.
func (f *Fleet) speakHTTP(ctx context.Context, g *gateway) error {
	head := f.requestHead(g)
	return f.converse(ctx, g, dialect{
		hello: func(context.Context, net.Conn, *bufio.Reader) error { return nil },
		put: func(out *bufio.Writer, _ int64, payload []byte) {
			_, _ = out.Write(head) // an error stays with the writer
			_, _ = out.Write(strconv.AppendInt(out.AvailableBuffer(), int64(len(payload)), 10))
			_, _ = out.WriteString("\r\n\r\n")
			_, _ = out.Write(payload)
		},
		acked: func(ctx context.Context, conn net.Conn, in *bufio.Reader, before int64) (int64, error) {
			status, err := f.readLine(ctx, conn, in)
			if err != nil {
				return 0, err
			}
			if !bytes.HasPrefix(status, []byte("HTTP/1.1 204")) {
				text := bytes.Clone(status)
				said, _ := in.Peek(in.Buffered()) // nothing is read for it
				return 0, schema.Errorf(schema.Invalid, "a request was answered %q, %q", text, said)
			}
			for {
				line, err := f.readLine(ctx, conn, in)
				if err != nil {
					return 0, err
				}
				if len(line) == 0 {
					return before + 1, nil
				}
			}
		},
	})
}

// requestHead returns what every request of a gateway begins with, up to the number of its body's bytes.
func (f *Fleet) requestHead(g *gateway) []byte {
	path, contentType := "/write", "text/plain; charset=utf-8"
	if f.senml() {
		path, contentType = "/api/v1/readings", "application/"+f.options.Format
	}
	return fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Basic %s\r\nContent-Type: %s\r\nContent-Length: ",
		path, f.options.Address, base64.StdEncoding.EncodeToString([]byte(g.name+":"+f.options.Key)), contentType)
}
