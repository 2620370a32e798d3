package httpgate

import (
	"errors"
	"sync"
	"time"

	"berth/ingest/gate/intake"
)

// dropAfter is how long a connection whose key is good no more is kept, so that who sends is told so, and what is in hand is
// answered.
const dropAfter = 2 * time.Second

// kept is a connection that is kept for further requests, of which one has shown a key. When that is good no more the
// connection ends with the next answer, or soon without one.
type kept struct {
	c *intake.Conn

	mu      sync.Mutex // guards what follows
	id      intake.Identity
	again   bool // the request before showed the same
	dropped bool
}

var _ intake.Session = (*kept)(nil)

// shows notes whose key the request on a connection shows.
func shows(c *intake.Conn, id intake.Identity) {
	if k, ok := c.Session().(*kept); ok {
		k.mu.Lock()
		k.again, k.id = k.id == id, id
		k.mu.Unlock()
		return
	}
	c.Enter(&kept{c: c, id: id})
}

// again reports whether the last two requests on a connection showed the same, and its key is still good.
func again(c *intake.Conn) bool {
	k, ok := c.Session().(*kept)
	if !ok {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.again && !k.dropped
}

// Identity returns who showed which key last.
func (k *kept) Identity() intake.Identity {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.id
}

// Drop ends the connection soon. When the gate is stopped that is left to the server's own end.
func (k *kept) Drop(why error) {
	if errors.Is(why, intake.ErrStopping) {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.dropped {
		k.dropped = true
		time.AfterFunc(dropAfter, func() { _ = k.c.Close() }) // it had its time
	}
}

// ends reports whether the connection is to end with the answer.
func ends(c *intake.Conn) bool {
	k, ok := c.Session().(*kept)
	if !ok {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.dropped
}
