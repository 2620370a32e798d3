package bus

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/internal/bus/natstest"
	"berth/schema"
)

// load is somebody who appends to a log all the time, and what was confirmed.
type load struct {
	t   *testing.T
	log *Log
	w   *Writer
	wg  sync.WaitGroup
	end chan struct{}

	mu        sync.Mutex // guards what follows
	confirmed map[uint64]string
	last      time.Time     // of the newest confirmation
	longest   time.Duration // between two of them
}

// startLoad claims a log and appends batches of some size to it, until stop is called.
func startLoad(t *testing.T, l *Log, size int) *load {
	t.Helper()
	r := &load{t: t, log: l, end: make(chan struct{}), confirmed: map[uint64]string{}, last: time.Now()}
	r.w, _ = claim(t, l, "load", 0)
	sent := make(chan string, Window+backlog+1)
	r.wg.Go(func() {
		defer close(sent)
		for n := 0; ; n++ {
			select {
			case <-r.end:
				return
			default:
			}
			text := strconv.Itoa(n)
			if err := r.w.Append([]byte(text + " " + strings.Repeat("x", size))); err != nil {
				t.Errorf("append: %v", err)
				return
			}
			sent <- text
		}
	})
	r.wg.Go(func() {
		for text := range sent {
			c, err := r.w.Next(context.WithoutCancel(t.Context()))
			if err != nil {
				t.Errorf("next: %v", err)
				return
			}
			r.mu.Lock()
			r.confirmed[c.Sequence] = text
			r.longest = max(r.longest, time.Since(r.last))
			r.last = time.Now()
			r.mu.Unlock()
		}
	})
	return r
}

func (r *load) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.confirmed)
}

// pause returns the longest time between two confirmations since it was called last.
func (r *load) pause() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	longest := max(r.longest, time.Since(r.last))
	r.longest = 0
	return longest
}

// more waits until so many more are confirmed.
func (r *load) more(n int) {
	r.t.Helper()
	want := r.count() + n
	within(r.t, "batches are confirmed", func() bool { return r.count() >= want })
}

// check stops, and compares the log with what was confirmed.
func (r *load) check() {
	r.t.Helper()
	close(r.end)
	r.wg.Wait()
	next := uint64(0)
	state := must(r.log.State(r.t.Context()))(r.t)
	seen := map[string]bool{}
	if err := r.log.Read(r.t.Context(), 0, state.Last, func(seq uint64, data []byte) error {
		text, _, _ := strings.Cut(string(data), " ")
		switch want := r.confirmed[seq]; {
		case next != 0 && seq != next:
			return fmt.Errorf("message %d follows %d", seq, next-1)
		case want != "" && want != text:
			return fmt.Errorf("message %d is %q, and %q was confirmed", seq, text, want)
		case seen[text]:
			return fmt.Errorf("batch %q is there twice", text)
		}
		seen[text] = true
		delete(r.confirmed, seq)
		next = seq + 1
		return nil
	}); err != nil {
		r.t.Fatal(err)
	}
	for seq, text := range r.confirmed {
		if seq >= state.First {
			r.t.Errorf("batch %q was confirmed as message %d, and is lost", text, seq)
		}
	}
}

// patience bounds what elections hold up, on a machine that does much else.
const patience = 2 * time.Minute

