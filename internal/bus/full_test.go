package bus

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/internal/smalldisk"
)

// TestFullDisk fills the disk under a writer that never stops appending, empties it and revives the server, several
// times. Everything confirmed is in the log, once and in order, also what was confirmed just before; and while the log
// is broken the server gives no message as its last which is not on disk.
func TestFullDisk(t *testing.T) {
	disk := smalldisk.Mount(t, 64<<20)
	h := &house{t: t, dir: disk.Dir}
	h.authority = must(OpenAuthority(h.dir + "/authority"))(t)
	h.start()
	t.Cleanup(func() { h.server.Stop() })
	_, pipeline := h.provider("acme", LogOptions{Quota: 64 << 20, RejectsQuota: 1 << 20})
	l := must(pipeline.OpenLog(t.Context()))(t)
	w, _ := claim(t, l, "one", 0)

	sent := newAppending(t, w)
	rounds := 3
	if testing.Short() {
		rounds = 1
	}
	for range rounds {
		sent.await(40)
		disk.Fill(rand.Uint64N(256 << 10))
		soon(t, "the log is broken", func() bool { return h.server.Healthy() != nil })
		state := must(l.State(t.Context()))(t)
		last := must(l.get(t.Context(), `{"last_by_subj":"`+logSubject+`"}`))(t)
		if last.sequence != state.Last || last.sequence < sent.last() {
			t.Errorf("the log ends at %d, its last message is %d, confirmed is %d", state.Last, last.sequence, sent.last())
		}
		disk.Empty()
		if err := h.server.Revive(); err != nil {
			t.Fatal(err)
		}
		var after message
		soon(t, "the log answers", func() (ok bool) { // the connection was cut, and a request with it
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			var err error
			after, err = l.get(ctx, fmt.Sprintf(`{"seq":%d}`, last.sequence))
			return err == nil
		})
		if after.id != last.id {
			t.Errorf("message %d was %q while the disk was full, and is %q", last.sequence, last.id, after.id)
		}
	}
	sent.await(40)
	sent.stop()
	checkLog(t, l, sent.confirmed, len(sent.confirmed))
}

// appending appends batches one after the other and keeps what was confirmed.
type appending struct {
	t    *testing.T
	done chan struct{}
	wg   sync.WaitGroup

	mu        sync.Mutex // guards what follows
	confirmed map[uint64]string
	newest    uint64
}

func newAppending(t *testing.T, w *Writer) *appending {
	a := &appending{t: t, done: make(chan struct{}), confirmed: map[uint64]string{}}
	appended := make(chan string, Window+backlog)
	a.wg.Go(func() {
		defer close(appended)
		pace := time.NewTicker(2 * time.Millisecond)
		defer pace.Stop()
		for i := 0; ; i++ {
			select {
			case <-a.done:
				return
			case <-pace.C: // so that the disk fills up, not the log
			}
			text := fmt.Sprint(i)
			if err := w.Append([]byte(text + " " + strings.Repeat("z", rand.IntN(10_000)))); err != nil {
				t.Errorf("append %d: %v", i, err)
				return
			}
			appended <- text
		}
	})
	a.wg.Go(func() {
		for text := range appended {
			c, err := w.Next(t.Context())
			if err != nil {
				t.Errorf("batch %s: %v", text, err)
				return
			}
			a.mu.Lock()
			a.confirmed[c.Sequence], a.newest = text, c.Sequence
			a.mu.Unlock()
		}
	})
	return a
}

func (a *appending) last() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.newest
}

// await waits until so many more batches are confirmed.
func (a *appending) await(more int) {
	goal := a.last() + uint64(more)
	soon(a.t, "batches are confirmed", func() bool { return a.last() >= goal })
}

func (a *appending) stop() {
	close(a.done)
	a.wg.Wait()
}
