package promises

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"berth/internal/api"
	"berth/internal/gateways"
	"berth/promises/install"
)

var exportEvery = flag.Duration("export-every", 0, "between two readings of each sensor in the month that is exported; 0: six hours")

const (
	exportGateways = 1000
	exportSensors  = 2
	exportDays     = 31
	// exportGrowth is by how much more memory reports may have had when it has exported all gateways than when it had a tenth.
	exportGrowth = 16 << 20
)

// warehouse is a provider with a month of a thousand gateways.
type warehouse struct {
	t        *testing.T
	in       *install.Install
	dir      string
	p        install.Provider
	api      gateways.API
	from, to time.Time
	each     int // readings of a gateway
}

// TestAnExportDisturbsNobody: a month of 1,000 gateways is exported in three formats while others send. Their gateways see no
// error, reports needs no more memory for all gateways than for a hundred, the list of exports tells how far each is, every
// reading is in the file once, and an export whose connection is cut goes on and ends as if it had not been.
func TestAnExportDisturbsNobody(t *testing.T) {
	w := newWarehouse(t)
	sending := func(prefix string, during func()) gateways.Stats {
		f, err := gateways.New(gateways.Options{
			Address: w.p.Address(), Key: w.p.EnrolmentKey, Prefix: prefix, Gateways: 20, Rate: 20, Sensors: 8, Step: time.Second, Start: time.Now(),
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { f.Run(ctx) })
		defer func() { cancel(); wg.Wait() }()
		during()
		return f.Stats()
	}
	quiet := sending("quiet", func() { <-time.After(2 * time.Second) }) // so long it is measured
	w.export("few.csv", "--tag", "part=few")
	few := w.used()
	begun := time.Now()
	busy := sending("busy", func() {
		seen := w.followed(func() { w.export("all.csv"); w.export("all.parquet"); w.export("all.xlsx") })
		for try := 0; !seen && try < 20; try++ { // whether one was asked about while it was under way is chance
			seen = w.followed(func() { w.export(fmt.Sprintf("again-%d.csv", try)) })
		}
		if !seen {
			t.Error("the list of exports told of none how far it was")
		}
	})
	all := w.used()
	if grown := all - few; grown > exportGrowth {
		t.Errorf("reports had %.1f MB when it had exported 100 gateways, and %.1f MB with 1,000", megabytes(few), megabytes(all))
	}
	if busy.Acked == 0 || busy.Reconnects > 0 {
		t.Errorf("gateways that sent meanwhile had %d frames acknowledged, and %d errors", busy.Acked, busy.Reconnects)
	}
	t.Logf("%d readings, three formats in %v; p99 of acknowledgements %v meanwhile, %v before; reports at most %.1f MB, %.1f MB for a tenth",
		exportGateways*w.each, time.Since(begun).Round(time.Millisecond), busy.P99, quiet.P99, megabytes(all), megabytes(few))
	w.count("all.csv")
	w.cut()
}

func megabytes(n int64) float64 { return float64(n) / 1e6 }

func newWarehouse(t *testing.T) *warehouse {
	t.Helper()
	every := *exportEvery
	if every == 0 {
		if every = 6 * time.Hour; testing.Short() {
			every = 12 * time.Hour
		}
	}
	in, dir := newInstall(t)
	p, err := in.Add(t.Context(), "alpha")
	if err != nil {
		t.Fatal(err)
	}
	token, err := in.Token(t.Context(), "alpha")
	if err != nil {
		t.Fatal(err)
	}
	w := &warehouse{t: t, in: in, dir: dir, p: p, api: gateways.API{Base: "http://" + in.Web, Provider: "alpha", Token: token}}
	w.to = time.Now().UTC().Truncate(24 * time.Hour)
	w.from = w.to.Add(-exportDays * 24 * time.Hour)
	w.each = int(w.to.Sub(w.from)/every) * exportSensors
	relay, err := in.GatewayKey(t.Context(), "alpha", "relay", "--relay")
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	var grouped strings.Builder
	grouped.WriteString("gateway,tags\n")
	for n := range exportGateways {
		w.write(relay, n, every)
		if n%10 == 0 {
			fmt.Fprintf(&grouped, "unit-%04d,part=few\n", n)
		}
	}
	w.ask(http.MethodPost, "http://"+in.Web+"/api/v1/providers/alpha/groupings", token, "text/csv", strings.NewReader(grouped.String()))
	t.Logf("%d readings of %d gateways are sent in %v", exportGateways*w.each, exportGateways, time.Since(begun).Round(time.Millisecond))
	return w
}

// write posts a gateway's month.
func (w *warehouse) write(relay string, number int, every time.Duration) {
	w.t.Helper()
	var body bytes.Buffer
	for i, at := 0, w.from; at.Before(w.to); i, at = i+1, at.Add(every) {
		fmt.Fprintf(&body, "unit,gateway=unit-%04d temperature=%d.%d,count=%di %d\n", number, 20+i%7, i%10, number*100+i, at.UnixNano())
	}
	w.ask(http.MethodPost, "http://"+w.p.Address()+"/write", relay, "text/plain", &body)
}

// ask puts a request that must be taken.
func (w *warehouse) ask(method, url, token, kind string, body io.Reader) []byte {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, url, body)
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", kind)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode >= 300 {
		w.t.Fatalf("%s is %s (%v): %.300s", url, answer.Status, err, text)
	}
	return text
}

// command returns what exports the month into a file, by the command line.
func (w *warehouse) command(file string, args ...string) []string {
	return append([]string{
		"export", "alpha", "--from", w.from.Format(time.RFC3339), "--to", w.to.Format(time.RFC3339), "--out", filepath.Join(w.dir, file),
	}, args...)
}

