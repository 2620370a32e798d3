package commit

import (
	"container/list"
	"context"
	"sync"
	"sync/atomic"
	"time"

	"berth/schema/batch"
)

// What a client of MQTT may rely on after a restart is in the log, and nowhere else: its session rides in the message that
// holds what it sent, so that the one is never there without the other, and a client can be told of its session while the
// keyspace is away. But the log is trimmed. So what was written longest ago is written again before it is far behind the
// log's end, each message says from where on all sessions are found, and no trim goes beyond that.
//
//	log   ▏trimmed ▏ stored, for the sessions ▏ not yet stored ▏
//	                ▲ SessionsFrom                              ▲ end
//
// So a start reads little to know all sessions, and a log that is full is trimmed down to little without anything having
// to be written first.
const (
	// sessionsShare is how many times what all sessions take there may be of log behind one before it is written again, if
	// that is more than Options.Behind.
	sessionsShare = 16
	// maxMoved is how many bytes of sessions one message writes again.
	maxMoved = 64 << 10
	// maxSessions is how many bytes all sessions may take in the log. Beyond that the one that was written longest ago ends.
	maxSessions = 4 << 20
)

// Kept is a session that the log knows.
type Kept struct {
	batch.Session
	After uint64 // it is in a message after this one
}

// sessions are the sessions as the next message will find them.
type sessions struct {
	from   atomic.Uint64 // the SessionsFrom of the last message that was confirmed
	behind int64         // Options.Behind

	mu    sync.Mutex // guards what follows
	all   map[string]*list.Element
	order list.List // of *written, the one that was written longest ago first
	bytes int       // of all
	log   int64     // bytes of messages until now
	said  uint64    // the SessionsFrom of the last message
}

// written is a session, and where in the log it is.
type written struct {
	Kept
	at int64 // of sessions.log
}

// begin takes up what the log knows, in the order in which it was written.
func (t *sessions) begin(o *Options) {
	t.from.Store(o.SessionsFrom)
	t.said, t.behind = o.SessionsFrom, o.Behind
	t.all = make(map[string]*list.Element)
	for i := range o.Sessions {
		t.put(&written{Kept: o.Sessions[i], at: -1 << 40}) // how far behind they are is not known
	}
}

// put takes up a session in place of one with the same key.
func (t *sessions) put(w *written) {
	t.drop(w.Key)
	if w.Expiry == 0 {
		return
	}
	t.all[w.Key] = t.order.PushBack(w)
	t.bytes += w.Size()
}

func (t *sessions) drop(key string) {
	if e := t.all[key]; e != nil {
		t.bytes -= session(e).Size()
		t.order.Remove(e)
		delete(t.all, key)
	}
}

// session returns what an element of the order holds.
func session(e *list.Element) *written {
	w, _ := e.Value.(*written) // it holds nothing else
	return w
}

// cut puts into a message's header what has changed and what has to be written again. after is the last message that was
// confirmed, now the time. It returns what the message before it says of where the sessions are.
func (t *sessions) cut(h *batch.Header, changed []*batch.Session, after uint64, now int64) (before uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before = t.said
	if len(changed) > 0 {
		t.change(h, changed, after)
	}
	t.move(h, after, now)
	if first := t.order.Front(); first != nil {
		h.SessionsFrom = session(first).After + 1
	}
	t.said = h.SessionsFrom
	return before
}

// change takes up what has changed.
func (t *sessions) change(h *batch.Header, changed []*batch.Session, after uint64) {
	mine := make(map[string]int, len(changed))
	for _, s := range changed {
		t.put(&written{Kept: Kept{*s, after}, at: t.log})
		if i, again := mine[s.Key]; again {
			h.Sessions[i] = *s
			continue
		}
		mine[s.Key] = len(h.Sessions)
		h.Sessions = append(h.Sessions, *s)
	}
}

