package seal_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"berth/internal/keyspace"
	"berth/schema"
)

// TestHistoriesEqualBruteForce sends random histories (late, repeated, reordered, at equal times, of changing types)
// through the head and the sealer, with failing writes, crashes that forget what was not durable, and starts between,
// and finds at every turn what a model has that simply remembers.
func TestHistoriesEqualBruteForce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		w.store.lag = rapid.Bool().Draw(t, "lag")
		history{t: t, w: w}.run()
		w.store.fail = nil
		w.settle()
		w.compare(true)
		w.compareLatest()
		w.compareRollups(false)
	})
}

type history struct {
	t *rapid.T
	w *world
}

func (h history) run() {
	t, w := h.t, h.w
	for range rapid.IntRange(1, 40).Draw(t, "steps") {
		switch rapid.SampledFrom([]string{"send", "send", "send", "burst", "round", "pass", "sync", "fail", "crash", "kill", "outage", "finish", "check"}).Draw(t, "step") {
		case "send":
			w.send(h.rows(rapid.IntRange(1, 12).Draw(t, "rows"))...)
		case "burst":
			w.send(h.burst()...)
		case "round":
			w.round()
		case "pass":
			w.pass(time.Duration(rapid.IntRange(10, 300).Draw(t, "seconds")) * time.Second)
		case "sync":
			w.store.sync(rapid.IntRange(-1, 4).Draw(t, "writes"))
		case "fail":
			h.fail()
		case "crash":
			w.crash(func() int { return rapid.IntRange(0, 4).Draw(t, "kept") })
			w.store.fail = nil
			w.replay()
		case "kill": // the keyspace lives on
			w.store.reopen()
			w.begin()
			w.store.fail = nil
			w.replay()
		case "outage": // ingest lives on
			w.store.outage()
		case "finish":
			_ = w.sealer.Finish(t.Context()) // the store may fail
		case "check":
			w.compare(true)
			w.compareLatest()
			w.compareRollups(false)
		}
	}
}

// fail has some of the next writes fail, before or after they took place.
func (h history) fail() {
	n := rapid.IntRange(1, 5).Draw(h.t, "failures")
	h.w.store.fail = func(*keyspace.Changes) error {
		if n--; n >= 0 {
			return errors.New("the disk is away")
		}
		return nil
	}
}

// burst draws a frame that fills a part or more.
func (h history) burst() []row {
	gateway := h.gateway()
	at := h.time()
	rows := make([]row, rapid.IntRange(60, 260).Draw(h.t, "rows"))
	for i := range rows {
		rows[i] = row{gateway: gateway, time: at + int64(i)*int64(20*time.Second)}
		for s := range 9 {
			rows[i].sensors = append(rows[i].sensors, fmt.Sprintf("burst%d", s))
			rows[i].values = append(rows[i].values, schema.IntValue(int64(i*s)))
		}
	}
	return rows
}

func (h history) gateway() string {
	return rapid.SampledFrom([]string{"crane-1", "crane-2", "pier 3"}).Draw(h.t, "gateway")
}

// time draws a time on a coarse grid of the last days, so that times are met again.
func (h history) time() int64 {
	back := rapid.SampledFrom([]time.Duration{0, 0, 0, time.Hour, 3 * time.Hour, 16 * time.Hour, 50 * time.Hour}).Draw(h.t, "late")
	at := h.w.clock.Add(-back).Truncate(20*time.Second).UnixNano() - int64(rapid.IntRange(0, 30).Draw(h.t, "slot"))*int64(20*time.Second)
	return at
}

func (h history) rows(n int) []row {
	rows := make([]row, n)
	gateway, at := h.gateway(), h.time()
	for i := range rows {
		if rapid.Bool().Draw(h.t, "jump") {
			gateway, at = h.gateway(), h.time()
		} else {
			at += int64(20 * time.Second)
		}
		rows[i] = row{gateway: gateway, time: at}
		first := rapid.IntRange(0, 3).Draw(h.t, "first")
		for s := first; s <= rapid.IntRange(first, 3).Draw(h.t, "last"); s++ {
			rows[i].sensors = append(rows[i].sensors, fmt.Sprintf("sensor%d", s))
			rows[i].values = append(rows[i].values, h.value())
		}
	}
	return rows
}

func (h history) value() schema.Value {
	n := rapid.IntRange(-9, 99).Draw(h.t, "value")
	switch rapid.SampledFrom([]string{"float", "float", "float", "int", "bool", "text", "nan"}).Draw(h.t, "kind") {
	case "float":
		return schema.FloatValue(float64(n))
	case "int":
		return schema.IntValue(int64(n))
	case "bool":
		return schema.BoolValue(n > 0)
	case "text":
		return schema.TextValue(fmt.Sprint("state ", n))
	default:
		return schema.FloatValue(math.NaN())
	}
}

// settle has everything written, made durable and rolled up.
func (w *world) settle() {
	w.t.Helper()
	w.store.lag = false
	w.store.sync(-1)
	w.check(w.sealer.Finish(context.Background()))
	w.pass(5 * time.Minute)
}
