package ingest_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"berth/internal/bus"
	"berth/internal/headapi"
	"berth/internal/keyspace"
	"berth/internal/keyspace/open"
	"berth/schema"
	"berth/schema/batch"
	"berth/schema/block"
	"berth/schema/catalog"
	"berth/schema/rollup"
)

// crashWorld is a provider whose ingest is killed, what its gateways have sent, and a model that simply remembers it.
type crashWorld struct {
	house   *house
	wire    *wire
	address string // of the instance's port
	start   time.Time
	frames  []*sent
	model   map[string]map[point]float64 // by gateway
	conns   map[string]*gateway
	read    keyspace.Reader // once something was read
	renewed bool
}

// sent is a frame that a gateway has sent, or is to send again.
type sent struct {
	gateway  string
	lines    string
	readings int
	tries    int
	acked    bool
}

type point struct {
	sensor string
	time   int64
}

func newCrashWorld(t *testing.T) *crashWorld {
	t.Helper()
	h := newHouse(t, bus.LogOptions{})
	return &crashWorld{
		house: h, wire: newWire(t, h.options.Bus),
		start: time.Now().UTC().Add(-time.Hour).Truncate(24 * time.Hour), // no day before it has just ended: its rollups would take a minute to come
		model: map[string]map[point]float64{}, conns: map[string]*gateway{},
	}
}

// send sends full parts, small ones, late ones, and some that overwrite what was sent before.
func (w *crashWorld) send(round int) {
	at := time.Duration(round) * time.Hour
	yesterday, before, lastMonth := w.start.Add(-20*time.Hour+at), w.start.Add(-68*time.Hour+at), w.start.Add(-40*24*time.Hour+at)
	small := 7
	if round == 1 {
		small = 130 // with the tail of before it is a block
	}
	w.put("full", round, 130, yesterday, lastMonth)
	w.put("small", round, small, yesterday.Add(10*time.Hour))
	w.put("late", round, 130, before)
	w.put("full", round+10, 60, yesterday) // other values at the same times
	w.put("tail", round, 5, before, yesterday)
	w.put("small", round, 3, before)
}

// put sends a frame of rows that begin at each of some times, a row every 20 seconds, nine sensors a row.
func (w *crashWorld) put(gateway string, value, rows int, begins ...time.Time) {
	f := &sent{gateway: gateway}
	if w.model[gateway] == nil {
		w.model[gateway] = map[point]float64{}
	}
	var lines strings.Builder
	for _, begin := range begins {
		for i := range rows {
			t := begin.Add(time.Duration(i) * 20 * time.Second).UnixNano()
			for s := range 9 {
				name, v := fmt.Sprintf("s%d", s), float64(value*1000+i*s)
				lines.WriteString(map[bool]string{true: "crane ", false: ","}[s == 0])
				fmt.Fprintf(&lines, "%s=%v", name, v)
				w.model[gateway][point{"crane." + name, t}] = v
				f.readings++
			}
			fmt.Fprintf(&lines, " %d\n", t)
		}
	}
	f.lines = lines.String()
	w.frames = append(w.frames, f)
	w.try(f)
}

// try sends a frame and waits for its answer. When the process is gone it is left for later, and so are those after it.
func (w *crashWorld) try(f *sent) {
	h := w.house
	if w.address == "" {
		return
	}
	g := w.conns[f.gateway]
	if g == nil {
		conn, err := net.Dial("tcp", w.address)
		if err != nil {
			w.address = ""
			return
		}
		h.check(conn.SetDeadline(time.Now().Add(time.Minute)))
		g = &gateway{h: h, conn: conn, in: bufio.NewReader(conn)}
		w.conns[f.gateway] = g
		if line, err := g.ask("HELLO " + f.gateway + " " + enrolmentKey + "\n"); err != nil || line != "OK" {
			w.address = ""
			return
		}
	}
	g.seq++
	f.tries++
	line, err := g.ask(fmt.Sprintf("PUT %d line %d\n%s", g.seq, len(f.lines), f.lines))
	switch {
	case err != nil:
		w.address = "" // the process is gone
	case line == fmt.Sprint("ACK ", g.seq):
		f.acked = true
	default:
		h.t.Fatalf("a frame is answered %q", line)
	}
}

