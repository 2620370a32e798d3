package bus

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
)

// cutter is a TCP proxy that cuts each connection after some bytes, in either direction, so that messages and answers
// are lost in the middle.
type cutter struct {
	listener net.Listener
	to       string
	wg       sync.WaitGroup

	mu    sync.Mutex // guards what follows
	least int        // bytes until a cut; 0: none
	cuts  int
	open  map[net.Conn]bool
}

func newCutter(t testing.TB, to string) *cutter {
	t.Helper()
	c := &cutter{listener: must(net.Listen("tcp", "127.0.0.1:0"))(t), to: to, open: map[net.Conn]bool{}}
	c.wg.Go(func() {
		for {
			client, err := c.listener.Accept()
			if err != nil {
				return
			}
			c.wg.Go(func() { c.serve(client) })
		}
	})
	t.Cleanup(func() {
		c.listener.Close()
		c.mu.Lock()
		for conn := range c.open {
			conn.Close()
		}
		c.mu.Unlock()
		c.wg.Wait()
	})
	return c
}

func (c *cutter) set(least int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.least = least
}

func (c *cutter) serve(client net.Conn) {
	server, err := net.Dial("tcp", c.to)
	if err != nil {
		client.Close()
		return
	}
	c.mu.Lock()
	c.open[client], c.open[server] = true, true
	least := c.least
	c.mu.Unlock()
	var wg sync.WaitGroup
	for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
		wg.Go(func() {
			defer client.Close()
			defer server.Close()
			var from io.Reader = way[0]
			if least > 0 {
				limit := least + rand.IntN(least)
				if way[0] == server {
					limit = 2_000 + limit/50 // answers are short
				}
				from = io.LimitReader(from, int64(limit))
			}
			_, _ = io.Copy(way[1], from)
		})
	}
	wg.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.open, client)
	delete(c.open, server)
	c.cuts++
}

// TestCuts breaks the writer's connection again and again, in the middle of batches and of answers.
func TestCuts(t *testing.T) {
	h := newHouse(t)
	full, limited, _, err := h.authority.Provider("acme")
	if err != nil {
		t.Fatal(err)
	}
	if err := h.connect(full).Prepare(t.Context(), LogOptions{}); err != nil {
		t.Fatal(err)
	}
	proxy := newCutter(t, strings.TrimPrefix(h.server.URL(), "nats://"))
	conn := must(Connect(t.Context(), Options{
		URL: "nats://" + proxy.listener.Addr().String(), Credentials: limited, Logger: logger(t),
	}))(t)
	t.Cleanup(conn.Close)
	l := must(conn.OpenLog(t.Context()))(t)
	proxy.set(200_000)
	w, _ := claim(t, l, "one", 0)
	conn.nc.ForceReconnect()
	const n = 400
	go func() {
		for i := range n {
			if err := w.Append(fmt.Appendf(nil, "%d %s", i, strings.Repeat("z", rand.IntN(40_000)))); err != nil {
				t.Errorf("append %d: %v", i, err)
				return
			}
		}
	}()
	confirmed := map[uint64]string{}
	for i := range n {
		c, err := w.Next(t.Context())
		if err != nil {
			t.Fatalf("batch %d: %v", i, err)
		}
		confirmed[c.Sequence] = fmt.Sprint(i)
	}
	proxy.mu.Lock()
	if proxy.cuts < 10 {
		t.Errorf("the connection was cut %d times", proxy.cuts)
	}
	t.Logf("%d cuts", proxy.cuts)
	proxy.mu.Unlock()
	direct := must(h.connect(limited).OpenLog(t.Context()))(t)
	checkLog(t, direct, confirmed, n)
	if len(confirmed) != n {
		t.Errorf("%d sequences for %d batches", len(confirmed), n)
	}
}

// ledger is a writer's own record of what was confirmed.
type ledger struct {
	mu    sync.Mutex
	batch map[uint64]string // by sequence
}

// TestRestarts stops and starts the server many times under a writer that never stops appending: everything confirmed
// is in the log once and in order, and so is everything else.
func TestRestarts(t *testing.T) {
	h := newHouse(t)
	l := openLog(h, LogOptions{})
	w, _ := claim(t, l, "one", 0)
	stop, ended := make(chan struct{}), make(chan int, 1)
	go func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				ended <- i
				return
			default:
			}
			if err := w.Append(fmt.Appendf(nil, "%d %s", i, strings.Repeat("y", rand.IntN(5_000)))); err != nil {
				t.Errorf("append %d: %v", i, err)
				ended <- i
				return
			}
		}
	}()
	book := ledger{batch: map[uint64]string{}}
	counted := make(chan int, 1000)
	done := make(chan int, 1)
	go func() {
		for n := 0; ; n++ {
			c, err := w.Next(t.Context())
			if err != nil {
				if !errors.Is(err, ErrClosed) {
					t.Errorf("next: %v", err)
				}
				done <- n
				return
			}
			book.mu.Lock()
			book.batch[c.Sequence] = fmt.Sprint(n)
			book.mu.Unlock()
			select {
			case counted <- n:
			default:
			}
		}
	}()
	for range 20 {
		for range cap(counted) / 20 {
			<-counted
		}
		h.restart()
	}
	close(stop)
	total := <-ended
	soon(t, "all is confirmed", func() bool {
		book.mu.Lock()
		defer book.mu.Unlock()
		return len(book.batch) == total
	})
	w.Close()
	<-done
	checkLog(t, l, book.batch, total)
}

// checkLog compares the log with what was confirmed: batch n begins with "n ".
func checkLog(t testing.TB, l *Log, confirmed map[uint64]string, total int) {
	t.Helper()
	_, data := contents(t, l)
	n := 0
	for i, d := range data {
		if strings.HasPrefix(d, "claim") {
			continue
		}
		number, _, _ := strings.Cut(d, " ")
		if number != fmt.Sprint(n) {
			t.Fatalf("message %d holds batch %s, want %d", i+1, number, n)
		}
		if at, ok := confirmed[uint64(i)+1]; ok && at != number {
			t.Fatalf("message %d holds batch %s, and was confirmed for %s", i+1, number, at)
		}
		n++
	}
	if n < len(confirmed) || n > total {
		t.Errorf("the log holds %d batches, confirmed %d of %d", n, len(confirmed), total)
	}
}
