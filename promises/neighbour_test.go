package promises

import (
	"context"
	"database/sql"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"berth/internal/api"
	"berth/internal/gateways"
	"berth/promises/install"
)

var neighbourPhase = flag.Duration("neighbour", 3*time.Second, "how long each trouble of the neighbour lasts")

// street is two providers of one installation: alpha, who has every trouble, and beta, who must not notice.
type street struct {
	t           *testing.T
	in          *install.Install
	dir         string // alpha's keyspace
	alpha, beta install.Provider
	apis        map[string]gateways.API
	phase       time.Duration
	quiet       time.Duration // beta's p99 without any trouble

	old []*gateways.Fleet // of alpha, whose readings lie in a month
}

// TestOneProviderCannotHurtAnother: alpha sends at far more than ten times its limits, crashes again and again, fills its
// log while its keyspace takes nothing, and has the files of its keyspace damaged. Meanwhile beta's gateways get no error:
// no refusal, no reconnect. How long beta's acknowledgements take is printed, without and with each trouble. (How much of
// the machine alpha may use is for the runtime to bound: processes of one machine share it.)
func TestOneProviderCannotHurtAnother(t *testing.T) {
	s := newStreet(t)
	s.beside("nothing", func(ctx context.Context) { <-ctx.Done() })
	s.beside("alpha beyond its rates and connections", s.flood)
	s.beside("alpha crash-looping", s.crash)
	s.beside("alpha's log full", s.fill)
	s.beside("alpha's months damaged", s.damageMonths)
	s.beside("alpha's catalog damaged", s.damageCatalog)
	b := s.books("beta")
	if b.Frames.Rejected > 0 || b.Readings.Rejected > 0 || len(b.Reasons) > 0 || b.State != "ready" {
		t.Errorf("beta's books: %+v", b)
	}
}

