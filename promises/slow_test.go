package promises

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/internal/api"
	"berth/internal/gateways"
	"berth/internal/headapi"
	"berth/internal/smalldisk"
	"berth/promises/install"

	_ "modernc.org/sqlite" // locks a keyspace as another program would
)

var slow = flag.Duration("slow", 0, "how long each trouble of the slow tests lasts; 0: seconds")

// slowFor returns how long a trouble lasts: at full length what was given, else the test's own form.
func slowFor(form time.Duration) time.Duration {
	if *slow > 0 {
		return *slow
	}
	return form
}

// TestSlowNeverSilentWhileTheKeyspaceIsAway locks the keyspace as another process would, while gateways send: each is
// acknowledged as ever, also when the head has no memory left and stops following the log. When the keyspace is back, all
// of it drains: nothing is lost, nothing doubled.
func TestSlowNeverSilentWhileTheKeyspaceIsAway(t *testing.T) {
	if testing.Short() {
		t.Skip("in short form the log's quota alone is tried")
	}
	lasts := slowFor(9 * time.Second)
	const frame, total = 100, 6_000_000 // readings: more than the head's memory takes
	s := newSlow(t, filepath.Join(t.TempDir(), "var"), gateways.Options{
		Gateways: 20, Sensors: 4, PerFrame: frame / 4, Window: 16, Rate: total / lasts.Seconds() / 20 / frame,
	})
	s.run(func() {
		s.waitForAcks(100)
		unlock := lockKeyspace(t, s.install)
		begun := time.Now()
		longest := s.acksGoOn(begun.Add(lasts))
		if *slow > 0 && longest > 5*time.Second {
			t.Errorf("for %v nothing was acknowledged", longest)
		}
		s.until("the head has no memory left", func(ctx context.Context) error { // on a busy machine that takes longer
			b := api.Books{}
			if err := s.api.Books(ctx, &b); err != nil {
				return err
			}
			if !slices.ContainsFunc(b.Episodes, func(e api.Episode) bool { return e.State == headapi.StateReplaying }) {
				return fmt.Errorf("%+v", b.Head)
			}
			return nil
		})
		s.waitForAcks(100)
		s.says(s.books(), headapi.StateSlow, begun, "Readings are stored with delay since")
		operatorHears(t, s.install, "keyspace", headapi.StateSlow)
		unlock()
		back := time.Now()
		s.untilState(headapi.StateReady)
		t.Logf("the keyspace was away for %v: no longer than %v without an acknowledgement; all drained %v after it was back",
			lasts, longest.Round(time.Millisecond), time.Since(back).Round(time.Millisecond))
	})
	s.mustHaveEnded(headapi.StateSlow)
	s.checkAll()
	s.checkBooks()
}

// TestSlowNeverSilentWhenTheLogIsFull lets the log reach its quota: gateways are slowed in their own protocol's way, none
// is refused or cut off, and all go on by themselves.
func TestSlowNeverSilentWhenTheLogIsFull(t *testing.T) {
	lasts := slowFor(3 * time.Second)
	s := newSlow(t, filepath.Join(t.TempDir(), "var"), gateways.Options{Gateways: 20, Sensors: 8, PerFrame: 50, Window: 8})
	if _, err := s.install.CLI(t.Context(), "set", "provider1", "--log-bytes", "16MiB"); err != nil {
		t.Fatal(err)
	}
	s.run(func() {
		s.waitForAcks(100)
		unlock := lockKeyspace(t, s.install)
		begun := time.Now()
		s.untilState(headapi.StateFull)
		s.mustBeSlowed(headapi.StateFull, begun, lasts, "the log is nearly full")
		if b := s.books(); b.Log.Bytes > b.Log.Quota {
			t.Errorf("the log holds %d of %d bytes", b.Log.Bytes, b.Log.Quota)
		}
		operatorHears(t, s.install, "log", headapi.StateFull)
		unlock()
		back := time.Now()
		s.waitForAcks(100)
		t.Logf("the log was full for %v; acknowledgements went on %v after the keyspace was back", lasts, time.Since(back).Round(time.Millisecond))
	})
	s.mustHaveEnded(headapi.StateFull)
	s.checkAll()
	s.checkBooks()
}

