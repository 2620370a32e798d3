package web

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"berth/internal/bus"
	"berth/internal/mail"
	"berth/internal/mail/mailtest"
	"berth/schema/record"
)

// childVariable has what a child of this test is told: a front door in a process of its own.
const childVariable = "BERTH_TEST_WEB"

// orders are what a child is told.
type orders struct {
	Bus          string
	Credentials  bus.Credentials
	Secret, Mail []byte
}

// TestWebInAProcess is the child: the front door as cmd/web makes and starts it, until it is killed. What it is told comes
// by the environment instead of flags; that is all that is otherwise.
func TestWebInAProcess(t *testing.T) {
	text, _ := os.LookupEnv(childVariable)
	if text == "" {
		t.Skip("only as a child of another test")
	}
	var q orders
	check(t, json.Unmarshal([]byte(text), &q))
	server, err := mail.Parse(q.Mail)
	check(t, err)
	w, err := New(Options{
		Listen: "127.0.0.1:0", Bus: q.Bus, Credentials: q.Credentials, HouseSecret: q.Secret, PublicHost: "0.0.0.0", PortBase: 6000, Instance: "child",
		Mail: server, Logger: slog.New(slog.DiscardHandler),
	})
	check(t, err)
	check(t, w.Start(t.Context()))
	_, _ = io.Copy(io.Discard, os.Stdin) // it ends with its parent
	os.Exit(1)
}

// gate stands between a child and all that it works with, counts what it does for one schedule, and kills it there.
type gate struct {
	server string // NATS

	mu     sync.Mutex // guards what follows
	of     string     // the schedule's ID
	killAt int
	steps  int
	kill   func()
}

// arm has the child be killed at a step of a schedule's run.
func (g *gate) arm(of string, killAt int, kill func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.of, g.killAt, g.steps, g.kill = of, killAt, 0, kill
}

// step counts a step, if it is of the schedule, and reports whether the child has been killed at it.
func (g *gate) step(of string) (dead bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !slices.Contains(strings.FieldsFunc(of, func(r rune) bool { return r == '.' || r == ' ' }), g.of) || g.killAt == 0 {
		return false
	}
	if g.steps++; g.steps < g.killAt {
		return false
	}
	if g.steps == g.killAt {
		g.kill()
	}
	return true
}

// listen takes connections to NATS, and returns where.
func (g *gate) listen(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	check(t, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { g.pass(t.Context(), c) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	return "nats://" + l.Addr().String()
}

// pass hands a connection on. A write of a record of the schedule is two steps: before the server has it, and when the
// server has answered and the child does not know it yet.
func (g *gate) pass(ctx context.Context, c net.Conn) {
	defer c.Close()
	s, err := (&net.Dialer{}).DialContext(ctx, "tcp", g.server)
	if err != nil {
		return
	}
	defer s.Close()
	stop := context.AfterFunc(ctx, func() { _, _ = c.Close(), s.Close() })
	defer stop()
	var mu sync.Mutex // guards answers
	answers := map[string]string{}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		defer c.Close()
		buffer := make([]byte, 64<<10)
		for {
			n, err := s.Read(buffer)
			if err != nil {
				return
			}
			mu.Lock()
			for reply, subject := range answers {
				if bytes.Contains(buffer[:n], []byte(reply+" ")) {
					delete(answers, reply)
					if g.step(subject) {
						mu.Unlock()
						return
					}
				}
			}
			mu.Unlock()
			if _, err := c.Write(buffer[:n]); err != nil {
				return
			}
		}
	})
	defer s.Close()
	in := bufio.NewReader(c)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		if f := strings.Fields(string(line)); len(f) > 2 && (f[0] == "PUB" || f[0] == "HPUB") {
			size, err := strconv.Atoi(f[len(f)-1])
			if err != nil {
				return
			}
			body := make([]byte, size+len("\r\n"))
			if _, err := io.ReadFull(in, body); err != nil {
				return
			}
			if strings.HasPrefix(f[1], "$KV.runs.") || strings.HasPrefix(f[1], "$KV.runfiles.") {
				if g.step(f[1]) {
					return
				}
				mu.Lock()
				answers[f[2]] = f[1]
				mu.Unlock()
			}
			line = append(line, body...)
		}
		if _, err := s.Write(line); err != nil {
			return
		}
	}
}

// killHouse is a house without a front door of its own, whose children are.
type killHouse struct {
	*house
	told orders
	runs *bus.Bucket
}

func newKillHouse(t *testing.T, g *gate) *killHouse {
	t.Helper()
	h := &killHouse{}
	h.house = newHouse(t, func(o *Options) { h.told = orders{Bus: o.Bus, Credentials: o.Credentials, Secret: o.HouseSecret} })
	check(t, h.web.Stop(t.Context()))
	at, err := url.Parse(h.told.Bus)
	check(t, err)
	g.server = at.Host
	h.told.Bus = g.listen(t)
	h.runs, err = h.conn.Bucket(t.Context(), bus.BucketOptions{Name: "runs"})
	check(t, err)
	h.reports["north"].with(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if g.step(strings.Join(q["gateway"], " ")) {
			return
		}
		if q.Get("format") == "json" {
			_, _ = io.WriteString(w, `{"gateways":[],"zone":"Europe/Berlin","complete":true}`)
			return
		}
		w.Header().Set("Content-Disposition", `attachment; filename*=UTF-8''%E6%8A%A5%E5%91%8A.pdf`)
		_, _ = io.WriteString(w, strings.Repeat("x", 100))
	})
	return h
}

