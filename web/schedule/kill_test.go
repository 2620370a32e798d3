package schedule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"

	"berth/internal/bus"
	"berth/internal/mail"
	"berth/internal/mail/mailtest"
	"berth/schema/record"
)

// childVariable has what a child of this test is told: a scheduler in a process of its own.
const childVariable = "BERTH_TEST_SCHEDULER"

// told is what a child is told.
type told struct {
	URL    string
	Web    bus.Credentials
	Mail   []byte
	Now    time.Time
	KillAt int
}

// TestSchedulerInAProcess is the child: it does what is due and ends, or is killed on the way.
func TestSchedulerInAProcess(t *testing.T) {
	text, _ := os.LookupEnv(childVariable)
	if text == "" {
		t.Skip("only as a child of another test")
	}
	var q told
	if err := json.Unmarshal([]byte(text), &q); err != nil {
		t.Fatal(err)
	}
	o, err := mail.Parse(q.Mail)
	if err != nil {
		t.Fatal(err)
	}
	w := openWorld(t, q.URL, q.Web)
	w.now, w.size, w.killAt = q.Now, 100, q.KillAt
	w.kill = func() {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // it comes at once
	}
	w.mail = func(ctx context.Context, m mail.Message) error { return mail.Send(ctx, o, m) }
	for range 2 {
		w.step()
	}
}

// run runs a child, and reports whether it was killed.
func (q told) run(t *testing.T) (dead bool) {
	t.Helper()
	text, err := json.Marshal(q)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSchedulerInAProcess$")
	cmd.Env = append(os.Environ(), childVariable+"="+string(text))
	out, err := cmd.CombinedOutput()
	exit, ended := errors.AsType[*exec.ExitError](err)
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ended && ok && status.Signal() == syscall.SIGKILL && q.KillAt > 0 {
		return true
	}
	if err != nil {
		t.Fatalf("%v %v: %s", err, exit, out)
	}
	return false
}

// The scheduler is a process that is killed by SIGKILL at every step of a run, the mail server Debian's: no recipient gets
// a report twice, and of whom it is not known the history says so.
func TestKilledBySIGKILLNobodyGetsAReportTwice(t *testing.T) {
	server := mailtest.Start(t)
	url, web := newHouse(t)
	w := openWorld(t, url, web)
	q := told{URL: url, Web: web, Mail: server.Settings, Now: w.now}
	states := map[string]record.LetterState{} // by the subject of the letter
	kills := 0
	for dead := true; dead; kills++ {
		s := w.add(func(s *record.Schedule) { s.ID, s.Name = fmt.Sprintf("s%d", kills), fmt.Sprintf("kill %d,", kills+1) })
		q.KillAt = kills + 1
		dead = q.run(t)
		w.restart()
		again := q
		again.KillAt, again.Now = 0, q.Now.Add(2*time.Minute)
		again.run(t)
		w.restart()
		runs := w.runs(s)
		if len(runs) != 1 || runs[0].State != record.RunDone {
			t.Fatalf("killed at step %d: %+v", q.KillAt, runs)
		}
		for _, l := range runs[0].Letters {
			if l.State == record.LetterUnknown && l.Problem == "" {
				t.Errorf("killed at step %d: it is not said why %s may have it", q.KillAt, l.Address)
			}
			states[s.Name+" "+l.Language] = l.State
		}
		if err := w.scheduler.Remove(t.Context(), s.Provider, s.ID); err != nil {
			t.Fatal(err)
		}
	}
	got := map[string]int{}
	for _, l := range server.Letters() {
		got[l.Subject]++
		if language := l.Subject[len(l.Subject)-2:]; len(l.Files) != 2 || len(l.Files["报告-2026-03-29-"+language+".pdf"]) != 100 {
			t.Errorf("%s has %d files", l.Subject, len(l.Files))
		}
	}
	unknown := []int{}
	for subject, state := range states {
		switch n := got[subject]; {
		case state == record.LetterUnknown && n < 2:
			unknown = append(unknown, n)
		case state != record.LetterSent || n != 1:
			t.Errorf("%s: %s, and came %d times", subject, state, n)
		}
	}
	// Two letters, killed before and after the mail server has them.
	if slices.Sort(unknown); !slices.Equal(unknown, []int{0, 0, 1, 1}) || kills < 10 {
		t.Errorf("letters of unknown outcome came %v times, after %d kills", unknown, kills)
	}
	t.Logf("%d kills, %d letters", kills-1, len(states))
}