// ask sends text and returns the next line.
func (g *gateway) ask(text string) (string, error) {
	if _, err := g.conn.Write([]byte(text)); err != nil {
		return "", err
	}
	line, err := g.in.ReadString('\n')
	return strings.TrimSpace(line), err
}

func (w *crashWorld) hangUp() {
	for _, g := range w.conns {
		_ = g.conn.Close()
	}
	clear(w.conns)
}

// sendAgain sends, in order, what was not acknowledged, and the last frame that was.
func (w *crashWorld) sendAgain() {
	w.house.t.Helper()
	for i, f := range w.frames {
		if next := i + 1; !f.acked || next < len(w.frames) && !w.frames[next].acked {
			w.try(f)
		}
		if !f.acked {
			w.house.t.Fatalf("frame %d is not taken after the crash", i)
		}
	}
}

// compare checks that queries, and latest values, are what the model has.
func (w *crashWorld) compare(withHead bool) {
	h := w.house
	h.t.Helper()
	for gateway, want := range w.model {
		found := w.found(gateway, withHead)
		if d := cmp.Diff(want, found, cmp.AllowUnexported(point{})); d != "" {
			h.t.Fatalf("gateway %s, head %v: %d readings, want %d (-model +found):\n%.2000s", gateway, withHead, len(found), len(want), d)
		}
		newest, latest := map[string]point{}, map[point]float64{}
		for p := range want {
			if n, ok := newest[p.sensor]; !ok || n.time < p.time {
				newest[p.sensor] = p
			}
		}
		for _, p := range newest {
			latest[p] = want[p]
		}
		if d := cmp.Diff(latest, w.latest(gateway, withHead), cmp.AllowUnexported(point{})); d != "" {
			h.t.Fatalf("latest of gateway %s, head %v (-model +found):\n%s", gateway, withHead, d)
		}
	}
}

// head returns the chunks of the head's complete answer, which comes when the log has been read.
func (w *crashWorld) head(subject string, question any) (chunks [][]byte) {
	h := w.house
	h.t.Helper()
	request, err := json.Marshal(question)
	h.check(err)
	limit := time.Now().Add(time.Minute)
	for header := (headapi.Header{}); !header.Complete; {
		n := 0
		chunks = nil
		h.check(h.pipeline.Ask(h.t.Context(), subject, request, func(chunk []byte) error {
			if n++; n == 1 {
				return json.Unmarshal(chunk, &header)
			}
			chunks = append(chunks, slices.Clone(chunk))
			return nil
		}))
		if time.Now().After(limit) {
			h.t.Fatalf("the head is not complete after 20 s: %+v", header)
		}
	}
	return chunks
}

func (w *crashWorld) reader() keyspace.Reader {
	h := w.house
	h.t.Helper()
	if w.read == nil {
		backend, err := open.Open(h.options.Keyspaces, h.options.Logger)
		h.check(err)
		w.read, err = backend.Reader(h.t.Context(), "harbor")
		h.check(err)
		h.t.Cleanup(func() { _, _ = w.read.Close(), backend.Close() })
	}
	return w.read
}

