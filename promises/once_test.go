package promises

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/internal/keyspace"
	"berth/internal/keyspace/open"
	"berth/promises/install"
	"berth/schema"
	"berth/schema/block"
	"berth/schema/catalog"
)

var histories = flag.Int("histories", 250, "how many random histories are compared with the model")

// TestStoredOnceAndLateIsWelcome plays random histories, and those kept as scripts in testdata/once, against the real
// programs, each with a gateway of its own: repeats, late and reordered readings, equal times, kinds that change, days
// reopened, the edges of what is kept, ingest killed and restarted between. At every turn, and when all rollups are
// computed, what the API answers equals what a model has that simply remembers: readings, newest values, buckets of
// readings, of hours and of days, and their counts.
//
// A history that fails is made smaller while it still fails, printed, and kept as a script.
func TestStoredOnceAndLateIsWelcome(t *testing.T) {
	t.Parallel()
	count := *histories
	if testing.Short() {
		count = min(count, 20)
	}
	t.Logf("%d histories, -seed=%d", count, *seed)
	o := newOnce(t)
	players, begun := o.kept(), time.Now()
	all, readings, failed := 0, 0, 0
	for at := 0; at < count || len(players) > 0; players = nil {
		var events []string // these meet the same
		r := rand.New(rand.NewPCG(*seed, uint64(at)))
		for range 3 {
			events = append(events, []string{"kill", "kill", "restart"}[r.IntN(3)])
		}
		for ; at < count && len(players) < together; at++ {
			players = append(players, o.player(fmt.Sprintf("history %d", at), drawHistory(rand.New(rand.NewPCG(*seed, uint64(at)+1)), events)))
		}
		o.play(players)
		o.conclude(players)
		all += len(players)
		for _, p := range players {
			readings += p.sent
			if p.err == nil {
				continue
			}
			if failed++; failed == 1 {
				o.report(p)
			}
		}
	}
	t.Logf("%d histories with %d readings, compared in %d questions, %v; %d differ", all, readings, o.questions, time.Since(begun).Round(time.Millisecond), failed)
}

// together is how many histories are played at once.
const together = 300

// once is an installation with a provider whose gateways play histories.
type once struct {
	t       *testing.T
	install *install.Install
	base    baseClock
	write   string // where frames go
	key     string
	api     string
	token   string
	client  *http.Client
	players int

	mu        sync.Mutex // guards questions
	questions int
}

// player is a gateway that plays a history.
type player struct {
	name    string
	gateway string
	history history
	next    int
	frames  []*step // sent so far
	model   remembered
	sent    int // readings
	err     error
}

func newOnce(t *testing.T) *once {
	t.Helper()
	in, _ := newInstall(t)
	ctx, cancel := context.WithTimeout(t.Context(), recovery)
	defer cancel()
	provider, err := in.Add(ctx, "provider1")
	if err != nil {
		t.Fatal(err)
	}
	token, err := in.Token(ctx, "provider1")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC()
	transport := &http.Transport{MaxIdleConnsPerHost: workers}
	t.Cleanup(transport.CloseIdleConnections)
	return &once{
		t: t, install: in, base: baseClock{midnight: now.Truncate(24 * time.Hour), now: now.Truncate(time.Second)},
		write: "http://" + provider.Address() + "/api/v2/write", key: provider.EnrolmentKey,
		api: "http://" + in.Web + "/api/v1/providers/provider1/gateways/", token: token,
		client: &http.Client{Transport: transport, Timeout: time.Minute},
	}
}

// kept returns players of the scripts in testdata.
func (o *once) kept() (players []*player) {
	o.t.Helper()
	paths, err := filepath.Glob("testdata/once/*.txt")
	if err != nil || len(paths) == 0 {
		o.t.Fatalf("there are no scripts in testdata/once: %v", err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			o.t.Fatal(err)
		}
		h, err := parseHistory(string(text))
		if err != nil {
			o.t.Fatalf("%s: %v", path, err)
		}
		players = append(players, o.player(path, h))
	}
	return players
}

