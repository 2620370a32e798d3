package bus

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// words keeps what a logger is told.
type words struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (w *words) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(p)
}

// lines returns the lines that hold any of the given texts.
func (w *words) lines(texts ...string) (found []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for line := range strings.Lines(w.text.String()) {
		for _, text := range texts {
			if strings.Contains(line, text) {
				found = append(found, line)
				break
			}
		}
	}
	return found
}

// TestAForgottenAccountIsGoneForGood asks for the server's health as a daemon does, which looks at every account that
// has left something on disk: of one that is forgotten nothing is left, and nobody asks for it any more.
func TestAForgottenAccountIsGoneForGood(t *testing.T) {
	dir, log := t.TempDir(), &words{}
	authority := must(OpenAuthority(dir + "/authority"))(t)
	start := func() *Server {
		return must(StartServer(ServerOptions{Dir: dir + "/nats", Authority: authority, Logger: slog.New(slog.NewTextHandler(log, nil))}))(t)
	}
	server := start()
	defer func() { server.Stop() }()
	full, _, key, err := authority.Provider("acme")
	if err != nil {
		t.Fatal(err)
	}
	conn := must(Connect(t.Context(), Options{URL: server.URL(), Credentials: full, Name: "test", Logger: logger(t)}))(t)
	if err := conn.Prepare(t.Context(), LogOptions{}); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "nats", "jetstream", key)); len(left) != 1 {
		t.Fatalf("the account's folder is not where the test looks: %v", left)
	}
	if err := conn.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if err := authority.Forget("acme"); err != nil {
		t.Fatal(err)
	}
	for _, when := range []string{"after it was forgotten", "after the next start"} {
		if _, err := os.Stat(filepath.Join(dir, "nats", "jetstream", key)); err == nil {
			t.Errorf("%s its folder is there", when)
		}
		// A server believes for a second what it knew of an account before it asks again, and then waits 1.9 s for one that nobody
		// knows, each time. What else the machine does makes some of the times longer, and none shorter.
		const waits = 1800 * time.Millisecond
		tick, first, quickest := time.NewTicker(300*time.Millisecond), time.Now(), time.Hour
		for asked := 0; asked < 10 && quickest > waits; <-tick.C {
			begun := time.Now()
			if err := server.Healthy(); err != nil {
				t.Errorf("%s the server is not healthy: %v", when, err)
			}
			if begun.Sub(first) > 1100*time.Millisecond {
				asked++
				quickest = min(quickest, time.Since(begun))
			}
		}
		tick.Stop()
		if quickest > waits {
			t.Errorf("%s it took at least %v to see that the server is healthy", when, quickest)
		}
		if found := log.lines("level=WARN", "level=ERROR"); len(found) != 0 {
			t.Errorf("%s the server says\n%s", when, strings.Join(found, ""))
		}
		server.Stop()
		server = start()
	}
}

// TestALogIsMadeWhereOneWasJustRemoved removes and makes a log again at once, while the server still clears the folders
// of the one before.
func TestALogIsMadeWhereOneWasJustRemoved(t *testing.T) {
	conn, _ := newHouse(t).provider("acme", LogOptions{})
	for n := range 40 {
		if err := conn.Remove(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := conn.Prepare(t.Context(), LogOptions{}); err != nil {
			t.Fatalf("after removal %d: %v", n+1, err)
		}
	}
}