// found returns all readings of a gateway, as a query finds them: the head first, the keyspace second.
func (w *crashWorld) found(gateway string, withHead bool) map[point]float64 {
	h := w.house
	h.t.Helper()
	var blocks [][]byte
	if withHead {
		blocks = w.head(headapi.Parts, headapi.PartsRequest{Gateway: gateway, From: math.MinInt64 / 2, To: math.MaxInt64 / 2})
	}
	reader := w.reader()
	if row, err := reader.Gateway(h.t.Context(), gateway); err == nil && len(row.Tail) > 0 {
		tail, err := catalog.DecodeTail(row.Tail)
		h.check(err)
		blocks = append(blocks, tail...)
	} else if err != nil && !schema.Is(err, schema.NotFound) {
		h.check(err)
	}
	h.check(reader.Blocks(h.t.Context(), gateway, math.MinInt64/2, math.MaxInt64/2, func(b keyspace.Block) error {
		blocks = append(blocks, slices.Clone(b.Data))
		return nil
	}))
	var sources []block.Source
	for _, data := range blocks {
		r, err := block.Open(data)
		h.check(err)
		sources = append(sources, r)
	}
	series, err := block.Merge(sources, nil, math.MinInt64/2, math.MaxInt64/2)
	h.check(err)
	found := map[point]float64{}
	for i := range series {
		for j, t := range series[i].Times {
			found[point{series[i].Sensor, t}] = series[i].Value(j).Float()
		}
	}
	return found
}

// latest returns the latest values, of the head and the keyspace together.
func (w *crashWorld) latest(gateway string, withHead bool) map[point]float64 {
	h := w.house
	h.t.Helper()
	entry := &catalog.Entry{}
	if row, err := w.reader().Gateway(h.t.Context(), gateway); err == nil {
		entry, err = catalog.DecodeEntry(row.Entry)
		h.check(err)
	}
	if withHead {
		for _, data := range w.head(headapi.Latest, headapi.LatestRequest{Gateway: gateway}) {
			of, err := catalog.DecodeEntry(data)
			h.check(err)
			for _, l := range of.Latest {
				entry.Observe(l.Sensor, l.Time, l.Value, l.Position)
			}
		}
	}
	found := map[point]float64{}
	for _, l := range entry.Latest {
		found[point{l.Sensor, l.Time}] = l.Value.Float()
	}
	return found
}

// balance checks the books.
func (w *crashWorld) balance() {
	h := w.house
	h.t.Helper()
	b := h.books()
	if f := b.Frames; f.Received != f.Committed+f.Rejected+f.GivenUp+f.InHand {
		h.t.Errorf("the books do not balance: %+v", f)
	}
	least, most := 0, 0
	for _, f := range w.frames {
		least += f.readings
		most += f.readings * f.tries
	}
	if got := int(b.Readings.Accepted); !w.renewed && (got < least || got > most) {
		h.t.Errorf("%d readings were accepted, want %d to %d", got, least, most)
	}
	w.bytes(b.Log.Written)
}

// bytes checks that each message of the log counts the bytes of all before it, and the books those of all.
func (w *crashWorld) bytes(written uint64) {
	h := w.house
	h.t.Helper()
	journal, err := h.provisioner.OpenLog(h.t.Context())
	h.check(err)
	state, err := journal.State(h.t.Context())
	h.check(err)
	counted, seen := uint64(0), false
	h.check(journal.Read(h.t.Context(), state.First, state.Last, func(sequence uint64, data []byte) error {
		head, err := batch.DecodeHeader(data)
		if err != nil {
			return err
		}
		if head.Kind == batch.Claim && head.Totals.Bytes < counted { // a fence, whose totals may be outdated
			return nil
		}
		if seen && head.Totals.Bytes != counted {
			h.t.Errorf("message %d counts %d bytes before it, which are %d", sequence, head.Totals.Bytes, counted)
		}
		seen = true
		if counted = head.Totals.Bytes; head.Kind == batch.Data {
			counted += uint64(len(data))
		}
		return nil
	}))
	if written != counted || written == 0 {
		h.t.Errorf("the books count %d bytes, the log %d", written, counted)
	}
}

