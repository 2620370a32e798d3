package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/promises/install"
)

// TestMissing: a peer that is not installed is named, with how to install it.
func TestMissing(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for _, p := range peers[1:] {
		if why := p.missing(); !strings.Contains(why, p.name) || !strings.Contains(why, "apt-get install "+p.pkg) {
			t.Errorf("%s: %q", p.name, why)
		}
	}
	if why := peers[0].missing(); why != "" {
		t.Errorf("Berth is built from this source: %q", why)
	}
}

// TestLoad: requests are whole lines within their size, and hold what the fleet says.
func TestLoad(t *testing.T) {
	l, err := generate(&options{readings: 20_000, trucks: 10, days: 2, batch: 8 << 10, start: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)})
	if err != nil {
		t.Fatal(err)
	}
	fields := 0
	for _, b := range l.bodies {
		if len(b) > 8<<10 || !bytes.HasSuffix(b, []byte("\n")) {
			t.Errorf("a request of %d bytes ends in %q", len(b), b[len(b)-1:])
		}
		for line := range bytes.Lines(b) {
			_, rest, _ := bytes.Cut(line, []byte(" "))
			fields += bytes.Count(rest, []byte("="))
		}
	}
	if fields != l.readings {
		t.Errorf("%d readings, and it says %d", fields, l.readings)
	}
}

// TestEveryRequestIsSentUntilItIsAcknowledged: once, again when the peer says that it should come later, and what is refused
// is an error.
func TestEveryRequestIsSentUntilItIsAcknowledged(t *testing.T) {
	l, err := generate(&options{readings: 2_000, trucks: 5, days: 1, batch: 4 << 10, start: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	stored, asked, refuses := map[string]int{}, 0, false
	peer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		asked++
		switch {
		case err != nil || r.Header.Get("Authorization") != "Bearer secret" || refuses:
			w.WriteHeader(http.StatusBadRequest)
		case asked == 2:
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
			stored[string(body)]++
			w.WriteHeader(http.StatusNoContent)
		}
	}))
	defer peer.Close()
	defer client.CloseIdleConnections()
	s, err := l.send(t.Context(), &running{write: peer.URL, key: "secret"}, 3)
	if err != nil || s.slowed != 1 || s.p50 == 0 || s.p99 < s.p50 || s.took < s.p99 {
		t.Errorf("%+v, %v", s, err)
	}
	if len(l.bodies) < 5 || len(stored) != len(l.bodies) {
		t.Errorf("%d of %d requests are stored", len(stored), len(l.bodies))
	}
	for body, n := range stored {
		if n != 1 {
			t.Errorf("a request of %d bytes is stored %d times", len(body), n)
		}
	}
	mu.Lock()
	refuses = true
	mu.Unlock()
	if _, err := l.send(t.Context(), &running{write: peer.URL, key: "secret"}, 3); err == nil || !strings.Contains(err.Error(), "400") {
		t.Errorf("what is refused: %v", err)
	}
}

// TestUsage: a process uses processor and memory, and its disk use is that of its files.
func TestUsage(t *testing.T) {
	u, err := install.Used(os.Getpid())
	if err != nil || u.Resident == 0 || u.Peak < u.Resident/2 {
		t.Errorf("%+v, %v", u, err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a"), make([]byte, 100_000), 0o600); err != nil {
		t.Fatal(err)
	}
	if size, err := diskUse(dir); err != nil || size > 200_000 {
		t.Errorf("%d bytes, %v", size, err)
	}
}
