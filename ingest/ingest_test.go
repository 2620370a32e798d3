package ingest_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"berth/ingest"
	"berth/internal/api"
	"berth/internal/bus"
	"berth/internal/bus/bustest"
	"berth/internal/credentials"
	"berth/internal/headapi"
	"berth/internal/houseapi"
	"berth/internal/keyspace/open"
	"berth/schema"
	"berth/schema/batch"
	"berth/schema/block"
	"berth/schema/catalog"
	"berth/schema/record"
)

func verify(m *testing.M) { goleak.VerifyTestMain(m) }

const enrolmentKey = "bk_0123456789abcdefghijklmnop"

// house is what an ingest instance leans on: NATS with a provider's account and records, and a keyspace.
type house struct {
	t           *testing.T
	options     ingest.Options
	provisioner *bus.Conn
	pipeline    *bus.Conn // what reports would have
	record      record.Pipeline
}

func newHouse(t *testing.T, quota bus.LogOptions) *house {
	t.Helper()
	h := &house{t: t}
	house := bustest.New(t)
	full, limited := house.Provider("harbor", quota)
	h.provisioner, h.pipeline = full, house.Connect(limited)
	h.record = record.Pipeline{
		Version: record.Version, Name: "harbor", Slot: 1, Keyspace: "harbor",
		Settings: record.DefaultSettings(), EnrolmentHash: credentials.Hash(enrolmentKey),
	}
	h.put()
	keyspaces := "sqlite:" + t.TempDir()
	backend, err := open.Open(keyspaces, house.Log)
	h.check(err)
	h.check(backend.Create(t.Context(), "harbor"))
	h.check(backend.Close())
	h.options = ingest.Options{
		Provider: "harbor", Host: "127.0.0.1", Bus: house.Server.URL(), Credentials: limited, Keyspaces: keyspaces, Logger: house.Log,
		PartTimes: 120, // small parts, so that few readings make blocks
	}
	return h
}