func (w *warehouse) export(file string, args ...string) {
	w.t.Helper()
	begun := time.Now()
	if out, err := w.in.CLI(w.t.Context(), w.command(file, args...)...); err != nil {
		w.t.Fatalf("%v: %s", err, out)
	}
	if at, err := os.Stat(filepath.Join(w.dir, file)); err == nil {
		w.t.Logf("%s: %.1f MB in %v", file, megabytes(at.Size()), time.Since(begun).Round(time.Millisecond))
	}
}

// used returns the most memory that reports has had.
func (w *warehouse) used() int64 {
	w.t.Helper()
	pid, err := w.in.InstancePID(w.t.Context(), "alpha", "reports")
	if err != nil {
		w.t.Fatal(err)
	}
	used, err := install.Used(pid)
	if err != nil {
		w.t.Fatal(err)
	}
	return used.Peak
}

// followed reports whether the list of exports told of one, while they were done, that it was under way and how far.
func (w *warehouse) followed(do func()) (seen bool) {
	w.t.Helper()
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			var all api.Exports
			if json.Unmarshal(w.ask(http.MethodGet, "http://"+w.in.Web+"/api/v1/providers/alpha/exports", w.api.Token, "", nil), &all) != nil {
				continue
			}
			for _, x := range all.Exports {
				seen = seen || x.Ended == nil && x.Done > 0 && x.Done < x.Gateways && x.Readings > 0 && x.Bytes > 0
			}
		}
	})
	do()
	close(done)
	wg.Wait()
	return seen
}

// count counts a file's rows by gateway: of each there are all, and no other's.
func (w *warehouse) count(file string) {
	w.t.Helper()
	data, err := os.ReadFile(filepath.Join(w.dir, file))
	if err != nil {
		w.t.Fatal(err)
	}
	rows := map[string]int{}
	for line := range strings.Lines(string(data)) {
		name, _, _ := strings.Cut(line, ",")
		rows[name]++
	}
	for n := range exportGateways {
		if name := fmt.Sprintf("unit-%04d", n); rows[name] != w.each {
			w.t.Errorf("%s has %d readings of %s, of %d", file, rows[name], name, w.each)
		}
	}
	if len(rows) != exportGateways+1 || rows["gateway"] != 1 {
		w.t.Errorf("%s has rows of %d others", file, len(rows)-exportGateways-1)
	}
}

// cut kills reports while an export is under way, goes on with it, and compares what came out with a whole one.
func (w *warehouse) cut() {
	w.t.Helper()
	for try := range 20 {
		pid, err := w.in.InstancePID(w.t.Context(), "alpha", "reports")
		if err != nil {
			w.t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() {
			_, err := w.in.CLI(w.t.Context(), w.command("cut.csv")...)
			ended <- err
		}()
		w.begun("cut.csv")
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			w.t.Fatal(err)
		}
		if err = <-ended; err == nil { // it was quicker
			if err := os.Remove(filepath.Join(w.dir, "cut.csv")); err != nil {
				w.t.Fatal(err)
			}
			w.t.Logf("try %d: the export had ended before the cut", try+1)
			w.back(pid)
			continue
		}
		if !strings.Contains(err.Error(), "--resume") {
			w.t.Fatalf("a cut export does not say how to go on: %v", err)
		}
		at, statErr := os.Stat(filepath.Join(w.dir, "cut.csv.part"))
		if statErr != nil {
			w.t.Fatal(statErr)
		}
		w.back(pid)
		if _, err := w.in.CLI(w.t.Context(), "export", "alpha", "--out", filepath.Join(w.dir, "cut.csv"), "--resume"); err != nil {
			w.t.Fatal(err)
		}
		whole, err := os.ReadFile(filepath.Join(w.dir, "all.csv"))
		if err != nil {
			w.t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(w.dir, "cut.csv"))
		if err != nil {
			w.t.Fatal(err)
		}
		got = onlyUnits(got)
		if whole = onlyUnits(whole); !bytes.Equal(whole, got) {
			w.t.Errorf("an export that was cut at %d bytes has %d, and a whole one %d", at.Size(), len(got), len(whole))
			return
		}
		w.t.Logf("cut at %.1f of %.1f MB, gone on with, and the same in the end", megabytes(at.Size()), megabytes(int64(len(whole))))
		return
	}
	w.t.Error("the export was quicker than its cut each time")
}

// begun waits until an export has begun to write a file, or is done with it.
func (w *warehouse) begun(file string) {
	w.t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	limit := time.After(time.Minute)
	for {
		select {
		case <-tick.C:
		case <-limit:
			w.t.Fatal("the export has not begun to write within a minute")
		}
		at, err := os.Stat(filepath.Join(w.dir, file+".part"))
		_, whole := os.Stat(filepath.Join(w.dir, file))
		if err == nil && at.Size() > 64<<10 || whole == nil {
			return
		}
	}
}

// back waits until reports is another process, and answers.
func (w *warehouse) back(old int) {
	w.t.Helper()
	soon(w.t, "reports is back", func() bool {
		pid, err := w.in.InstancePID(w.t.Context(), "alpha", "reports")
		if err != nil || pid == old {
			return false
		}
		var b api.Books
		return w.api.Books(w.t.Context(), &b) == nil
	})
}

// onlyUnits returns what a file has of the month's gateways: others have come since.
func onlyUnits(data []byte) []byte {
	var out []byte
	for line := range bytes.Lines(data) {
		if bytes.HasPrefix(line, []byte("unit-")) {
			out = append(out, line...)
		}
	}
	return out
}