func (o *once) player(name string, h history) *player {
	o.players++
	return &player{name: name, gateway: fmt.Sprintf("g%05d", o.players), history: h, model: remembered{}}
}

// workers is how many players play at once.
const workers = 16

// each calls fn for each player that has not failed.
func (o *once) each(players []*player, fn func(p *player) error) {
	var wg sync.WaitGroup
	work := make(chan *player)
	for range workers {
		wg.Go(func() {
			for p := range work {
				if p.err == nil {
					p.err = fn(p)
				}
			}
		})
	}
	for _, p := range players {
		work <- p
	}
	close(work)
	wg.Wait()
}

// play plays all histories. They go on together until each is at an event; what most of them wait for then befalls all.
func (o *once) play(players []*player) {
	o.t.Helper()
	for {
		o.each(players, o.playOn)
		waiting := map[string]int{}
		for _, p := range players {
			if p.err == nil && p.next < len(p.history) {
				waiting[p.history[p.next].verb]++
			}
		}
		if len(waiting) == 0 {
			return
		}
		event := "kill"
		if waiting["restart"] > waiting["kill"] {
			event = "restart"
		}
		o.befall(event)
		for _, p := range players {
			if p.err == nil && p.next < len(p.history) && p.history[p.next].verb == event {
				p.next++
			}
		}
	}
}

// befall has an event happen, and returns when ingest takes frames again.
func (o *once) befall(event string) {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(o.t.Context(), recovery)
	defer cancel()
	var err error
	if event == "kill" {
		err = o.install.KillInstance(ctx, "provider1", "ingest")
	} else {
		_, err = o.install.CLI(ctx, "restart", "provider1")
	}
	if err != nil {
		o.t.Fatal(err)
	}
}

// playOn plays a history up to its next event.
func (o *once) playOn(p *player) error {
	for ; p.next < len(p.history); p.next++ {
		s := &p.history[p.next]
		var err error
		switch {
		case s.event():
			return nil
		case s.verb == "check":
			err = o.check(p)
		case s.verb == "again":
			if s.number >= 1 && s.number <= len(p.frames) { // a smaller history may not have it any more
				err = o.send(p, p.frames[s.number-1])
			}
		default:
			p.frames = append(p.frames, s)
			err = o.send(p, s)
		}
		if err != nil {
			return fmt.Errorf("at %q (%d): %w", s.verb, p.next+1, err)
		}
	}
	return nil
}

// send sends a frame until it is answered, and notes it.
func (o *once) send(p *player, s *step) error {
	lines, readings := s.body(&o.base)
	p.sent += len(readings)
	want := http.StatusNoContent
	if p.model.take(readings, &o.base) > 0 {
		want = http.StatusBadRequest
	}
	return o.patiently(recovery, func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, o.write, strings.NewReader(lines))
		if err != nil {
			return err
		}
		request.SetBasicAuth(p.gateway, o.key)
		answer, err := o.client.Do(request)
		if err != nil {
			return again(err)
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		switch {
		case answer.StatusCode == http.StatusServiceUnavailable || err != nil:
			return again(fmt.Errorf("%s: %s", answer.Status, text))
		case answer.StatusCode != want:
			return fmt.Errorf("a frame is answered %s, want %d: %s", answer.Status, want, text)
		}
		return nil
	})
}

// notYet is an error that another try may mend.
type notYet struct{ error }

func again(err error) error { return notYet{err} }

// patiently tries again while an error may pass, for so long.
func (o *once) patiently(limit time.Duration, fn func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(o.t.Context(), limit)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for before := error(nil); ; {
		err := fn(ctx)
		if ctx.Err() != nil && err != nil && before != nil {
			err = before // it says more than that the time is over
		}
		if passing := (notYet{}); !errors.As(err, &passing) {
			return err
		}
		before = err
		select {
		case <-tick.C:
		case <-ctx.Done():
			return err
		}
	}
}

// conclude compares all histories at their end, once as they are and once when their rollups are computed.
func (o *once) conclude(players []*player) {
	o.t.Helper()
	o.each(players, o.check)
	o.befall("restart")
	o.awaitRollups(players)
	o.each(players, o.check)
}