func newStreet(t *testing.T) *street {
	t.Helper()
	in, dir := newInstall(t)
	s := &street{t: t, in: in, dir: filepath.Join(dir, "var", "keyspaces", "alpha"), apis: map[string]gateways.API{}, phase: *neighbourPhase}
	if testing.Short() {
		s.phase = min(s.phase, time.Second)
	}
	for name, p := range map[string]*install.Provider{"alpha": &s.alpha, "beta": &s.beta} {
		var err error
		if *p, err = in.Add(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		token, err := in.Token(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		s.apis[name] = gateways.API{Base: "http://" + in.Web, Provider: name, Token: token}
	}
	s.set("--log-bytes", "16MiB")
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		ctx := context.WithoutCancel(t.Context())
		for _, args := range [][]string{{"show", "alpha"}, {"logs", "alpha", "-n", "40"}} {
			out, err := in.CLI(ctx, args...)
			t.Logf("provisioner %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		files, _ := filepath.Glob(filepath.Join(s.dir, "*"))
		t.Logf("alpha's keyspace: %q", files)
	})
	return s
}

func (s *street) books(name string) (b api.Books) {
	s.t.Helper()
	soon(s.t, "the books of "+name+" are answered", func() bool { return s.apis[name].Books(s.t.Context(), &b) == nil })
	return b
}

// set changes alpha's settings.
func (s *street) set(args ...string) {
	s.t.Helper()
	if _, err := s.in.CLI(s.t.Context(), append([]string{"set", "alpha"}, args...)...); err != nil {
		s.t.Fatal(err)
	}
}

func (s *street) fleet(p install.Provider, o gateways.Options) *gateways.Fleet {
	s.t.Helper()
	o.Address, o.Key = p.Address(), p.EnrolmentKey
	f, err := gateways.New(o)
	if err != nil {
		s.t.Fatal(err)
	}
	return f
}

// beside has beta's gateways send at a steady pace while alpha has its trouble. trouble returns when its context ends, and
// leaves alpha in order.
func (s *street) beside(what string, trouble func(ctx context.Context)) {
	s.t.Helper()
	begun := time.Now()
	prefix := strings.ReplaceAll(what, " ", "-") + "-"
	fleets := []*gateways.Fleet{
		s.fleet(s.beta, gateways.Options{Prefix: prefix + "berth", Gateways: 20, Rate: 20, Sensors: 8, Step: time.Second}),
		s.fleet(s.beta, gateways.Options{Prefix: prefix + "http", Gateways: 4, Rate: 10, Sensors: 8, Step: time.Second, Protocol: "http"}),
	}
	ctx, cancel := context.WithCancel(s.t.Context())
	var sending sync.WaitGroup
	for _, f := range fleets {
		sending.Go(func() { f.Run(ctx) })
	}
	defer func() {
		cancel()
		sending.Wait()
	}()
	short, enough := context.WithTimeout(ctx, s.phase)
	trouble(short)
	enough()
	cancel()
	sending.Wait()
	var p99 time.Duration
	for i, f := range fleets {
		stats := f.Stats()
		if stats.Acked == 0 || stats.Reconnects > 0 {
			s.t.Errorf("beside %s beta's gateways (fleet %d) had %d frames acknowledged, and %d errors", what, i, stats.Acked, stats.Reconnects)
		}
		s.goodOf("beta", "beside "+what, f)
		p99 = max(p99, stats.P99)
	}
	if s.quiet == 0 {
		s.quiet = p99
	}
	s.t.Logf("beside %s: no error; beta's p99 is %v, quiet %v (%.1f times); %v in all", what, p99.Round(100*time.Microsecond),
		s.quiet.Round(100*time.Microsecond), float64(p99)/float64(s.quiet), time.Since(begun).Round(100*time.Millisecond))
}

// The limits of alpha's flood.
const (
	floodReadings    = 5000 // a second
	floodConnections = 50
)

// flood sends as fast as it can from more gateways than may be connected, and connects again and again.
func (s *street) flood(ctx context.Context) {
	s.set("--readings-per-second", fmt.Sprint(floodReadings), "--bytes-per-second", "100k", "--gateway-readings-per-second", "2k",
		"--connections", fmt.Sprint(floodConnections), "--connections-per-gateway", "4")
	begun, before := time.Now(), s.books("alpha")
	wild := s.fleet(s.alpha, gateways.Options{Prefix: "wild", Gateways: 2 * floodConnections, Sensors: 10, PerFrame: 100, Step: time.Millisecond})
	web := s.fleet(s.alpha, gateways.Options{Prefix: "wildweb", Gateways: 20, Sensors: 10, PerFrame: 100, Step: time.Millisecond, Protocol: "http", Window: 1})
	var all sync.WaitGroup
	flooding, enough := context.WithCancel(s.t.Context())
	all.Go(func() { wild.Run(flooding) })
	all.Go(func() { web.Run(flooding) })
	for range 4 {
		all.Go(func() { connect(flooding, s.alpha.Address(), 10*floodConnections/4) })
	}
	<-ctx.Done()
	soon(s.t, "alpha is slowed, and its connections are refused", func() bool { // on a busy machine that takes longer
		b := s.books("alpha")
		return slowed(&b) > 0 && b.Reasons["connections"] >= floodConnections
	})
	enough()
	all.Wait()
	b := s.books("alpha")
	accepted, took := b.Readings.Accepted-before.Readings.Accepted, time.Since(begun)
	// The burst is five seconds' worth; and each connection may have had one read in hand.
	if most := uint64(float64(floodReadings)*(took.Seconds()+5)) + 2*floodConnections*3000; accepted > most {
		s.t.Errorf("%d readings of alpha were taken in %v, more than %d", accepted, took, most)
	}
	s.t.Logf("alpha: %d readings taken in %v, slowed %d times, %d connections refused", accepted, took.Round(time.Millisecond), slowed(&b), b.Reasons["connections"])
	s.set("--readings-per-second", "none", "--bytes-per-second", "none", "--gateway-readings-per-second", "none", "--connections", "20k")
	s.good("beyond its rates", wild)
	s.good("beyond its rates, over HTTP", web)
	s.old = append(s.old, wild, web)
}

// slowed returns how often senders were slowed.
func slowed(b *api.Books) (n uint64) {
	for reason, times := range b.Reasons {
		if strings.HasPrefix(reason, "slowed_") {
			n += times
		}
	}
	return n
}

// connect connects so many times a second, and asks something.
func connect(ctx context.Context, address string, rate int) {
	var d net.Dialer
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		c, err := d.DialContext(ctx, "tcp", address)
		if err != nil {
			continue
		}
		_, _ = c.Write([]byte("HELLO nobody bk_wrong\n"))
		_ = c.SetReadDeadline(time.Now().Add(time.Second))
		_, _ = c.Read(make([]byte, 100))
		_ = c.Close()
	}
}

// crash kills alpha's ingest whenever it runs, twice at least.
func (s *street) crash(ctx context.Context) {
	f := s.fleet(s.alpha, gateways.Options{Prefix: "crashing", Gateways: 10, Rate: 100})
	sending, stop := context.WithCancel(s.t.Context())
	var all sync.WaitGroup
	all.Go(func() { f.Run(sending) })
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	kills := 0
	for ; ctx.Err() == nil || kills < 2; <-tick.C {
		if err := s.in.KillInstance(s.t.Context(), "alpha", "ingest"); err != nil {
			s.t.Fatal(err)
		}
		kills++
	}
	acked := f.Stats().Acked
	soon(s.t, "alpha takes readings again", func() bool { return f.Stats().Acked > acked })
	stop()
	all.Wait()
	s.good("through its crashes", f)
	s.t.Logf("alpha: ingest killed %d times", kills)
}

// good compares what alpha answers with what it acknowledged.
func (s *street) good(what string, f *gateways.Fleet) {
	s.t.Helper()
	r := s.goodOf("alpha", what, f)
	s.t.Logf("alpha %s: %d readings acknowledged, lost 0", what, r.Acked)
}

// goodOf compares what a provider answers, as soon as its answers are complete, with what it acknowledged.
func (s *street) goodOf(provider, what string, f *gateways.Fleet) (r gateways.Result) {
	s.t.Helper()
	var err error
	if !eventuallyGood(func() bool {
		r, err = f.Check(s.t.Context(), s.apis[provider])
		return err == nil && r.Good()
	}) {
		s.t.Errorf("%s %s: %+v, %v", provider, what, r, err)
	}
	return r
}

func eventuallyGood(so func() bool) bool {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for limit := time.Now().Add(recovery); !so(); <-tick.C {
		if time.Now().After(limit) {
			return false
		}
	}
	return true
}

// acknowledged has a fleet send until the context ends, and until something was acknowledged.
func (s *street) acknowledged(ctx context.Context, what string, f *gateways.Fleet) {
	s.t.Helper()
	sending, enough := context.WithCancel(s.t.Context())
	var run sync.WaitGroup
	run.Go(func() { f.Run(sending) })
	defer func() { enough(); run.Wait() }()
	soon(s.t, "alpha takes readings "+what, func() bool { return f.Stats().Acked > 0 })
	<-ctx.Done()
}

// fill holds alpha's keyspace, so that nothing can be stored, and sends until its log is full.
func (s *street) fill(ctx context.Context) {
	release := s.hold()
	f := s.fleet(s.alpha, gateways.Options{Prefix: "filling", Gateways: 8, Sensors: 10, PerFrame: 100, Window: 4, Step: time.Millisecond})
	sending, stop := context.WithCancel(s.t.Context())
	var all sync.WaitGroup
	all.Go(func() { f.Run(sending) })
	var b api.Books
	soon(s.t, "alpha's log is full, and says so", func() bool {
		b = s.books("alpha")
		return b.State == "full" && b.Since != nil
	})
	if b.Log.Bytes > b.Log.Quota {
		s.t.Errorf("alpha's log holds %d bytes of %d", b.Log.Bytes, b.Log.Quota)
	}
	s.t.Logf("alpha: %s since %s: %s; the log holds %d of %d bytes", b.State, b.Since.Format(time.TimeOnly), b.Detail, b.Log.Bytes, b.Log.Quota)
	<-ctx.Done()
	release()
	acked := f.Stats().Acked
	soon(s.t, "alpha takes readings again", func() bool { return f.Stats().Acked > acked })
	stop()
	all.Wait()
	s.set("--log-bytes", "1GiB", "--readings-per-second", "20k")
	s.good("through its full log", f)
	s.old = append(s.old, f)
}

// hold locks alpha's files, as something that hangs would.
func (s *street) hold() (release func()) {
	s.t.Helper()
	var releases []func()
	for _, file := range s.files() {
		db, err := sql.Open("sqlite", file+"?_pragma=busy_timeout(10000)")
		if err != nil {
			s.t.Fatal(err)
		}
		conn, err := db.Conn(s.t.Context())
		if err != nil {
			s.t.Fatal(err)
		}
		if _, err := conn.ExecContext(s.t.Context(), "BEGIN IMMEDIATE"); err != nil {
			s.t.Fatalf("lock %s: %v", file, err)
		}
		releases = append(releases, func() {
			_, _ = conn.ExecContext(context.Background(), "ROLLBACK")
			_, _ = conn.Close(), db.Close()
		})
	}
	once := sync.OnceFunc(func() {
		for _, r := range releases {
			r()
		}
	})
	s.t.Cleanup(once)
	return once
}

// files returns the files of alpha's keyspace, once there is a month.
func (s *street) files() (files []string) {
	s.t.Helper()
	soon(s.t, "alpha has stored something", func() bool {
		var err error
		files, err = filepath.Glob(filepath.Join(s.dir, "*.db"))
		return err == nil && len(files) > 1
	})
	return files
}

// overwrite replaces bytes of a file and returns what they were.
func (s *street) overwrite(file string, at int64, with []byte) (before []byte) {
	s.t.Helper()
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	defer f.Close()
	before = make([]byte, len(with))
	if _, err := f.ReadAt(before, at); err != nil {
		s.t.Fatal(err)
	}
	if _, err := f.WriteAt(with, at); err != nil {
		s.t.Fatal(err)
	}
	return before
}

// checkpoint moves what was written from a file's write-ahead log into the file, and reports whether that was all.
func (s *street) checkpoint(file string) bool {
	s.t.Helper()
	db, err := sql.Open("sqlite", file+"?_pragma=busy_timeout(1000)")
	if err != nil {
		s.t.Fatal(err)
	}
	defer db.Close()
	var busy, in, moved int
	if err := db.QueryRowContext(s.t.Context(), "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &in, &moved); err != nil {
		s.t.Fatalf("checkpoint %s: %v", file, err)
	}
	return busy == 0
}

// pauseWritten pauses alpha's ingest when all that it wrote is in the file, not in the log beside it, and returns its pid.
func (s *street) pauseWritten(file string) (pid int) {
	s.t.Helper()
	soon(s.t, "alpha's ingest has written all to "+file, func() bool {
		var err error
		if pid, err = s.in.InstancePID(s.t.Context(), "alpha", "ingest"); err != nil {
			return false
		}
		s.signal(pid, syscall.SIGSTOP)
		if s.checkpoint(file) {
			return true
		}
		s.signal(pid, syscall.SIGCONT)
		return false
	})
	return pid
}

func (s *street) signal(pid int, what syscall.Signal) {
	s.t.Helper()
	if err := syscall.Kill(pid, what); err != nil {
		s.t.Fatal(err)
	}
}

// damageMonths overwrites pages of alpha's months while it runs, and has it start again on them. What it acknowledges from
// then on is found all the same.
func (s *street) damageMonths(ctx context.Context) {
	pages := 0
	for _, file := range s.files() {
		if strings.HasSuffix(file, "catalog.db") {
			continue
		}
		soon(s.t, "all is in "+file, func() bool { return s.checkpoint(file) })
		info, err := os.Stat(file)
		if err != nil {
			s.t.Fatal(err)
		}
		for at := int64(4096); at+4096 <= info.Size(); at += 2 * 4096 { // every other page, never the first
			s.overwrite(file, at+64, slices.Repeat([]byte("rot!"), 500))
			pages++
		}
	}
	if pages < 10 {
		s.t.Fatalf("only %d pages could be damaged", pages)
	}
	s.restart()
	f := s.fleet(s.alpha, gateways.Options{Prefix: "after-damage", Gateways: 4, PerFrame: 50, Window: 4, Step: time.Second, Start: time.Now().Add(-time.Hour * 40)})
	s.acknowledged(ctx, "on damaged months", f)
	s.good("on damaged months", f)
	var says []string
	soon(s.t, "alpha's state says what is wrong, and since when", func() bool {
		for _, f := range s.old { // somebody asks for what was damaged, whichever of it that is
			_, _ = f.Check(s.t.Context(), s.apis["alpha"])
		}
		says = s.says()
		return slices.ContainsFunc(says, func(text string) bool { return strings.Contains(text, "cannot be read") })
	})
	s.t.Logf("alpha: %q", says)
}

// damageCatalog overwrites the head of alpha's catalog, without which its ingest cannot start, and mends it.
func (s *street) damageCatalog(ctx context.Context) {
	f := s.fleet(s.alpha, gateways.Options{Prefix: "waiting", Gateways: 4, Step: time.Second})
	before, enough := context.WithTimeout(s.t.Context(), s.phase/2)
	s.acknowledged(before, "before its catalog is damaged", f)
	enough()
	catalog := filepath.Join(s.dir, "catalog.db")
	pid := s.pauseWritten(catalog)
	head := s.overwrite(catalog, 0, slices.Repeat([]byte{0x5a}, 100))
	s.signal(pid, syscall.SIGKILL) // an orderly end would write the head again
	var told string
	soon(s.t, "alpha's state says what is wrong", func() bool {
		told = s.told()
		return strings.Contains(told, "degraded") && strings.Contains(told, "catalog.db is damaged") && strings.Contains(told, " since ")
	})
	s.t.Logf("alpha: %s", told)
	<-ctx.Done()
	s.overwrite(catalog, 0, head)
	soon(s.t, "alpha is at work again", func() bool {
		var b api.Books
		return s.apis["alpha"].Books(s.t.Context(), &b) == nil
	})
	s.good("through its damaged catalog", f)
}

// restart has alpha start again at once, however often it ended before.
func (s *street) restart() {
	s.t.Helper()
	if _, err := s.in.CLI(s.t.Context(), "restart", "alpha", "--wait", "0"); err != nil {
		s.t.Fatal(err)
	}
}

// told is alpha's state as an operator sees it.
func (s *street) told() string {
	s.t.Helper()
	out, err := s.in.CLI(s.t.Context(), "show", "alpha", "-o", "json")
	if err != nil {
		s.t.Fatal(err)
	}
	var p struct{ State, Detail string }
	if err := json.Unmarshal(out, &p); err != nil {
		s.t.Fatal(err)
	}
	return p.State + ": " + p.Detail
}

// says is what alpha's instances say of themselves that is not as it should be.
func (s *street) says() (all []string) {
	s.t.Helper()
	out, err := s.in.CLI(s.t.Context(), "show", "alpha", "-o", "json")
	if err != nil {
		s.t.Fatal(err)
	}
	var p struct {
		Instances []struct {
			Says, Detail string
			Since        *time.Time
		}
	}
	if err := json.Unmarshal(out, &p); err != nil {
		s.t.Fatal(err)
	}
	for _, i := range p.Instances {
		if i.Since != nil {
			all = append(all, fmt.Sprintf("%s since %s: %s", i.Says, i.Since.Format(time.RFC3339), i.Detail))
		}
	}
	return all
}