// within fails the test unless the condition becomes true in time.
func within(t testing.TB, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for limit := time.Now().Add(patience); !condition(); <-tick.C {
		if time.Now().After(limit) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// TestAServerOfItsOwnIsKilledUnderLoad kills a server by SIGKILL while batches are appended, and loses its accounts once.
func TestAServerOfItsOwnIsKilledUnderLoad(t *testing.T) {
	h := newServers(t, 1, false)
	provisioner, pipeline := h.provider("acme", LogOptions{})
	l := startLoad(t, must(pipeline.OpenLog(t.Context()))(t), 20_000)
	for n := range 5 {
		l.more(100)
		h.nodes[0].Kill()
		if n == 2 {
			if err := os.RemoveAll(filepath.Join(h.dir, "n1", "accounts")); err != nil {
				t.Fatal(err)
			}
		}
		h.nodes[0].Run()
		l.more(100)
		t.Logf("kill %d: the longest without a confirmation was %v", n+1, l.pause().Round(time.Millisecond))
		select {
		case <-h.back:
		case <-time.After(patience):
			t.Fatal("nobody says that it is back")
		}
	}
	l.check()
	h.prepare(func(ctx context.Context) error { return provisioner.Prepare(ctx, LogOptions{}) })
	services := must(pipeline.Bucket(t.Context(), BucketOptions{Name: "services"}))(t)
	must(services.Put(t.Context(), "ingest.x", []byte("here")))(t)
}

// TestWhatAServerOfItsOwnSays is what the doctor is told: also what cannot be relied on, which is refused at the start.
func TestWhatAServerOfItsOwnSays(t *testing.T) {
	h := newServers(t, 1, false)
	states := must(h.remote.Survey(t.Context()))(t)
	if len(states) != 1 || states[0].Name != "n1" || states[0].Wrong() != "" || states[0].Trouble != "" || states[0].Version == "" {
		t.Errorf("the server says %+v", states)
	}
	if err := h.remote.Healthy(); err != nil {
		t.Error(err)
	}
	h.nodes[0].Kill()
	within(t, "it is seen that it is away", func() bool { return h.remote.Healthy() != nil })

	good := must(h.authority.ServerConfig(ServerConfig{Name: "bad", Listen: h.nodes[0].Address, Store: h.dir + "/bad"}))(t)
	for what, config := range map[string]string{
		"confirms what is not on disk": strings.Replace(good, "sync_interval: always", "sync_interval: 2m", 1),
		"takes messages of":            strings.Replace(good, fmt.Sprint("max_payload: ", maxPayload), "max_payload: 1000000", 1),
		"JetStream is off":             good[:strings.Index(good, "jetstream: {")],
	} {
		node := natstest.New(t, h.dir, "bad", h.nodes[0].Address, config)
		node.Run()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		r, err := OpenRemote(ctx, h.options(nil), h.authority, func() {})
		cancel()
		if err == nil {
			r.Stop()
		}
		if !schema.Is(err, schema.Invalid) || !strings.Contains(err.Error(), what) {
			t.Errorf("a server that %s: %v", what, err)
		}
		node.Kill()
	}
	stranger := must(OpenAuthority(t.TempDir()))(t)
	natstest.New(t, h.dir, "good", h.nodes[0].Address, good).Run()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if r, err := OpenRemote(ctx, h.options(nil), stranger, func() {}); !schema.Is(err, schema.Invalid) {
		t.Errorf("a server of another installation: %v", err)
		if err == nil {
			r.Stop()
		}
	}
}

// TestServerConfigsThatCannotBe are refused with what is wrong.
func TestServerConfigsThatCannotBe(t *testing.T) {
	a := must(OpenAuthority(t.TempDir()))(t)
	good := ServerConfig{Name: "n1", Listen: "0.0.0.0:4222", Store: "/var/lib/nats"}
	if _, err := a.ServerConfig(good); err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(c *ServerConfig){
		"no name":            func(c *ServerConfig) { c.Name = "" },
		"a name with blanks": func(c *ServerConfig) { c.Name = "n 1" },
		"no port":            func(c *ServerConfig) { c.Listen = "0.0.0.0" },
		"port 0":             func(c *ServerConfig) { c.Listen = "0.0.0.0:0" },
		"a relative store":   func(c *ServerConfig) { c.Store = "nats" },
		"half a certificate": func(c *ServerConfig) { c.Cert = "/cert.pem" },
		"half a cluster":     func(c *ServerConfig) { c.Cluster = "0.0.0.0:6222" },
		"a bad route":        func(c *ServerConfig) { c.Cluster, c.Routes = "0.0.0.0:6222", []string{"n2"} },
	} {
		c := good
		change(&c)
		if _, err := a.ServerConfig(c); !schema.Is(err, schema.Invalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestRevokedUsersAreCutOff removes a provider while its pipeline is connected: the connection is cut, and cannot be made
// again.
func TestRevokedUsersAreCutOff(t *testing.T) {
	onEveryServer(t, func(t *testing.T, h *house) {
		_, limited, _, err := h.authority.Provider("acme")
		if err != nil {
			t.Fatal(err)
		}
		conn := h.connect(limited)
		if err := conn.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := h.authority.Forget("acme"); err != nil {
			t.Fatal(err)
		}
		soon(t, "it is disconnected", func() bool { return conn.Ping(t.Context()) != nil })
		if again, err := Connect(t.Context(), h.options(limited)); !schema.Is(err, schema.Unauthorized) {
			t.Errorf("connecting to a forgotten account: %v", err)
			if err == nil {
				again.Close()
			}
		}
	})
}

// TestRenewedCredentialsCutOffTheOldOnes renews a pipeline's credentials while it is connected by the old ones; the
// provisioner stays connected.
func TestRenewedCredentialsCutOffTheOldOnes(t *testing.T) {
	onEveryServer(t, func(t *testing.T, h *house) {
		provisioner, old := h.provider("acme", LogOptions{})
		_, before, key, err := h.authority.Provider("acme")
		if err != nil {
			t.Fatal(err)
		}
		if err := h.authority.Renew("acme"); err != nil {
			t.Fatal(err)
		}
		soon(t, "the old credentials are cut off", func() bool { return old.Ping(t.Context()) != nil })
		if again, err := Connect(t.Context(), h.options(before)); !schema.Is(err, schema.Unauthorized) {
			t.Errorf("connecting by revoked credentials: %v", err)
			if err == nil {
				again.Close()
			}
		}
		_, after, same, err := h.authority.Provider("acme")
		if err != nil || same != key {
			t.Fatalf("the account is %s, was %s: %v", same, key, err)
		}
		if _, err := h.connect(after).OpenLog(t.Context()); err != nil {
			t.Errorf("by the new credentials: %v", err)
		}
		if err := provisioner.Ping(t.Context()); err != nil {
			t.Errorf("the provisioner was cut off too: %v", err)
		}
		_, kept, _, err := must(OpenAuthority(h.dir + "/authority"))(t).Provider("acme")
		if err != nil || string(kept) != string(after) {
			t.Errorf("the new credentials are not kept: %v", err)
		}
	})
}

// TestTheEmbeddedServersStreamsAreGivenToOneOfItsOwn copies them, as docs/operations.md says.
func TestTheEmbeddedServersStreamsAreGivenToOneOfItsOwn(t *testing.T) {
	h := newHouse(t)
	log := openLog(h, LogOptions{})
	w, _ := claim(t, log, "one", 0)
	put(t, w, "a")
	last := put(t, w, "b")
	w.Close()
	log.conn.Close()
	h.server.Stop()
	address := natstest.Ports(t, 1)[0]
	if err := os.CopyFS(h.dir+"/own/jetstream", os.DirFS(h.dir+"/nats/jetstream")); err != nil {
		t.Fatal(err)
	}
	config := must(h.authority.ServerConfig(ServerConfig{Name: "n1", Listen: address, Store: h.dir + "/own"}))(t)
	natstest.New(t, h.dir, "n1", address, config).Run()
	h.server, h.at = nil, "nats://"+address
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	h.remote = must(OpenRemote(ctx, h.options(nil), h.authority, func() {}))(t)
	t.Cleanup(h.remote.Stop)
	_, pipeline := h.provider("acme", LogOptions{})
	log = must(pipeline.OpenLog(t.Context()))(t)
	if first, data := contents(t, log); first != 1 || len(data) != 3 {
		t.Errorf("the log begins at %d with %q", first, data)
	}
	if _, seq := claim(t, log, "two", 0); seq != last+1 {
		t.Errorf("the next claim is %d, want %d", seq, last+1)
	}
}