// child starts a front door, and returns what kills it and what is closed when it has ended. The lease of the one before has expired.
func (h *killHouse) child() (kill func(), dead chan struct{}) {
	h.t.Helper()
	leases, err := h.conn.Bucket(h.t.Context(), bus.BucketOptions{Name: "leases"})
	check(h.t, err)
	check(h.t, leases.Delete(h.t.Context(), "schedules"))
	text, err := json.Marshal(h.told)
	check(h.t, err)
	cmd := exec.CommandContext(h.t.Context(), os.Args[0], "-test.run=^TestWebInAProcess$")
	cmd.Env = append(os.Environ(), childVariable+"="+string(text))
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	_, err = cmd.StdinPipe()
	check(h.t, err)
	check(h.t, cmd.Start())
	dead = make(chan struct{})
	go func() {
		defer close(dead)
		err := cmd.Wait()
		if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
			h.t.Errorf("the front door ended by itself: %v: %s", err, &said)
		}
	}()
	kill = func() { _ = cmd.Process.Kill() } // SIGKILL
	h.t.Cleanup(func() { kill(); <-dead })
	return kill, dead
}

// all returns the runs, by schedule.
func (h *killHouse) all() map[string]record.ScheduleRun {
	h.t.Helper()
	entries, err := h.runs.List(h.t.Context())
	check(h.t, err)
	runs := map[string]record.ScheduleRun{}
	for key, e := range entries {
		var r record.ScheduleRun
		check(h.t, json.Unmarshal(e.Value, &r))
		if _, twice := runs[r.Schedule]; twice {
			h.t.Errorf("%s is a second run of its schedule", key)
		}
		runs[r.Schedule] = r
	}
	return runs
}

// done reports whether the runs of all schedules are done.
func (h *killHouse) done(schedules int) bool {
	runs := h.all()
	for _, r := range runs {
		if r.State != record.RunDone {
			return false
		}
	}
	return len(runs) == schedules
}

// age has so much time pass that what a dead one has claimed is taken for left behind.
func (h *killHouse) age() {
	entries, err := h.runs.List(h.t.Context())
	check(h.t, err)
	for key, e := range entries {
		var r record.ScheduleRun
		check(h.t, json.Unmarshal(e.Value, &r))
		for i := range r.Letters {
			if l := &r.Letters[i]; l.State == record.LetterSending {
				l.At = l.At.Add(-time.Hour)
				h.put("runs", key, &r)
			}
		}
	}
}

// add adds a schedule of which one report is due.
func (h *killHouse) add(id, name string) {
	s := &record.Schedule{
		Version: 1, ID: id, Provider: "north", Of: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Name: name, Every: record.Monthly, Gateways: []string{id},
		Formats: []string{"pdf"}, Recipients: []record.Recipient{{Address: "a@example.com", Language: "zh"}, {Address: "b@example.com", Language: "zh"}},
	}
	zone, err := time.LoadLocation("Europe/Berlin")
	check(h.t, err)
	_, s.Created, _ = s.Period(time.Now().In(zone), 0)
	check(h.t, s.Validate())
	h.put("schedules", "north."+id, s)
}

// The front door is killed by SIGKILL at every step of a run: at each question to the provider's reports, before each record
// that it writes, and when the record is written and it does not know it yet; the mail server is Debian's. No recipient gets
// a report twice, and of whom it is not known whether they have it the history says so.
func TestKilledBySIGKILLNobodyGetsAReportTwice(t *testing.T) {
	server := mailtest.Start(t)
	g := &gate{}
	h := newKillHouse(t, g)
	h.told.Mail = server.Settings
	every := 1
	if testing.Short() {
		every = 4
	}
	kills := 0
	for at := 1; ; at += every {
		id := fmt.Sprintf("s%d", kills)
		h.add(id, fmt.Sprintf("kill %d,", kills))
		kill, dead := h.child()
		g.arm(id, at, kill)
		ended := false
		h.soon("the run is done, or its scheduler dead", func() bool {
			select {
			case <-dead:
				ended = true
			default:
			}
			return ended || h.all()[id].State == record.RunDone
		})
		g.arm("", 0, nil)
		kill()
		<-dead
		h.age()
		if kills++; !ended {
			break
		}
		if kills > 100 {
			t.Fatal("the run has no end")
		}
	}
	kill, dead := h.child()
	h.soon("all runs are done", func() bool { return h.done(kills) })
	kill()
	<-dead
	h.judge(server.Letters(), kills)
}

// judge holds what came against what the history says.
func (h *killHouse) judge(letters []mailtest.Letter, schedules int) {
	h.t.Helper()
	got := map[string]int{}
	for _, l := range letters {
		_, name, _ := strings.Cut(l.Subject, "kill ")
		name, _, _ = strings.Cut(name, ",")
		got["s"+name+" "+l.To]++
		if len(l.Files) != 1 || len(l.Files["报告.pdf"]) != 100 {
			h.t.Errorf("%s has %d files", l.Subject, len(l.Files))
		}
	}
	unknown := map[int]int{}
	for id, r := range h.all() {
		for _, l := range r.Letters {
			switch n := got[id+" "+l.Address]; {
			case l.State == record.LetterUnknown && n < 2 && l.Problem != "":
				unknown[n]++
			case l.State != record.LetterSent || n != 1:
				h.t.Errorf("%s to %s: %s, %q, and came %d times", id, l.Address, l.State, l.Problem, n)
			}
		}
	}
	if !testing.Short() && (unknown[0] == 0 || unknown[1] == 0 || schedules < 16) {
		h.t.Errorf("of letters of unknown outcome %d came and %d did not, after %d kills", unknown[1], unknown[0], schedules-1)
	}
	h.t.Logf("%d kills; %d letters of unknown outcome came, %d did not", schedules-1, unknown[1], unknown[0])
}
