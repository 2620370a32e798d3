package meter

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"testing"
	"time"

	"go.uber.org/goleak"

	"berth/internal/bus"
	"berth/internal/usage"
	"berth/schema/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a provider whose totals only rise, whatever is killed.
type world struct {
	t      *testing.T
	bucket *bus.Bucket
	now    time.Time
	at     Now
	away   bool
	meter  *Meter
}

func newWorld(t *testing.T, made time.Time) *world {
	t.Helper()
	dir := t.TempDir()
	log := slog.New(slog.DiscardHandler)
	authority, err := bus.OpenAuthority(dir + "/authority")
	if err != nil {
		t.Fatal(err)
	}
	server, err := bus.StartServer(bus.ServerOptions{Dir: dir + "/nats", Authority: authority, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	conn, err := bus.Connect(t.Context(), bus.Options{URL: server.URL(), Credentials: authority.House(), Name: "house", Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	if err := conn.PrepareHouse(t.Context()); err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, now: made, at: Now{Provider: "p1", Of: made, Instance: "one"}}
	if w.bucket, err = conn.Bucket(t.Context(), bus.BucketOptions{Name: "usage"}); err != nil {
		t.Fatal(err)
	}
	w.restart()
	return w
}

// restart starts the daemon anew: it remembers nothing.
func (w *world) restart() {
	w.meter = New(Options{Bucket: w.bucket, Logger: slog.New(slog.DiscardHandler), Now: func() time.Time { return w.now }, Look: func(context.Context) ([]Now, error) {
		if w.away {
			return nil, errors.New("nobody answers")
		}
		return []Now{w.at}, nil
	}})
}

// pass lets time pass in which so many readings come, and has the meter look.
func (w *world) pass(d time.Duration, readings, bytes uint64) {
	w.t.Helper()
	w.now = w.now.Add(d)
	w.at.Used.Readings += readings
	w.at.Used.Frames += readings
	w.at.Used.Refused += 2 * readings
	w.at.Used.Rejected += 3 * readings
	w.at.Used.Bytes += bytes
	if err := w.meter.Step(w.t.Context()); err != nil && !w.away {
		w.t.Fatal(err)
	}
}

func (w *world) rows(q usage.Query) []usage.Row {
	w.t.Helper()
	rows, err := usage.Rows(w.t.Context(), w.bucket, q)
	if err != nil {
		w.t.Fatal(err)
	}
	return rows
}

// Whatever is killed, and whenever nobody looks, days and months add up to the totals.
func TestDaysAddUpToTheTotals(t *testing.T) {
	w := newWorld(t, time.Date(2026, 11, 29, 10, 0, 0, 0, time.UTC))
	w.at.Storage = 2000
	w.pass(time.Minute, 10, 100) // what came before the first look is the first day's
	w.at.Storage = 1000
	w.pass(13*time.Hour, 5, 50)
	w.restart()                // the daemon was killed
	w.pass(2*time.Hour, 3, 30) // the 30th, with what came before midnight and was not looked at
	w.at.Instance, w.at.Used.Bytes = "two", 0
	w.pass(time.Hour, 2, 320) // another total of bytes, which begins anew
	w.away = true
	w.pass(time.Hour, 1, 10)
	w.away = false
	w.at.Storage, w.at.Gateways = 900, 3
	w.pass(48*time.Hour, 7, 70) // nobody looked on December 1st
	w.at.Storage = 800
	w.pass(time.Hour, 0, 0)
	days := w.rows(usage.Query{})
	if len(days) != 3 {
		t.Fatalf("%+v", days)
	}
	for i, want := range []usage.Row{{Period: "2026-11-29", Readings: 15, Bytes: 150}, {Period: "2026-11-30", Readings: 5, Bytes: 350}, {Period: "2026-12-02", Readings: 8, Bytes: 80}} {
		if d := days[i]; d.Period != want.Period || d.Readings != want.Readings || d.Bytes != want.Bytes || i > 0 && !d.From.Equal(days[i-1].To) {
			t.Errorf("%+v, want %+v", d, want)
		}
	}
	months := w.rows(usage.Query{ByMonth: true})
	if len(months) != 2 || months[0].Readings+months[1].Readings != w.at.Used.Readings || months[0].Period != "2026-11" || months[0].Readings != 20 {
		t.Errorf("%+v", months)
	}
	if m := months[0]; m.Frames != 20 || m.Refused != 40 || m.Rejected != 60 || m.Bytes != 500 || m.Storage != 1000 || m.Most != 2000 || !m.From.Equal(days[0].From) || !m.To.Equal(days[1].To) {
		t.Errorf("%+v", m)
	}
	if m := months[1]; m.Storage != 800 || m.Most != 900 || m.Gateways != 3 {
		t.Errorf("%+v", m)
	}
	if only := w.rows(usage.Query{Month: "2026-12", Provider: "p1"}); len(only) != 1 {
		t.Errorf("%+v", only)
	}
	if none := w.rows(usage.Query{Provider: "p2"}); len(none) != 0 {
		t.Errorf("%+v", none)
	}
	if _, err := usage.Rows(t.Context(), w.bucket, usage.Query{Month: "2026-13"}); err == nil {
		t.Error("a month that is none was taken")
	}
}

// When a log is given up its totals begin anew: what they had come to stays with the day, and what comes then is added. So with what a
// release before this one wrote.
func TestALogThatBeginsAnewLosesNoneOfADay(t *testing.T) {
	w := newWorld(t, time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC))
	w.pass(time.Hour, 100, 1000)
	w.pass(24*time.Hour, 20, 200) // another day
	for key, e := range list(t, w.bucket) {
		var u record.Usage
		if err := json.Unmarshal(e.Value, &u); err != nil {
			t.Fatal(err)
		}
		u.Seen = nil // as it was written before
		value, err := json.Marshal(&u)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.bucket.Update(t.Context(), key, value, e.Revision); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		w.at.Used = record.Used{}
		w.pass(time.Minute, 3, 30)
		w.pass(time.Minute, 4, 40)
	}
	w.pass(24*time.Hour, 5, 50)
	want := []usage.Row{{Readings: 100, Bytes: 1000}, {Readings: 20 + 2*7, Bytes: 200 + 2*70}, {Readings: 5, Bytes: 50}}
	rows := w.rows(usage.Query{})
	if len(rows) != len(want) {
		t.Fatalf("%+v", rows)
	}
	for i, r := range rows {
		if n := want[i].Readings; r.Readings != n || r.Frames != n || r.Refused != 2*n || r.Rejected != 3*n || r.Bytes != want[i].Bytes {
			t.Errorf("%+v, want %d readings and %d bytes", r, n, want[i].Bytes)
		}
	}
}

func list(t *testing.T, b *bus.Bucket) map[string]bus.Entry {
	t.Helper()
	all, err := b.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// One that was there before anybody looked begins with the first look: what it used before is nobody's day. Totals that
// fell began anew; a clock that was set back changes nothing.
func TestWhereUsageBegins(t *testing.T) {
	w := newWorld(t, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	w.pass(100*24*time.Hour, 1000, 5000)
	w.pass(time.Minute, 4, 40)
	w.pass(-25*time.Hour, 3, 30)
	if rows := w.rows(usage.Query{}); len(rows) != 1 || rows[0].Readings != 4 || rows[0].Bytes != 40 {
		t.Fatalf("%+v", rows)
	}
	w.pass(25*time.Hour, 0, 0)
	if rows := w.rows(usage.Query{}); len(rows) != 1 || rows[0].Readings != 7 || rows[0].Bytes != 70 {
		t.Fatalf("%+v", rows)
	}
	w.at.Used = record.Used{}
	w.pass(24*time.Hour, 6, 60)
	if rows := w.rows(usage.Query{}); len(rows) != 2 || rows[1].Readings != 6 {
		t.Fatalf("%+v", rows)
	}
	w.at.Of = w.now // another of the same name
	w.pass(time.Minute, 1, 1)
	if rows := w.rows(usage.Query{}); len(rows) != 3 || !rows[2].Made.Equal(w.at.Of) {
		t.Fatalf("%+v", rows)
	}
	w.pass(keptFor+24*time.Hour, 1, 1)
	if rows := w.rows(usage.Query{}); len(rows) != 1 {
		t.Errorf("%d days are kept", len(rows))
	}
}