// spans returns the model's rollups of a gateway.
func (w *crashWorld) spans(gateway string, span keyspace.Span) map[int64][]rollup.Stat {
	sensors := map[int64]map[string][]int64{}
	for p := range w.model[gateway] {
		at := schema.Start(p.time, span.Length())
		if sensors[at] == nil {
			sensors[at] = map[string][]int64{}
		}
		sensors[at][p.sensor] = append(sensors[at][p.sensor], p.time)
	}
	spans := map[int64][]rollup.Stat{}
	for at, times := range sensors {
		for _, sensor := range slices.Sorted(maps.Keys(times)) {
			all := times[sensor]
			slices.Sort(all)
			of := func(t int64) float64 { return w.model[gateway][point{sensor, t}] }
			first, last := all[0], all[len(all)-1]
			s := rollup.Stat{
				Sensor: sensor, Count: uint64(len(all)), Numbers: uint64(len(all)), Min: of(first), Max: of(first),
				FirstTime: first, LastTime: last, First: schema.FloatValue(of(first)), Last: schema.FloatValue(of(last)),
			}
			for _, t := range all {
				s.Sum += of(t)
				s.Min, s.Max = min(s.Min, of(t)), max(s.Max, of(t))
			}
			spans[at] = append(spans[at], s)
		}
	}
	return spans
}

// rollups returns the gateway's rollups that count.
func (w *crashWorld) rollups(gateway string, span keyspace.Span) map[int64][]rollup.Stat {
	h := w.house
	h.t.Helper()
	found := map[int64][]rollup.Stat{}
	h.check(w.reader().Rollups(h.t.Context(), gateway, span, math.MinInt64/2, math.MaxInt64/2, func(r keyspace.Rollup) (err error) {
		if !r.Computed.Less(r.Stale) {
			found[r.Start], err = rollup.Decode(r.Data)
		}
		return err
	}))
	return found
}

// awaitRollups waits until every day that has blocks has a rollup that counts.
func (w *crashWorld) awaitRollups() {
	h := w.house
	h.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(time.Minute); ; {
		behind := slices.DeleteFunc(slices.Sorted(maps.Keys(w.model)), func(gateway string) bool {
			days := map[int64]bool{}
			h.check(w.reader().Blocks(h.t.Context(), gateway, math.MinInt64/2, math.MaxInt64/2, func(b keyspace.Block) error {
				days[schema.Start(b.First, schema.DaySpan)] = true
				return nil
			}))
			return len(w.rollups(gateway, keyspace.Day)) >= len(days)
		})
		if len(behind) == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-limit:
			h.t.Fatalf("after 30 s the rollups of %v are behind", behind)
		}
	}
}

// compareRollups checks every rollup that counts, of spans that no tail touches, and that those of days with blocks do.
func (w *crashWorld) compareRollups() {
	h := w.house
	h.t.Helper()
	w.awaitRollups()
	for gateway := range w.model {
		tails := map[int64]bool{} // days
		row, err := w.reader().Gateway(h.t.Context(), gateway)
		h.check(err)
		if len(row.Tail) > 0 {
			blocks, err := catalog.DecodeTail(row.Tail)
			h.check(err)
			for _, data := range blocks {
				r, err := block.Open(data)
				h.check(err)
				tails[schema.Start(r.First(), schema.DaySpan)] = true
			}
		}
		for _, span := range []keyspace.Span{keyspace.Hour, keyspace.Day} {
			want, found := w.spans(gateway, span), w.rollups(gateway, span)
			touched := func(at int64, _ []rollup.Stat) bool { return tails[schema.Start(at, schema.DaySpan)] }
			maps.DeleteFunc(found, touched)
			maps.DeleteFunc(want, touched)
			if d := cmp.Diff(want, found, cmp.Comparer(func(a, b schema.Value) bool { return a == b })); d != "" {
				h.t.Errorf("rollups of gateway %s (-model +found):\n%.2000s", gateway, d)
			}
		}
	}
}

// logEnds checks that the log was trimmed: the last message stays, and behind it is the last claim.
func (w *crashWorld) logEnds() {
	h := w.house
	h.t.Helper()
	journal, err := h.provisioner.OpenLog(h.t.Context())
	h.check(err)
	state, err := journal.State(h.t.Context())
	h.check(err)
	if state.Messages > 2 {
		h.t.Errorf("the log still holds %d to %d", state.First, state.Last)
	}
}