// TestSlowNeverSilentOnAFullDisk has all data on a small disk. While it is nearly full gateways wait, and what is kept
// free is there for what an instance needs to start; when it is really full, JetStream breaks under load, and heals by
// itself when there is room again. What was acknowledged is there.
func TestSlowNeverSilentOnAFullDisk(t *testing.T) {
	if testing.Short() {
		t.Skip("in short form the log's quota alone is tried")
	}
	lasts := slowFor(4 * time.Second)
	disk := smalldisk.Mount(t, 300<<20)
	t.Setenv("BERTH_DISK_RESERVE", "20%")
	s := newSlow(t, filepath.Join(disk.Dir, "var"), gateways.Options{Gateways: 20, Sensors: 4, Window: 16})
	s.run(func() {
		s.waitForAcks(1_000)
		disk.Fill(40 << 20)
		begun := time.Now()
		s.untilState(headapi.StateDisk)
		s.mustBeSlowed(headapi.StateDisk, begun, lasts, "a disk is nearly full")
		operatorHears(t, s.install, "disk", headapi.StateDisk)
		if free := disk.Free(); free < 20<<20 {
			t.Fatalf("of the 40 MiB that were free %d bytes are left: gateways were not held", free)
		}
		s.startsAgain()
		disk.Empty()
		back := time.Now()
		s.waitForAcks(1_000)
		t.Logf("the disk was nearly full for %v; acknowledgements went on after %v", lasts, time.Since(back).Round(time.Millisecond))

		disk.Fill(0)
		s.until("the log is broken", func(ctx context.Context) error {
			if out, err := s.install.CLI(ctx, "doctor"); !strings.Contains(string(out), "no space left on device") {
				return fmt.Errorf("doctor says %s %w", out, err)
			}
			return nil
		})
		b := s.untilState(headapi.StateDisk)
		s.mustBeSlowed(headapi.StateDisk, *b.Since, lasts, "a disk is nearly full")
		s.startsOnAFullDisk()
		disk.Empty()
		back = time.Now()
		s.waitForAcks(1_000)
		acked := time.Since(back)
		s.untilState(headapi.StateReady)
		t.Logf("the disk was full for %v; acknowledgements went on after %v, and all was well after %v",
			lasts, acked.Round(time.Millisecond), time.Since(back).Round(time.Millisecond))
	})
	s.mustHaveEnded(headapi.StateDisk)
	s.checkAll()
	s.checkBooks()
}

// slowTest is an installation whose gateways are slowed.
type slowTest struct {
	*sending
	tenant *tenant
}

// newSlow starts an installation with its data in a folder, and a provider with gateways like these.
func newSlow(t *testing.T, data string, o gateways.Options) *slowTest {
	t.Helper()
	dir := t.TempDir()
	in := newInstallAt(t, dir, data)
	s := &slowTest{sending: newSending(t, in, dir, o.Gateways), tenant: newAdmin(t, in, "provider1")}
	o.Address, o.Key = s.tenant.Address(), s.tenant.EnrolmentKey
	o.Start, o.Step = time.Now().Add(-30*time.Hour).Truncate(time.Second), 10*time.Millisecond
	var err error
	if s.fleet, err = gateways.New(o); err != nil {
		t.Fatal(err)
	}
	return s
}

// lockKeyspace holds a keyspace's catalog as another process that writes it would, until the returned function.
func lockKeyspace(t *testing.T, in *install.Install) (unlock func()) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(in.Data, "keyspaces", "*", "catalog.db"))
	if err != nil || len(files) != 1 {
		t.Fatalf("the keyspace's catalog is one of %q, %v", files, err)
	}
	db, err := sql.Open("sqlite", files[0]+"?_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(t.Context(), "BEGIN EXCLUSIVE"); err != nil {
		t.Fatal(err)
	}
	unlock = sync.OnceFunc(func() {
		_, err := db.ExecContext(context.Background(), "ROLLBACK")
		if err = errors.Join(err, db.Close()); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(unlock)
	return unlock
}

func (s *slowTest) books() (b api.Books) {
	s.t.Helper()
	s.until("the API answers", func(ctx context.Context) error { return s.api.Books(ctx, &b) })
	return b
}

// untilState waits until the books say the state.
func (s *slowTest) untilState(state string) (b api.Books) {
	s.t.Helper()
	s.until("the state is "+state, func(ctx context.Context) error {
		if err := s.api.Books(ctx, &b); err != nil {
			return err
		}
		if b.State != state {
			return fmt.Errorf("it is %s: %s", b.State, b.Detail)
		}
		return nil
	})
	return b
}

// acksGoOn waits until the end and returns the longest time without an acknowledgement.
func (s *slowTest) acksGoOn(end time.Time) (longest time.Duration) {
	s.t.Helper()
	for last := time.Now(); last.Before(end); {
		s.waitForAcks(1)
		now := time.Now()
		longest = max(longest, now.Sub(last))
		last = now
	}
	return longest
}

// mustBeSlowed looks for a while at gateways that are to wait: none is refused, cut off or forgotten; HTTP is told when to
// come back; the pages say why, and since when.
func (s *slowTest) mustBeSlowed(state string, begun time.Time, lasts time.Duration, text string) {
	s.t.Helper()
	s.until("HTTP is told to come back", func(ctx context.Context) error { return s.refusedOverHTTP(ctx) })
	s.allAnswered()
	before, stats := s.books(), s.fleet.Stats()
	for end := time.Now().Add(lasts); time.Now().Before(end); {
		s.says(s.books(), state, begun, text)
	}
	after, now := s.books(), s.fleet.Stats()
	if now.Acked != stats.Acked {
		s.t.Errorf("%d frames were acknowledged to gateways that wait", now.Acked-stats.Acked)
	}
	const patience = 50 * time.Second // simulated gateways come again after 60 s without an answer
	if lasts < patience && now.Reconnects != stats.Reconnects {
		s.t.Errorf("%d connections were cut", now.Reconnects-stats.Reconnects)
	}
	if after.Frames.Rejected != before.Frames.Rejected || lasts < patience && after.Frames.GivenUp != before.Frames.GivenUp {
		s.t.Errorf("frames were refused or given up: %+v, then %+v", before.Frames, after.Frames)
	}
}

// allAnswered waits until what was on its way into the log is acknowledged, and nothing more is.
func (s *slowTest) allAnswered() {
	s.t.Helper()
	acked, since := s.fleet.Stats().Acked, time.Now()
	s.until("nothing more is acknowledged", func(context.Context) error {
		if now := s.fleet.Stats().Acked; now != acked {
			acked, since = now, time.Now()
		}
		if time.Since(since) < time.Second/2 {
			return fmt.Errorf("%d are", acked)
		}
		return nil
	})
}

// refusedOverHTTP returns an error unless a request is told to come back later.
func (s *slowTest) refusedOverHTTP(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.tenant.Address()+"/write", strings.NewReader("boiler temperature=21.5"))
	if err != nil {
		return err
	}
	request.SetBasicAuth("http1", s.tenant.EnrolmentKey)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") == "" {
		return fmt.Errorf("it is answered %s, Retry-After %q", answer.Status, answer.Header.Get("Retry-After"))
	}
	return nil
}