// move ends what is to be no more, and writes again what is far behind. What was written longest ago comes first, so where
// one need not move none behind it does.
func (t *sessions) move(h *batch.Header, after uint64, now int64) {
	behind := max(t.behind, int64(sessionsShare*t.bytes))
	for moved := 0; t.order.Len() > 0 && moved < maxMoved; {
		w := session(t.order.Front())
		switch {
		case w.Left != 0 && now > w.Left+int64(w.Expiry)*int64(time.Second):
			t.drop(w.Key) // whoever reads it sees that too
		case t.log-w.at > behind:
			moved += w.Size()
			h.Sessions = append(h.Sessions, w.Session)
			t.put(&written{Kept: Kept{w.Session, after}, at: t.log})
		case t.bytes > maxSessions && w.at < t.log:
			moved += len(w.Key)
			t.drop(w.Key)
			h.Sessions = append(h.Sessions, batch.Session{Key: w.Key})
		default:
			return
		}
	}
}

// encoded notes how long a message is.
func (t *sessions) encoded(size int) {
	t.mu.Lock()
	t.log += int64(size)
	t.mu.Unlock()
}

// Sessions returns the sessions that the log knew at the start. It is for who carries them on, once.
func (c *Committer) Sessions() []Kept {
	known := c.o.Sessions
	c.o.Sessions = nil
	return known
}

// KnowsSession reports whether the log knows a session by this key, or is about to.
func (c *Committer) KnowsSession(key string) bool {
	c.sessions.mu.Lock()
	defer c.sessions.mu.Unlock()
	return c.sessions.all[key] != nil
}

// Trimmable returns up to where the log may be trimmed of what is stored up to a sequence: the sessions need the rest.
func (c *Committer) Trimmable(stored uint64) uint64 {
	if from := c.sessions.from.Load(); from > 0 {
		return min(stored, from-1)
	}
	return stored
}

// PutSession has the log know a session, and returns when it does. When it returns an error, it is unknown whether it does.
func (c *Committer) PutSession(ctx context.Context, s *batch.Session) error {
	return c.put(ctx, &Submission{Rows: TakeRows(), Session: s})
}

// TryPutSession has the log know a session soon, if there is room for that in the queue. For its end there is always room: a
// session has one, and would else be there again after a restart. So there is no more of them in the queue than of the sessions
// that end by them.
func (c *Committer) TryPutSession(s *batch.Session) {
	if s.Expiry == 0 && !c.mustEnd(s.Key) {
		return
	}
	sub := Submission{Rows: TakeRows(), Session: s, Waiter: Nobody{}}
	taken, err := c.TrySubmit(&sub)
	if !taken && s.Expiry == 0 {
		q := queue(&sub)
		q.memory = 0
		taken, err = true, c.enqueue(&q)
	}
	if !taken || err != nil {
		GiveRows(sub.Rows)
	}
}

// mustEnd reports whether there is a session by this key, in the queue or the log, that nothing in the queue ends yet.
func (c *Committer) mustEnd(key string) bool {
	c.mu.Lock()
	last, queued := c.changes[key]
	c.mu.Unlock()
	if queued {
		return !last.ends
	}
	return c.KnowsSession(key) // what has left the queue is known
}

// change is what the queue holds of one session.
type change struct {
	n    int  // submissions
	ends bool // the last of them is its end
}

// changed notes a session that is put into the queue. It is called with mu held.
func (c *Committer) changed(s *batch.Session) {
	c.changes[s.Key] = change{n: c.changes[s.Key].n + 1, ends: s.Expiry == 0}
}

// tookUp notes that sessions have left the queue, and are known.
func (c *Committer) tookUp(all []*batch.Session) {
	if len(all) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range all {
		left := c.changes[s.Key]
		if left.n--; left.n > 0 {
			c.changes[s.Key] = left
		} else {
			delete(c.changes, s.Key)
		}
	}
}

// Nobody is the Waiter of what nobody waits for. What the log did not take is counted all the same.
type Nobody struct{}

// Committed tells nobody.
func (Nobody) Committed(uint64, error) {}
