package promises

import (
	"net"
	"sync"
	"testing"
)

// cable carries the connections of one program to a server, and can be stalled or cut.
type cable struct {
	listener net.Listener
	server   string
	wg       sync.WaitGroup

	mu      sync.Mutex // guards what follows
	changed sync.Cond
	stalled bool // bytes wait in it
	broken  bool // nobody gets through
	conns   map[net.Conn]struct{}
}

// lay lays a cable to a server until the test ends.
func lay(t *testing.T, server string) *cable {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cable{listener: l, server: server, conns: map[net.Conn]struct{}{}}
	c.changed.L = &c.mu
	c.wg.Go(c.accept)
	t.Cleanup(func() {
		_ = l.Close()
		c.cut()
		c.wg.Wait()
	})
	return c
}

func (c *cable) address() string { return c.listener.Addr().String() }

// stall holds back whatever is sent from now on.
func (c *cable) stall() { c.set(true, false) }

// cut ends all connections, with what is under way in them, and takes none.
func (c *cable) cut() {
	c.set(false, true)
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.conns {
		_ = conn.Close()
	}
}

// mend lets pass what was held back, and takes connections again.
func (c *cable) mend() { c.set(false, false) }

func (c *cable) set(stalled, broken bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stalled, c.broken = stalled, broken
	c.changed.Broadcast()
}

func (c *cable) accept() {
	for {
		client, err := c.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", c.server)
		if err != nil || !c.keep(client, server) {
			_ = client.Close()
			continue
		}
		c.wg.Go(func() { c.carry(client, server) })
		c.wg.Go(func() { c.carry(server, client) })
	}
}

// keep notes both ends of a connection, unless the cable is cut.
func (c *cable) keep(client, server net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken {
		_ = server.Close()
		return false
	}
	c.conns[client], c.conns[server] = struct{}{}, struct{}{}
	return true
}

// carry carries one direction until either end closes.
func (c *cable) carry(from, to net.Conn) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		c.mu.Lock()
		for c.stalled {
			c.changed.Wait()
		}
		c.mu.Unlock()
		if err == nil {
			_, err = to.Write(buffer[:n])
		}
		if err != nil {
			break
		}
	}
	_, _ = from.Close(), to.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.conns, from)
	delete(c.conns, to)
}