// says compares what the books say, and for a human being the page, with what has been the case since begun.
func (s *slowTest) says(b api.Books, state string, begun time.Time, text string) {
	s.t.Helper()
	i := slices.IndexFunc(b.Episodes, func(e api.Episode) bool { return e.State == state && e.To == nil })
	if i < 0 {
		s.t.Fatalf("the books do not say that it is %s: %s (%s), %+v", state, b.State, b.Detail, b.Episodes)
	}
	if e := b.Episodes[i]; e.From.Before(begun.Add(-time.Second)) || e.From.After(time.Now()) || e.Detail == "" {
		s.t.Fatalf("the books say that it is %s since %v because of %q; it began at %v", state, e.From, e.Detail, begun)
	}
	since := b.Episodes[i].From.UTC().Format("2 Jan 2006, 15:04:05") // as English writes it
	s.until("the page says so", func(ctx context.Context) error {
		page, err := s.page(ctx, "/providers/provider1/troubles")
		if err != nil {
			return err
		}
		if !strings.Contains(page, text) || !strings.Contains(page, since) {
			return fmt.Errorf("no %q since %s in %s", text, since, page)
		}
		return nil
	})
}

// page returns a page as the provider's admin sees it.
func (s *slowTest) page(ctx context.Context, path string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.install.Web+path, nil)
	if err != nil {
		return "", err
	}
	answer, err := s.tenant.admin.Do(request)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return string(text), err
}

// mustHaveEnded says that of a trouble the books know the beginning and the end.
func (s *slowTest) mustHaveEnded(state string) {
	s.t.Helper()
	s.until("the trouble has ended in the books", func(ctx context.Context) error {
		b := api.Books{}
		if err := s.api.Books(ctx, &b); err != nil {
			return err
		}
		if !slices.ContainsFunc(b.Episodes, func(e api.Episode) bool { return e.State == state && e.To != nil && e.To.After(e.From) }) {
			return fmt.Errorf("%+v", b.Episodes)
		}
		return nil
	})
}

// startsOnAFullDisk kills the provisioner, with NATS inside, and starts it again as its supervisor would. Whether an ingest
// can claim the log then depends on a few bytes that happen to be free; the operator is told in any case.
func (s *slowTest) startsOnAFullDisk() {
	s.t.Helper()
	s.install.Kill()
	ctx, cancel := context.WithTimeout(s.t.Context(), recovery)
	defer cancel()
	if _, err := s.install.Start(ctx); err != nil {
		s.t.Fatal(err)
	}
	found(s.t, s.install, check{Name: "disk reserve", State: "fail", Text: "gateways wait: "})
}

// startsAgain kills ingest while the disk is nearly full: the next one claims the log and holds gateways too, and
// records can be written.
func (s *slowTest) startsAgain() {
	s.t.Helper()
	before, err := s.install.InstancePID(s.t.Context(), "provider1", "ingest")
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.install.KillInstance(s.t.Context(), "provider1", "ingest"); err != nil {
		s.t.Fatal(err)
	}
	s.until("another ingest runs", func(ctx context.Context) error {
		if pid, err := s.install.InstancePID(ctx, "provider1", "ingest"); err != nil || pid == before {
			return fmt.Errorf("pid %d: %w", pid, err)
		}
		return nil
	})
	s.untilState(headapi.StateDisk)
	if _, err := s.install.GatewayKey(s.t.Context(), "provider1", "late"); err != nil {
		s.t.Error(err)
	}
}
