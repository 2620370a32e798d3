package schedule

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"berth/internal/api"
	"berth/internal/bus"
	"berth/internal/mail"
	"berth/schema"
	"berth/schema/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// killed is what a step panics with where the program is killed.
type killed struct{}

// world is a house whose scheduler can be killed anywhere, and the people who get its letters.
type world struct {
	t         *testing.T
	o         Options
	scheduler *Scheduler
	now       time.Time
	made      time.Time

	calls, killAt int      // every act outside the records is a call; the one of that number kills
	size          int      // of each file
	got           []string // whom letters reached
	subjects      []string
	files         []string // attached, of the last letter
	readings      uint64
	fail          error          // of each making
	refuse        error          // of each sending
	asked         map[string]int // of what numbers were asked: gateways and length
}

// newWorld returns a world with a house of its own.
func newWorld(t *testing.T) *world {
	t.Helper()
	url, credentials := newHouse(t)
	return openWorld(t, url, credentials)
}

// newHouse starts a server with the house's records, and returns it with what web opens them by.
func newHouse(t *testing.T) (url string, web bus.Credentials) {
	t.Helper()
	dir := t.TempDir()
	authority, err := bus.OpenAuthority(dir + "/authority")
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	server, err := bus.StartServer(bus.ServerOptions{Dir: dir + "/nats", Authority: authority, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	house, err := bus.Connect(t.Context(), bus.Options{URL: server.URL(), Credentials: authority.House(), Name: "house", Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(house.Close)
	if err := house.PrepareHouse(t.Context()); err != nil {
		t.Fatal(err)
	}
	return server.URL(), authority.Web() // no more than web may
}

// openWorld returns a world whose house is there.
func openWorld(t *testing.T, url string, web bus.Credentials) *world {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	conn, err := bus.Connect(t.Context(), bus.Options{URL: url, Credentials: web, Name: "web", Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	w := &world{t: t, now: time.Date(2026, 3, 30, 7, 0, 0, 0, time.UTC), made: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), readings: 7, size: pieceSize + 1}
	open := func(name string) *bus.Bucket {
		b, err := conn.Bucket(t.Context(), bus.BucketOptions{Name: name})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	w.o = Options{
		Schedules: open("schedules"), Runs: open("runs"), Files: open("runfiles"), Leases: open("leases"),
		Maker: w, Send: w.send, Host: "test", Logger: log, Now: func() time.Time { return w.now }, ClaimLife: time.Minute,
		Write: func(s *record.Schedule, _ *record.ScheduleRun, l *record.Letter, _ *api.Report) (string, string) {
			w.call()
			return s.Name + " " + l.Language, "text"
		},
		Provider: func(name string) (*time.Location, time.Time, error) {
			if name != "provider1" {
				return nil, time.Time{}, errors.New("no provider")
			}
			return berlin, w.made, nil
		},
	}
	w.scheduler = New(w.o)
	return w
}

// call counts what is done outside the records, and kills where it is to.
func (w *world) call() {
	if w.calls++; w.calls == w.killAt {
		panic(killed{})
	}
}

// Numbers is the Maker's.
func (w *world) Numbers(_ context.Context, s *record.Schedule, from, to time.Time) (*api.Report, error) {
	w.call()
	if w.asked == nil {
		w.asked = map[string]int{}
	}
	w.asked[fmt.Sprintf("%s %v", strings.Join(s.Gateways, " "), to.Sub(from))]++
	r := &api.Report{}
	r.Totals.Readings, r.Complete.Complete = w.readings, true
	return r, w.fail
}

// File is the Maker's.
func (w *world) File(_ context.Context, _ *record.Schedule, from, _ time.Time, format, language string) (File, error) {
	w.call()
	return File{Name: fmt.Sprintf("报告-%s-%s.%s", from.Format(time.DateOnly), language, format), Type: "application/" + format, Data: []byte(strings.Repeat("x", w.size))}, w.fail
}

func (w *world) send(_ context.Context, m mail.Message) error {
	w.call() // claimed, and not handed over
	if w.refuse != nil {
		return w.refuse
	}
	w.got = append(w.got, m.To)
	w.subjects = append(w.subjects, m.Subject)
	w.files = nil
	for _, f := range m.Files {
		w.files = append(w.files, fmt.Sprintf("%s %d", f.Name, len(f.Data)))
	}
	w.call() // handed over, and not recorded
	return nil
}

// step does what is due, and reports whether the program was killed.
func (w *world) step() (dead bool) {
	w.t.Helper()
	defer func() {
		if p := recover(); p != nil {
			if _, ok := p.(killed); !ok {
				panic(p)
			}
			dead = true
		}
	}()
	if err := w.scheduler.Step(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	return false
}

// restart starts the program anew, after the lease of the one before has run out.
func (w *world) restart() {
	w.t.Helper()
	if err := w.o.Leases.Delete(w.t.Context(), leaseKey); err != nil {
		w.t.Fatal(err)
	}
	w.scheduler = New(w.o)
}

func (w *world) add(change func(*record.Schedule)) *record.Schedule {
	w.t.Helper()
	s := &record.Schedule{
		Version: 1, ID: "daily1", Provider: "provider1", Of: w.made, Name: "Daily", Every: record.Daily, Hour: 6, Formats: []string{"pdf", "csv"},
		Recipients: []record.Recipient{{Address: "a@example.com", Language: "en"}, {Address: "b@example.com", Language: "zh"}}, Created: w.now.Add(-20 * time.Hour),
	}
	if change != nil {
		change(s)
	}
	if err := s.Validate(); err != nil {
		w.t.Fatal(err)
	}
	if err := w.scheduler.Add(w.t.Context(), s); err != nil {
		w.t.Fatal(err)
	}
	return s
}

func (w *world) runs(s *record.Schedule) []record.ScheduleRun {
	w.t.Helper()
	runs, err := w.scheduler.Runs(w.t.Context(), s.Provider, s.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	return runs
}

func TestADueReportIsMadeSentAndKept(t *testing.T) {
	w := newWorld(t)
	s := w.add(nil)
	for range 3 {
		w.step()
	}
	runs := w.runs(s)
	if len(runs) != 1 || runs[0].State != record.RunDone || runs[0].Readings != 7 || len(runs[0].Files) != 4 {
		t.Fatalf("%+v", runs)
	}
	if diff := cmp.Diff([]string{"a@example.com", "b@example.com"}, w.got); diff != "" {
		t.Errorf("letters (-want +got):\n%s", diff)
	}
	// The day before the 30th in Berlin is the one on which clocks are put forward: 23 hours.
	if span := runs[0].To.Sub(runs[0].From); span != 23*time.Hour {
		t.Errorf("the period has %v", span)
	}
	if diff := cmp.Diff([]string{"报告-2026-03-29-zh.pdf 1048577", "报告-2026-03-29-zh.csv 1048577"}, w.files); diff != "" {
		t.Errorf("attached (-want +got):\n%s", diff)
	}
	f, err := w.scheduler.File(t.Context(), &runs[0], 1)
	if err != nil || len(f.Data) != pieceSize+1 || f.Name != "报告-2026-03-29-en.csv" {
		t.Errorf("%s %d %v", f.Name, len(f.Data), err)
	}
	if one, err := w.scheduler.One(t.Context(), "provider1", "daily1", RunName(&runs[0])); err != nil || one.State != record.RunDone {
		t.Errorf("%+v %v", one, err)
	}
	// A reading that comes late is noticed; run again, the report has it.
	w.now, w.readings = w.now.Add(7*time.Hour), 9
	w.step()
	if r := w.runs(s)[0]; r.Late != 2 || r.LateAt.IsZero() {
		t.Errorf("late %d at %v", r.Late, r.LateAt)
	}
	if _, err := w.scheduler.Again(t.Context(), s, &runs[0]); err != nil {
		t.Fatal(err)
	}
	w.step()
	if r := w.runs(s)[0]; r.Number != 1 || r.Readings != 9 || r.Earlier != 7 || r.State != record.RunDone || len(w.got) != 4 {
		t.Errorf("%+v, %d letters", r, len(w.got))
	}
	if err := w.scheduler.Remove(t.Context(), "provider1", "daily1"); err != nil {
		t.Fatal(err)
	}
	for _, b := range []*bus.Bucket{w.o.Schedules, w.o.Runs, w.o.Files} {
		if left, err := b.List(t.Context()); err != nil || len(left) != 0 {
			t.Errorf("%v are left (%v)", slices.Collect(maps.Keys(left)), err)
		}
	}
}

// Killed at every step, no recipient gets a report twice; who may have got it is told so, and all others get it once.
func TestKilledAtEveryStepNobodyGetsAReportTwice(t *testing.T) {
	w := newWorld(t)
	unknown := 0
	for killAt := 1; ; killAt++ {
		s := w.add(func(s *record.Schedule) { s.ID = fmt.Sprintf("s%d", killAt) })
		w.calls, w.killAt, w.got = 0, killAt, nil
		dead := w.step()
		w.killAt = 0
		w.restart()
		w.now = w.now.Add(2 * time.Minute)
		for range 2 {
			if w.step() {
				t.Fatal("killed twice")
			}
		}
		runs := w.runs(s)
		if len(runs) != 1 || runs[0].State != record.RunDone {
			t.Fatalf("killed at call %d: %+v", killAt, runs)
		}
		for _, l := range runs[0].Letters {
			times := len(slices.DeleteFunc(slices.Clone(w.got), func(to string) bool { return to != l.Address }))
			switch {
			case times > 1:
				t.Errorf("killed at call %d: %s got it %d times", killAt, l.Address, times)
			case l.State == record.LetterSent && times != 1, l.State != record.LetterSent && l.State != record.LetterUnknown:
				t.Errorf("killed at call %d: %s is %s and got it %d times", killAt, l.Address, l.State, times)
			case l.State == record.LetterUnknown:
				unknown++
				if l.Problem == "" {
					t.Errorf("killed at call %d: it is not said why %s may have it", killAt, l.Address)
				}
			}
		}
		if !dead {
			if killAt < 10 {
				t.Fatalf("only %d calls", killAt)
			}
			break
		}
		if err := w.scheduler.Remove(t.Context(), s.Provider, s.ID); err != nil {
			t.Fatal(err)
		}
	}
	if unknown != 4 { // two letters, before and after the mail server has them
		t.Errorf("%d letters are of unknown outcome, not 4", unknown)
	}
}

func TestWhatWasMissedIsCaughtUp(t *testing.T) {
	w := newWorld(t)
	s := w.add(nil)
	w.now = w.now.Add(3 * 24 * time.Hour)
	w.step()
	if runs := w.runs(s); len(runs) != 4 || len(w.got) != 8 {
		t.Errorf("%d runs, %d letters", len(runs), len(w.got))
	}
	w.now = w.now.Add(100 * 24 * time.Hour)
	w.step()
	if runs := w.runs(s); len(runs) != 4+caughtUp {
		t.Errorf("%d runs after a hundred days", len(runs))
	}
}

func TestWhatGoesWrongIsTriedAgain(t *testing.T) {
	w := newWorld(t)
	s := w.add(nil)
	w.fail = schema.Errorf(schema.Unavailable, "reports is away")
	w.step()
	w.step()
	if r := w.runs(s)[0]; r.State != record.RunDue || r.Attempts != 1 || r.Problem != "reports is away" {
		t.Errorf("%+v", r)
	}
	w.fail = nil
	w.refuse = &mail.Refused{Err: errors.New("421 later")}
	w.now = w.now.Add(pause(1))
	w.step()
	r := w.runs(s)[0]
	if r.State != record.RunMade || r.Letters[0].State != record.LetterWaits || r.Letters[0].Attempts != 1 || len(w.got) != 0 {
		t.Errorf("%+v", r)
	}
	w.refuse = &mail.Refused{Err: errors.New("550 nobody"), Final: true}
	w.now = w.now.Add(pause(1))
	w.step()
	if r := w.runs(s)[0]; r.State != record.RunDone || r.Letters[1].State != record.LetterRefused || r.Letters[1].Problem != "550 nobody" {
		t.Errorf("%+v", r)
	}
}

// A mail server whose answer did not come may have the letter.
func TestAnAnswerThatDidNotComeIsUnknown(t *testing.T) {
	w := newWorld(t)
	s := w.add(nil)
	w.refuse = errors.New("the connection broke")
	w.step()
	w.refuse = nil
	w.step()
	r := w.runs(s)[0]
	if r.State != record.RunDone || r.Letters[0].State != record.LetterUnknown || r.Letters[1].State != record.LetterUnknown || len(w.got) != 0 {
		t.Errorf("%+v, letters to %q", r, w.got)
	}
}

func TestNothingIsSentOfNothing(t *testing.T) {
	w := newWorld(t)
	w.readings = 0
	s := w.add(func(s *record.Schedule) { s.SkipEmpty = true })
	w.add(func(s *record.Schedule) { s.ID, s.Paused = "paused", true })
	w.add(func(s *record.Schedule) { s.ID, s.Of = "former", w.made.Add(-1) })
	w.step()
	if r := w.runs(s); len(r) != 1 || r[0].State != record.RunSkipped || len(w.got) != 0 {
		t.Errorf("%+v", r)
	}
	if _, err := w.scheduler.Test(t.Context(), s, w.now, w.now, record.Recipient{Address: "me@example.com", Language: "en"}); err != nil {
		t.Fatal(err)
	}
	w.step()
	if diff := cmp.Diff([]string{"me@example.com"}, w.got); diff != "" {
		t.Errorf("a test is sent all the same (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"报告-2026-03-30-en.pdf 1048577", "报告-2026-03-30-en.csv 1048577"}, w.files); diff != "" || len(w.runs(s)[0].Files) != 2 {
		t.Errorf("files of a test (-want +got):\n%s", diff)
	}
	if err := w.scheduler.Pause(t.Context(), "provider1", "paused", false); err != nil {
		t.Fatal(err)
	}
}

func TestOneInstanceLooks(t *testing.T) {
	w := newWorld(t)
	w.add(nil)
	first, second := w.scheduler, New(w.o)
	w.step()
	w.scheduler = second
	w.add(func(s *record.Schedule) { s.ID = "other" })
	w.step()
	if len(w.got) != 2 {
		t.Errorf("%d letters while another has the lease", len(w.got))
	}
	w.scheduler = first
	w.step()
	if len(w.got) != 4 {
		t.Errorf("%d letters of who has the lease", len(w.got))
	}
}

// A schedule that is changed keeps its runs: what was made is neither made again nor looked at by other gateways, and
// periods of another length are made from now on, also the one that begins where another did.
func TestAScheduleIsChanged(t *testing.T) {
	w := newWorld(t)
	s := w.add(func(s *record.Schedule) { s.Gateways = []string{"gw1"} })
	w.now = w.now.Add(24 * time.Hour) // Tuesday: the days before it are made, Monday's the last
	w.step()
	if runs := w.runs(s); len(runs) != 2 || len(w.got) != 4 {
		t.Fatalf("%d runs, %d letters", len(runs), len(w.got))
	}
	changed := *s
	changed.Name, changed.Every, changed.Hour, changed.Gateways = "Weekly", record.Weekly, 8, nil
	changed.Recipients = s.Recipients[:1]
	if err := w.scheduler.Change(t.Context(), &changed); err != nil {
		t.Fatal(err)
	}
	w.step()
	if runs := w.runs(s); len(runs) != 2 || len(w.got) != 4 {
		t.Errorf("after the change %d runs, %d letters", len(runs), len(w.got))
	}
	w.asked = nil
	w.now = w.now.Add(7 * 24 * time.Hour)
	w.readings = 9
	w.step()
	w.step()
	runs := w.runs(s)
	if len(runs) != 3 || runs[0].Number != record.ChangedRuns || runs[0].To.Sub(runs[0].From) != 7*24*time.Hour || len(w.got) != 5 {
		t.Fatalf("%d letters, %+v", len(w.got), runs)
	}
	for _, r := range runs[1:] {
		if r.Late != 2 {
			t.Errorf("of the run of %v %d came late", r.From, r.Late)
		}
	}
	if days, week := w.asked["gw1 24h0m0s"], w.asked[" 168h0m0s"]; days == 0 || week == 0 || w.asked[" 24h0m0s"] > 0 {
		t.Errorf("asked of: %v", w.asked)
	}
	before, _, err := w.scheduler.Schedule(t.Context(), s.Provider, s.ID)
	if err == nil {
		err = w.scheduler.Pause(t.Context(), s.Provider, s.ID, true)
	}
	renamed := record.Schedule{
		Version: 1, ID: s.ID, Provider: s.Provider, Of: s.Of, Name: "Renamed", Every: before.Every, Hour: 8, Formats: s.Formats, Recipients: s.Recipients,
	}
	if err == nil {
		err = w.scheduler.Change(t.Context(), &renamed)
	}
	if after, _, nerr := w.scheduler.Schedule(t.Context(), s.Provider, s.ID); err != nil || nerr != nil || !after.Paused || !after.Created.Equal(before.Created) || !after.Since.Equal(before.Since) {
		t.Errorf("%v, %v, renamed it is %+v", err, nerr, after)
	}
	missing := changed
	if missing.ID = "none"; !schema.Is(w.scheduler.Change(t.Context(), &missing), schema.NotFound) {
		t.Error("a schedule that is not there was changed")
	}
}

// What was skipped since there was nothing is looked at too, and run again when there is something now.
func TestWhatComesAfterARunThatWasSkipped(t *testing.T) {
	w := newWorld(t)
	w.readings = 0
	s := w.add(func(s *record.Schedule) { s.SkipEmpty = true })
	w.step()
	w.now, w.readings = w.now.Add(7*time.Hour), 5
	w.step()
	runs := w.runs(s)
	if len(runs) != 1 || runs[0].State != record.RunSkipped || runs[0].Late != 5 {
		t.Fatalf("%+v", runs)
	}
	if _, err := w.scheduler.Again(t.Context(), s, &runs[0]); err != nil {
		t.Fatal(err)
	}
	w.step()
	if r := w.runs(s)[0]; r.State != record.RunDone || r.Readings != 5 || len(w.got) != 2 {
		t.Errorf("%+v, %d letters", r, len(w.got))
	}
}

// A provider that is made anew under a name has nothing of the one before it: what a release left of that is shown to nobody, and
// removed.
func TestNothingIsLeftToAnotherOfTheName(t *testing.T) {
	w := newWorld(t)
	s := w.add(nil)
	for range 3 {
		w.step()
	}
	if len(w.runs(s)) != 1 {
		t.Fatalf("%+v", w.runs(s))
	}
	w.made = w.now
	if all, err := w.scheduler.Schedules(t.Context(), s.Provider); err != nil || len(all) != 0 {
		t.Errorf("it is shown %+v, %v", all, err)
	}
	if _, _, err := w.scheduler.Schedule(t.Context(), s.Provider, s.ID); !schema.Is(err, schema.NotFound) {
		t.Errorf("it is shown: %v", err)
	}
	w.step()
	for name, b := range map[string]*bus.Bucket{"schedules": w.o.Schedules, "runs": w.o.Runs, "files": w.o.Files} {
		if all, err := b.List(t.Context()); err != nil || len(all) != 0 {
			t.Errorf("%s has %d, %v", name, len(all), err)
		}
	}
}