func (h *house) check(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// put writes the pipeline's record.
func (h *house) put() {
	h.t.Helper()
	bucket, err := h.provisioner.Bucket(h.t.Context(), bus.BucketOptions{Name: "pipeline"})
	h.check(err)
	data, err := json.Marshal(h.record)
	h.check(err)
	_, err = bucket.Put(h.t.Context(), record.PipelineKey, data)
	h.check(err)
}

func (h *house) start() *ingest.Ingest {
	h.t.Helper()
	i, err := ingest.New(h.options)
	h.check(err)
	h.check(i.Start(h.t.Context()))
	return i
}

func (h *house) stop(i *ingest.Ingest) {
	h.t.Helper()
	h.check(i.Stop(context.Background()))
}

// gateway is a gateway's connection.
type gateway struct {
	h    *house
	conn net.Conn
	in   *bufio.Reader
	seq  int
}

// dial connects as crane-1.
func (h *house) dial(i *ingest.Ingest) *gateway {
	h.t.Helper()
	conn, err := net.Dial("tcp", i.Addr().String())
	h.check(err)
	h.t.Cleanup(func() { _ = conn.Close() })
	h.check(conn.SetDeadline(time.Now().Add(time.Minute)))
	g := &gateway{h: h, conn: conn, in: bufio.NewReader(conn)}
	if got := g.say("HELLO crane-1 " + enrolmentKey + "\n"); !strings.HasPrefix(got, "OK") {
		h.t.Fatalf("HELLO is answered by %q", got)
	}
	return g
}

// say sends text and returns the next line.
func (g *gateway) say(text string) string {
	g.h.t.Helper()
	_, err := g.conn.Write([]byte(text))
	g.h.check(err)
	line, err := g.in.ReadString('\n')
	g.h.check(err)
	return strings.TrimSpace(line)
}

// put sends a frame and returns the answer.
func (g *gateway) put(lines string) string {
	g.h.t.Helper()
	g.seq++
	return g.say(fmt.Sprintf("PUT %d line %d\n%s", g.seq, len(lines), lines))
}

// until waits until something holds, and no longer than 20 s.
func (h *house) until(what string, holds func() bool) {
	h.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(time.Minute); !holds(); {
		select {
		case <-tick.C:
		case <-limit:
			h.t.Fatal("not within a minute: " + what)
		}
	}
}

func (h *house) books() (b api.Books) {
	h.t.Helper()
	h.check(h.pipeline.Ask(h.t.Context(), headapi.Books, []byte("{}"), func(chunk []byte) error { return json.Unmarshal(chunk, &b) }))
	return b
}

// readings returns how many readings of crane-1 the head and the keyspace have together.
func (h *house) readings(withHead bool) int {
	h.t.Helper()
	var sources []block.Source
	take := func(data []byte) error {
		r, err := block.Open(data)
		sources = append(sources, r)
		return err
	}
	if withHead {
		request, err := json.Marshal(headapi.PartsRequest{Gateway: "crane-1", From: math.MinInt64 / 2, To: math.MaxInt64 / 2})
		h.check(err)
		for header := (headapi.Header{}); !header.Complete; { // it is still reading what the log holds
			n := 0
			sources = nil
			h.check(h.pipeline.Ask(h.t.Context(), headapi.Parts, request, func(chunk []byte) error {
				if n++; n == 1 {
					return json.Unmarshal(chunk, &header)
				}
				return take(chunk)
			}))
		}
	}
	backend, err := open.Open(h.options.Keyspaces, h.options.Logger)
	h.check(err)
	defer backend.Close()
	reader, err := backend.Reader(h.t.Context(), "harbor")
	h.check(err)
	defer reader.Close()
	row, err := reader.Gateway(h.t.Context(), "crane-1")
	if err == nil && len(row.Tail) > 0 {
		blocks, err := catalog.DecodeTail(row.Tail)
		h.check(err)
		for _, data := range blocks {
			h.check(take(data))
		}
	} else if err != nil && !schema.Is(err, schema.NotFound) {
		h.check(err)
	}
	series, err := block.Merge(sources, nil, math.MinInt64/2, math.MaxInt64/2)
	h.check(err)
	n := 0
	for i := range series {
		n += series[i].Len()
	}
	return n
}

func TestAcknowledgedReadingsAreAnsweredAndKept(t *testing.T) {
	h := newHouse(t, bus.LogOptions{})
	i := h.start()
	g := h.dial(i)
	for n := range 3 {
		if got, want := g.put(fmt.Sprintf("hoist load=%d,height=2.5\n", n)), fmt.Sprintf("ACK %d", n+1); got != want {
			t.Fatalf("a frame is answered by %q, want %q", got, want)
		}
		if got, want := h.readings(true), 2*(n+1); got != want {
			t.Errorf("right after the acknowledgement %d readings are found, want %d", got, want)
		}
	}
	b := h.books()
	if b.Frames.Received != 3 || b.Frames.Committed != 3 || b.Readings.Accepted != 6 || b.Readings.Timeless != 6 || b.Log.Followed != b.Log.Last || b.State != headapi.StateReady {
		t.Errorf("the books say %+v", b)
	}
	h.stop(i)
	if got := h.readings(false); got != 6 {
		t.Errorf("after a stop the keyspace has %d readings, want 6", got)
	}
	i = h.start()
	defer h.stop(i)
	if b := h.books(); b.Frames.Committed != 3 || b.Readings.Accepted != 6 || b.Log.Messages > 2 {
		t.Errorf("after a start the books say %+v", b)
	}
	g = h.dial(i)
	if got := g.put("hoist load=9,height=2.5\n"); got != "ACK 1" {
		t.Errorf("a frame after a start is answered by %q", got)
	}
	if got := h.readings(true); got != 8 {
		t.Errorf("%d readings are found, want 8", got)
	}
}

func TestSettingsAreLive(t *testing.T) {
	h := newHouse(t, bus.LogOptions{})
	i := h.start()
	defer h.stop(i)
	g := h.dial(i)
	h.record.Settings.Limits.SensorsPerGateway = 1
	h.put()
	deadline := time.Now().Add(time.Minute)
	for n := 0; ; n++ {
		got := g.put(fmt.Sprintf("hoist load%d=1\n", n))
		if strings.HasPrefix(got, "NAK") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("a limit of one sensor is not kept a minute after it was set")
		}
	}
}

func TestTakenOverInstanceStops(t *testing.T) {
	h := newHouse(t, bus.LogOptions{})
	i := h.start()
	g := h.dial(i)
	if got := g.put("hoist load=1\n"); got != "ACK 1" {
		t.Fatalf("a frame is answered by %q", got)
	}
	log, err := h.pipeline.OpenLog(t.Context())
	h.check(err)
	writer, _, err := log.Claim(t.Context(), "another", 0, func(prev []byte) ([]byte, error) { return prev, nil })
	h.check(err)
	defer writer.Close()
	go func() { _, _ = fmt.Fprintf(g.conn, "PUT 2 line 13\nhoist load=2\n") }()
	<-i.Done()
	if err := i.Err(); !errors.Is(err, bus.ErrTakenOver) || !strings.Contains(err.Error(), "another instance") {
		t.Errorf("the instance stops because of %v", err)
	}
	_ = i.Stop(context.Background()) // says the same
	if _, err := net.Dial("tcp", i.Addr().String()); err == nil {
		t.Error("the port is still open")
	}
}

