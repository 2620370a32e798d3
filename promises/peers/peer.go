package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"berth/internal/trucks"
)

// peer is a program that stores readings and can be measured.
type peer struct {
	name    string
	program string // that must be installed; empty: it is built from this source
	pkg     string // Debian's package of it
	means   string // what an acknowledgement of it means
	// open starts it with its data in a folder.
	open func(ctx context.Context, o *options, dir string) (*running, error)
}

// peers are all that are measured, in this order.
var peers = []peer{
	{name: "Berth", means: "synced to disk", open: openBerth},
	{name: "VictoriaMetrics", program: "victoria-metrics", pkg: "victoria-metrics", means: "in memory", open: openVictoria},
	{name: "InfluxDB 1", program: "influxd", pkg: "influxdb", means: "synced to disk", open: openInflux},
}

// missing says what must be done before a peer can be measured; it is empty when nothing must.
func (p *peer) missing() string {
	if p.program == "" {
		return ""
	}
	if _, err := exec.LookPath(p.program); err == nil {
		return ""
	}
	return fmt.Sprintf("%s is MISSING: %s is not installed; apt-get install %s", p.name, p.program, p.pkg)
}

// running is a peer that runs.
type running struct {
	pid   int    // of its first process
	dir   string // of its data
	write string // URL that takes line protocol
	key   string // bearer; empty: anybody may write
	// settle waits until what was written is where it will stay.
	settle func(ctx context.Context) error
	count  func(ctx context.Context) (int64, error)
	ask    [questions]func(ctx context.Context, f *trucks.Fleet, n int) (values int, err error)
	stop   func()
}

// What is asked of each, n different each time.
const (
	lastOfEach = iota
	oneTrucksDay
	monthsMaxima
	questions
)

// questionNames are what the questions ask for.
var questionNames = [questions]string{
	"last position of every truck", "one truck's day, all sensors", "daily maxima of all trucks, 30 d",
}

// program starts a program of somebody else's, which ends with us at the latest.
func program(o *options, env []string, name string, args ...string) (*exec.Cmd, error) {
	cmd := exec.Command(name, args...) //nolint:noctx // stopped by its running
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = o.log, o.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return cmd, nil
}

// end stops a program, by force when it takes more than ten seconds.
func end(cmd *exec.Cmd) {
	_ = cmd.Process.Signal(syscall.SIGTERM)
	force := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
	defer force.Stop()
	_ = cmd.Wait() // how it ends is of no interest
}

// answers waits until a URL is answered with a status below 300.
func answers(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := get(ctx, url, "", nil)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", url, err)
		case <-tick.C:
		}
	}
}

// get reads the answer of a URL to its end, into v as JSON unless v is nil.
func get(ctx context.Context, url, key string, v any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	if key != "" {
		request.Header.Set("Authorization", "Bearer "+key)
	}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close() //nolint:errcheck // read to its end
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode >= 300 {
		return fmt.Errorf("%s was answered %s: %.300s", url, answer.Status, text)
	}
	if v == nil {
		return nil
	}
	if err := json.Unmarshal(text, v); err != nil {
		return fmt.Errorf("read the answer of %s: %w", url, err)
	}
	return nil
}

// folder makes a folder for a peer's data.
func folder(dir, name string) (string, error) {
	path := filepath.Join(dir, name)
	return path, os.MkdirAll(path, 0o700)
}

// day returns the n-th day of a fleet, going round.
func day(f *trucks.Fleet, n, days int) (from, to time.Time) {
	from = f.End().AddDate(0, 0, -1-n%days)
	return from, from.AddDate(0, 0, 1)
}
