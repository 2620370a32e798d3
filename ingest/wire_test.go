package ingest_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// wire stands between an instance and NATS, and shows each message on its way to a function of the test, which may have
// the wire stand still there: what it holds back never arrives.
type wire struct {
	listener net.Listener
	server   string
	wg       sync.WaitGroup

	mu     sync.Mutex // guards what follows, and is held while pass runs
	pass   func(toServer bool, subject, reply string, payload []byte) (on bool)
	halted bool
	conns  []net.Conn
}

func newWire(t *testing.T, url string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{listener: l, server: strings.TrimPrefix(url, "nats://")}
	w.wg.Go(w.accept)
	t.Cleanup(func() {
		_ = l.Close()
		w.hangUp()
		w.wg.Wait()
	})
	return w
}

func (w *wire) url() string { return "nats://" + w.listener.Addr().String() }

// set replaces the function that messages are shown to, and hangs up on who was there before.
func (w *wire) set(pass func(toServer bool, subject, reply string, payload []byte) bool) {
	w.hangUp()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pass, w.halted = pass, false
}

func (w *wire) hangUp() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.conns {
		_ = c.Close()
	}
	w.conns = nil
}

func (w *wire) accept() {
	for {
		client, err := w.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", w.server)
		if err != nil {
			_ = client.Close()
			continue
		}
		w.mu.Lock()
		w.conns = append(w.conns, client, server)
		w.mu.Unlock()
		w.wg.Go(func() { w.carry(client, server, true) })
		w.wg.Go(func() { w.carry(server, client, false) })
	}
}

// carry carries one direction, message by message.
func (w *wire) carry(from, to net.Conn, toServer bool) {
	defer func() { _, _ = from.Close(), to.Close() }()
	in := bufio.NewReaderSize(from, 64<<10)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		subject, reply, size := parseOp(line)
		payload := make([]byte, size)
		if _, err := io.ReadFull(in, payload); err != nil {
			return
		}
		w.mu.Lock()
		if subject != "" && !w.halted && w.pass != nil {
			w.halted = !w.pass(toServer, subject, reply, payload)
		}
		halted := w.halted
		w.mu.Unlock()
		if halted { // nobody is there any more who could be told
			continue
		}
		if _, err := to.Write(append(line, payload...)); err != nil {
			return
		}
	}
}

// parseOp returns the subject, the reply's subject and the length of what follows a line of the NATS protocol.
func parseOp(line []byte) (subject, reply string, size int) {
	f := strings.Fields(string(line))
	if len(f) < 3 {
		return "", "", 0
	}
	var rest []string
	switch strings.ToUpper(f[0]) {
	case "PUB":
		rest = f[2 : len(f)-1]
	case "HPUB":
		rest = f[2 : len(f)-2]
	case "MSG":
		rest = f[3 : len(f)-1]
	case "HMSG":
		rest = f[3 : len(f)-2]
	default:
		return "", "", 0
	}
	if len(rest) > 0 {
		reply = rest[0]
	}
	n, err := strconv.Atoi(f[len(f)-1])
	if err != nil {
		panic(fmt.Sprintf("a line of NATS that cannot be: %q", line))
	}
	return f[1], reply, n + len("\r\n")
}