// A newer instance claims the log before it waits for the keyspace's lock: so one that is at work, and idle, learns of it
// within seconds, stops, and gives the lock back.
func TestNewerInstanceEndsOneThatHoldsTheLock(t *testing.T) {
	h := newHouse(t, bus.LogOptions{})
	old := h.start()
	if got := h.dial(old).put("hoist load=1\n"); got != "ACK 1" {
		t.Fatalf("a frame is answered by %q", got)
	}
	ended := make(chan error, 1)
	go func() {
		<-old.Done()
		err := old.Err()
		_ = old.Stop(context.Background()) // says the same
		ended <- err
	}()
	newer := h.start()
	defer h.stop(newer)
	if err := <-ended; !errors.Is(err, bus.ErrTakenOver) {
		t.Errorf("the older instance stops because of %v", err)
	}
	if got := h.dial(newer).put("hoist load=2\n"); got != "ACK 1" {
		t.Errorf("a frame is answered by %q", got)
	}
	if got := h.readings(true); got != 2 {
		t.Errorf("%d readings are found, want 2", got)
	}
}

// A log that was restored from an older copy is refused, until it is ordered to give up what it holds.
func TestOlderLogIsRefused(t *testing.T) {
	h := newHouse(t, bus.LogOptions{})
	i := h.start()
	g := h.dial(i)
	for n := range 5 {
		if got := g.put(fmt.Sprintf("hoist load=%d\n", n)); !strings.HasPrefix(got, "ACK") {
			t.Fatalf("a frame is answered by %q", got)
		}
	}
	h.stop(i)
	h.check(h.provisioner.Remove(t.Context()))
	h.check(h.provisioner.Prepare(t.Context(), bus.LogOptions{}))
	log, err := h.pipeline.OpenLog(t.Context())
	h.check(err)
	writer, last, err := log.Claim(t.Context(), "a year ago", 0, func([]byte) ([]byte, error) { return []byte("old"), nil })
	h.check(err)
	writer.Close()
	for _, order := range []uint64{0, last + 1} {
		h.record.Settings.DropLog = order
		h.put()
		i, err = ingest.New(h.options)
		h.check(err)
		err = i.Start(t.Context())
		if !schema.Is(err, schema.Conflict) || !strings.Contains(err.Error(), fmt.Sprintf("provisioner set harbor --drop-log %d", last)) {
			t.Fatalf("with the order to drop %d an older log is answered by %v", order, err)
		}
	}
	h.record.Settings.DropLog = last
	h.put()
	i = h.start()
	defer h.stop(i)
	if got := h.dial(i).put("hoist load=9\n"); got != "ACK 1" {
		t.Errorf("a frame is answered by %q", got)
	}
	if got := h.readings(true); got != 6 {
		t.Errorf("%d readings are found, want 6", got)
	}
}

// lockKeyspace holds the keyspace's files as another process that writes them would, until the returned function.
func (h *house) lockKeyspace() (unlock func()) {
	h.t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(strings.TrimPrefix(h.options.Keyspaces, "sqlite:"), "harbor", "catalog.db"))
	h.check(err)
	db.SetMaxOpenConns(1)
	_, err = db.ExecContext(h.t.Context(), "BEGIN EXCLUSIVE")
	h.check(err)
	unlock = sync.OnceFunc(func() {
		_, err := db.ExecContext(context.Background(), "ROLLBACK")
		if err = errors.Join(err, db.Close()); err != nil {
			h.t.Error(err)
		}
	})
	h.t.Cleanup(unlock)
	return unlock
}

