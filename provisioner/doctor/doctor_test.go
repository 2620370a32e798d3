package doctor

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestDataDirectory(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	shut, open := filepath.Join(dir, "shut"), filepath.Join(dir, "open")
	if err := os.Mkdir(shut, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(open, 0o755); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]State{filepath.Join(dir, "missing"): Warn, file: Fail, shut: OK, open: Warn} {
		if got := dataDir(path); got.State != want || got.State != OK && got.Next == "" {
			t.Errorf("%s: %+v, want %s with a next command", path, got, want)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(shut, ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if got := disk(filepath.Join(dir, "not", "made", "yet")); got.Text == "" || got.Name != "disk" {
		t.Errorf("disk of a folder that is not made yet: %+v", got)
	}
}

// TestAChecksKeysAreStable: scripts rely on them.
func TestAChecksKeysAreStable(t *testing.T) {
	c := Bad(Warn, "log", "see the log", "%d %% full", 60)
	c.Provider = "north"
	for want, c := range map[string]Check{
		`{"name":"log","provider":"north","state":"warn","text":"60 % full","next":"see the log"}`: c,
		`{"name":"log","state":"ok","text":"well"}`:                                                Good("log", "well"),
	} {
		if got, err := json.Marshal(c); err != nil || string(got) != want {
			t.Errorf("%s, %v, want %s", got, err, want)
		}
	}
}

func TestClock(t *testing.T) {
	if got := clock(time.Date(1970, 1, 1, 0, 0, 9, 0, time.UTC)); got.State != Fail {
		t.Errorf("a clock that starts at 1970: %+v, want fail", got)
	}
	if got := clock(time.Now()); got.State == Fail {
		t.Errorf("now: %+v", got)
	}
}

func TestBrowser(t *testing.T) {
	status := http.StatusSeeOther
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
	if got := Browser(t.Context(), web.URL); got.State != OK {
		t.Errorf("a redirect: %+v, want ok", got)
	}
	status = http.StatusInternalServerError
	if got := Browser(t.Context(), web.URL); got.State != Fail {
		t.Errorf("an error: %+v, want fail", got)
	}
	web.Close()
	if got := Browser(t.Context(), web.URL); got.State != Fail || got.Next == "" {
		t.Errorf("nobody: %+v, want fail with a next command", got)
	}
}