// awaitRollups waits until every hour and day that has ended and has blocks has a rollup that counts; those of a day that
// the gateway's tail touches may have to wait until it is a block, and readers compute them.
func (o *once) awaitRollups(players []*player) {
	o.t.Helper()
	backend, err := open.Open("sqlite:"+filepath.Join(o.install.Data, "keyspaces"), slog.New(slog.DiscardHandler))
	if err != nil {
		o.t.Fatal(err)
	}
	defer backend.Close()
	reader, err := backend.Reader(o.t.Context(), "provider1")
	if err != nil {
		o.t.Fatal(err)
	}
	defer reader.Close()
	counted := 0
	err = o.patiently(3*recovery, func(ctx context.Context) error {
		counted = 0
		ended := time.Now().Add(-2 * time.Minute).UnixNano()
		for _, p := range players {
			tails, err := tailDays(ctx, reader, p.gateway)
			if err != nil {
				return err
			}
			for _, span := range []keyspace.Span{keyspace.Hour, keyspace.Day} {
				err := reader.Rollups(ctx, p.gateway, span, math.MinInt64/2, math.MaxInt64/2, func(r keyspace.Rollup) error {
					if r.Start+span.Length() <= ended && r.Computed.Less(r.Stale) && !tails[schema.Start(r.Start, schema.DaySpan)] {
						return again(fmt.Errorf("the rollup of %s at %v is behind", p.name, time.Unix(0, r.Start).UTC()))
					}
					counted++
					return nil
				})
				if err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		o.t.Fatal(err)
	}
	if counted == 0 {
		o.t.Error("no history has a rollup: the test does not test")
	}
}

// tailDays returns the days that a gateway's tail has readings of.
func tailDays(ctx context.Context, reader keyspace.Reader, gateway string) (map[int64]bool, error) {
	row, err := reader.Gateway(ctx, gateway)
	if schema.Is(err, schema.NotFound) || err == nil && len(row.Tail) == 0 {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	blocks, err := catalog.DecodeTail(row.Tail)
	if err != nil {
		return nil, err
	}
	days := map[int64]bool{}
	for _, data := range blocks {
		r, err := block.Open(data)
		if err != nil {
			return nil, err
		}
		days[schema.Start(r.First(), schema.DaySpan)] = true
	}
	return days, nil
}

// report makes a history that failed smaller, prints it, and keeps it.
func (o *once) report(p *player) {
	o.t.Helper()
	o.t.Errorf("%s: %v", p.name, p.err)
	small, err := o.shrink(p.history, p.err)
	script := fmt.Sprintf("# It failed with -seed=%d (%s): %s\n%s", *seed, p.name, strings.ReplaceAll(err.Error(), "\n", "\n# "), small)
	path := filepath.Join("testdata", "once", fmt.Sprintf("failed-%d.txt", *seed))
	if strings.HasSuffix(p.name, ".txt") {
		path = filepath.Join(o.t.TempDir(), "small.txt") // it is kept already
	}
	if err := os.WriteFile(path, []byte(script), 0o600); err != nil {
		o.t.Error(err)
	}
	o.t.Errorf("kept as %s:\n%s", path, script)
}

// shrink leaves steps, then readings, out of a history as long as what is left fails alone.
func (o *once) shrink(h history, why error) (history, error) {
	fails := func(h history) error {
		p := o.player("a smaller one", h)
		o.play([]*player{p})
		o.conclude([]*player{p})
		return p.err
	}
	err := fails(h)
	if err == nil {
		return h, fmt.Errorf("%w\n(alone it does not fail)", why)
	}
	limit := time.Now().Add(2 * time.Minute)
	for size := max(len(h)/2, 1); time.Now().Before(limit); size = max(size/2, 1) {
		smaller := false
		for at := 0; at < len(h) && time.Now().Before(limit); {
			less := slices.Delete(slices.Clone(h), at, min(at+size, len(h)))
			if e := fails(less); e != nil {
				h, err, smaller = less, e, true
			} else {
				at += size
			}
		}
		if size == 1 && !smaller {
			break
		}
	}
	return h, err
}