// Long before the log has to refuse anything, gateways wait; nothing they have sent is lost, and when the keyspace takes
// readings again, the log is trimmed and what waited is acknowledged. The books say what happened, and when.
func TestGatewaysWaitWhileTheLogIsNearlyFull(t *testing.T) {
	h := newHouse(t, bus.LogOptions{Quota: 2 << 20})
	begun := time.Now()
	i := h.start()
	defer h.stop(i)
	g := h.dial(i)
	unlock := h.lockKeyspace()
	text := strings.Repeat("x", 16<<10)
	var lines strings.Builder
	for n := range 4 {
		fmt.Fprintf(&lines, "crane note%d=%q\n", n, text)
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(time.Minute)
	for b := h.books(); b.State != headapi.StateFull; b = h.books() {
		if b.Log.Bytes*100 >= b.Log.Quota*90 {
			select {
			case <-tick.C:
				continue
			case <-limit:
				t.Fatal("the log is nearly full, and nobody is slowed")
			}
		}
		if got := g.put(lines.String()); got != fmt.Sprint("ACK ", g.seq) {
			t.Fatalf("a frame is answered %q", got)
		}
	}
	g.seq++
	_, err := fmt.Fprintf(g.conn, "PUT %d line 9\ncrane a=1", g.seq)
	h.check(err)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+i.Addr().String()+"/write?u=crane-2&p="+enrolmentKey, strings.NewReader("crane a=1"))
	h.check(err)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(request)
	h.check(err)
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") == "" {
		t.Errorf("a request is answered %s, Retry-After %q", answer.Status, answer.Header.Get("Retry-After"))
	}
	var b api.Books
	h.until("the frame that waits is in hand", func() bool { b = h.books(); return b.Frames.InHand == 1 })
	if b.Since == nil || b.Since.Before(begun.Truncate(time.Second)) || b.Since.After(time.Now()) {
		t.Errorf("the log is full since %v, the test began at %v", b.Since, begun)
	}

	unlock()
	line, err := g.in.ReadString('\n')
	h.check(err)
	if strings.TrimSpace(line) != fmt.Sprint("ACK ", g.seq) {
		t.Errorf("the frame that waited is answered %q", line)
	}
	h.until("all is as it should be", func() bool { b = h.books(); return b.State == headapi.StateReady })
	if !slices.ContainsFunc(b.Episodes, func(e api.Episode) bool { return e.State == headapi.StateFull && e.To != nil }) {
		t.Errorf("of what happened the books say %+v", b.Episodes)
	}
}

// An instance that starts on a log without any room, as after kills under a flood, has it trimmed at once: nothing would be
// confirmed, and so nothing change, before.
func TestAFullLogIsTrimmedAfterAStart(t *testing.T) {
	h := newHouse(t, bus.LogOptions{Quota: 2 << 20})
	log, err := h.pipeline.OpenLog(t.Context())
	h.check(err)
	shape := batch.NewInterner(1).Shape("crane-9", []string{"note"}, []schema.Kind{schema.Text}, nil)
	message := func(kind batch.Kind, rows ...*batch.Rows) []byte {
		var e batch.Encoder
		return e.Encode(nil, &batch.Header{Kind: kind, Claim: "before", Created: time.Now().UnixNano()}, rows...)
	}
	writer, _, err := log.Claim(t.Context(), "before", 0, func([]byte) ([]byte, error) { return message(batch.Claim), nil })
	h.check(err)
	for full := false; !full; {
		text := make([]byte, 40<<10)
		_, _ = rand.Read(text) // it never fails
		text = fmt.Appendf(nil, "%x", text)
		rows := &batch.Rows{Rows: []batch.Row{{Shape: shape, Time: time.Now().UnixNano()}}, Bits: []uint64{uint64(len(text))}, Text: text}
		h.check(writer.Append(message(batch.Data, rows)))
		_, err := writer.Next(t.Context())
		if full = errors.Is(err, bus.ErrLogFull); !full {
			h.check(err)
		}
	}
	writer.Close()

	i := h.start()
	defer h.stop(i)
	g := h.dial(i)
	var lines strings.Builder // more than what is left may hold
	for n := range 8 {
		fmt.Fprintf(&lines, "crane note%d=%q\n", n, strings.Repeat("y", 16<<10))
	}
	if got := g.put(lines.String()); got != "ACK 1" {
		t.Errorf("a frame is answered %q", got)
	}
}

// A disk that is nearly full is the provisioner's to see; gateways wait then, and go on by themselves.
func TestGatewaysWaitWhileADiskIsNearlyFull(t *testing.T) {
	h := newHouse(t, bus.LogOptions{})
	var low atomic.Bool
	stop, err := h.provisioner.Answer(houseapi.DiskSubject, func(_ context.Context, _ []byte, reply func([]byte) error) error {
		data, err := json.Marshal(houseapi.Disk{Low: low.Load(), Detail: "1 MiB is free"})
		if err != nil {
			return err
		}
		return reply(data)
	})
	h.check(err)
	defer stop()
	i := h.start()
	defer h.stop(i)
	g := h.dial(i)
	var answered atomic.Int64
	var sending sync.WaitGroup
	sending.Go(func() {
		for n := 1; ; n++ {
			if _, err := fmt.Fprintf(g.conn, "PUT %d line 9\ncrane a=1", n); err != nil {
				return // the test has ended
			}
			if line, err := g.in.ReadString('\n'); err != nil || strings.TrimSpace(line) != fmt.Sprint("ACK ", n) {
				return
			}
			answered.Add(1)
		}
	})
	defer sending.Wait()
	defer g.conn.Close()

	low.Store(true)
	var b api.Books
	h.until("a frame waits for the disk", func() bool {
		b = h.books()
		return b.State == headapi.StateDisk && b.Frames.InHand == 1
	})
	if !strings.Contains(b.Detail, "1 MiB is free") || b.Since == nil {
		t.Errorf("the books say %q since %v", b.Detail, b.Since)
	}
	before := answered.Load()
	low.Store(false)
	h.until("frames are answered again", func() bool { return answered.Load() >= before+2 })
}

// What an instance before this one noted is not forgotten: it is known when it began, and ends when it is seen to.
func TestARestartKnowsWhatWasOutOfTheOrdinary(t *testing.T) {
	h := newHouse(t, bus.LogOptions{})
	bucket, err := h.pipeline.Bucket(t.Context(), bus.BucketOptions{Name: "episodes"})
	h.check(err)
	began := time.Now().Add(-time.Hour).UTC()
	data, err := json.Marshal(record.Episodes{Version: 1, Episodes: []record.Episode{{State: headapi.StateSlow, Detail: "it is away", From: began}}})
	h.check(err)
	_, err = bucket.Put(t.Context(), record.RoleIngest, data)
	h.check(err)
	i := h.start()
	defer h.stop(i)
	var b api.Books
	h.until("the episode has ended", func() bool { b = h.books(); return len(b.Episodes) > 0 && b.Episodes[0].To != nil })
	if e := b.Episodes[0]; e.State != headapi.StateSlow || !e.From.Equal(began) || time.Since(*e.To) > time.Minute {
		t.Errorf("the books know %+v, which began at %v", e, began)
	}
	var kept record.Episodes
	h.until("its end is kept", func() bool {
		data, _, err := bucket.Get(t.Context(), record.RoleIngest)
		h.check(err)
		h.check(json.Unmarshal(data, &kept))
		return len(kept.Episodes) > 0 && !kept.Episodes[0].To.IsZero()
	})
}

func TestHeldPortIsNamed(t *testing.T) {
	h := newHouse(t, bus.LogOptions{})
	held, err := net.Listen("tcp", "127.0.0.1:0")
	h.check(err)
	defer held.Close()
	address, ok := held.Addr().(*net.TCPAddr)
	if !ok {
		t.Fatal("no TCP")
	}
	h.options.PortBase = address.Port - 1
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	h.options.Logger = slog.New(&alarm{h.options.Logger.Handler(), "waiting for the port", cancel}) // it would wait for long
	i, err := ingest.New(h.options)
	h.check(err)
	err = i.Start(ctx)
	if !schema.Is(err, schema.Conflict) || !strings.Contains(err.Error(), fmt.Sprintf("port %d is held", address.Port)) {
		t.Errorf("a held port is answered by %v", err)
	}
}

// alarm is a log that calls a function when a message begins with something.
type alarm struct {
	slog.Handler

	begins string
	rings  func()
}

func (a *alarm) Handle(ctx context.Context, r slog.Record) error {
	if strings.HasPrefix(r.Message, a.begins) {
		a.rings()
	}
	return a.Handler.Handle(ctx, r)
}

func (a *alarm) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &alarm{a.Handler.WithAttrs(attrs), a.begins, a.rings}
}

func TestOptionsThatCannotBe(t *testing.T) {
	for _, o := range []ingest.Options{
		{},
		{Provider: "No"},
		{Provider: "harbor"},
		{Provider: "harbor", Bus: "nats://x"},
		{Provider: "harbor", Bus: "nats://x", Keyspaces: "sqlite:x", PortBase: -1},
	} {
		if _, err := ingest.New(o); !schema.Is(err, schema.Invalid) {
			t.Errorf("%+v gives %v, want Invalid", o, err)
		}
	}
}
