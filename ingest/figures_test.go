package ingest_test

import (
	"context"
	"io/fs"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"berth/ingest/format"
	"berth/ingest/head"
	"berth/ingest/seal"
	"berth/internal/figures"
	"berth/internal/keyspace"
	"berth/internal/keyspace/sqlite"
	"berth/internal/trucks"
	"berth/schema/batch"
	"berth/schema/block"
	"berth/schema/record"
)

// TestFigures holds what a reading costs on its way, and what is stored of it, to testdata/figures.txt: a fleet of trucks
// by line protocol, from the bytes of a request to blocks.
func TestFigures(t *testing.T) {
	figures.Skip(t)
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var body []byte
	fleet := trucks.New(trucks.Options{Trucks: 8, Days: 1, Start: start, Readings: 100_000})
	if err := fleet.Drive(func(lines []byte, _ int) error { body = append(body, lines...); return nil }); err != nil {
		t.Fatal(err)
	}
	settings := record.DefaultSettings()
	settings.GatewayTag, settings.AttributeTags = trucks.GatewayTag, trucks.AttributeTags
	request := &format.Request{
		Sender: format.Sender{Gateway: "relay", Relay: true}, Now: fleet.End().UnixNano(), Settings: &settings,
	}
	interner := batch.NewInterner(10_000)
	decoders := format.New(format.NewTable(format.TableOptions{Interner: interner}))
	rows, n := &batch.Rows{}, fleet.Readings()
	sheet := figures.Sheet{}

	sheet.Add("decode line protocol:", "reading", n, func() {
		rows.Reset()
		if report, err := decoders.Decode("line", body, request, rows); err != nil || report.Rejected > 0 || rows.Readings() != n {
			t.Fatal(err, report, rows.Readings())
		}
	})
	var e batch.Encoder
	var message []byte
	header := batch.Header{Kind: batch.Data, Created: request.Now}
	sheet.Add("encode for the log:", "reading", n, func() { message = e.Encode(message[:0], &header, rows) })
	sheet["in the log, bytes/reading"] = float64(len(message)) / float64(n)
	sheet.Add("decode from the log:", "reading", n, func() {
		if _, got, err := batch.Decode(message, interner); err != nil || got.Readings() != n {
			t.Fatal(err)
		}
	})

	h, seq := head.New(head.Options{Budget: 1 << 40}, 1, 0), uint64(0)
	var parts []head.Part
	sheet.Add("follow:", "reading", n, func() {
		seq++
		h.Follow(seq, &header, rows)
		parts = h.Closed(1 << 40)
		h.Release(parts[1:])
	})
	h, seq = head.New(head.Options{Budget: 1 << 40}, 1, 0), 1
	h.Follow(seq, &header, rows)
	now := h.Figures()
	sheet["in the head, bytes/reading"] = float64(now.Bytes) / float64(now.Readings)

	var blocks head.Encoder
	var stored, size int
	var data []byte
	parts = h.Closed(1 << 40)
	for _, p := range parts {
		b, _, _, err := blocks.Block(p)
		if err != nil {
			t.Fatal(err)
		}
		stored, size, data = stored+p.Readings(), size+len(b.Data), b.Data
	}
	sheet["in full blocks, bytes/reading"] = float64(size) / float64(stored)
	sheet.Add("make a block:", "reading", parts[0].Readings(), func() {
		if _, _, _, err := blocks.Block(parts[0]); err != nil {
			t.Fatal(err)
		}
	})
	sheet.Add("read one sensor of a block:", "block", 1, func() {
		r, err := block.Open(data)
		if err != nil {
			t.Fatal(err)
		}
		series, err := block.Merge([]block.Source{r}, func(s string) bool { return s == "readings.velocity" }, 0, request.Now)
		if err != nil || len(series) != 1 {
			t.Fatal(err, len(series))
		}
	})
	sheet["on disk, with rollups and all else of a keyspace, bytes/reading"] = onDisk(t)
	sheet.Check(t, figures.Exact)
}

// onDisk returns what a reading takes in an embedded keyspace, when a fleet's days have ended: blocks, rollups, catalog, and
// what SQLite adds.
func onDisk(t *testing.T) float64 {
	t.Helper()
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	fleet := trucks.New(trucks.Options{Trucks: 50, Days: 6, Start: start, Readings: 1_500_000})
	var body []byte
	if err := fleet.Drive(func(lines []byte, _ int) error { body = append(body, lines...); return nil }); err != nil {
		t.Fatal(err)
	}
	settings := record.DefaultSettings()
	settings.GatewayTag, settings.AttributeTags = trucks.GatewayTag, trucks.AttributeTags
	clock := fleet.End().Add(time.Hour)
	request := &format.Request{Sender: format.Sender{Gateway: "relay", Relay: true}, Now: clock.UnixNano(), Settings: &settings}
	rows := &batch.Rows{}
	decoders := format.New(format.NewTable(format.TableOptions{Interner: batch.NewInterner(10_000)}))
	if report, err := decoders.Decode("line", body, request, rows); err != nil || report.Rejected > 0 {
		t.Fatal(err, report.Rejected)
	}

	dir := t.TempDir()
	backend, err := sqlite.New(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := backend.Create(t.Context(), "harbor"); err != nil {
		t.Fatal(err)
	}
	w, err := backend.Writer(t.Context(), "harbor")
	if err != nil {
		t.Fatal(err)
	}
	now := func() time.Time { return clock }
	h := head.New(head.Options{Budget: 1 << 40, Now: now}, 1, 0)
	s := seal.New(seal.Options{
		Head: h, Keyspace: w, Now: now, Steady: now,
		Trim:  func(context.Context, uint64) error { return nil },
		Aside: func(_ context.Context, r *seal.Refused) error { return r.Why },
	})
	h.Follow(1, &batch.Header{Kind: batch.Data, Created: request.Now}, rows)
	for end := clock.Add(6 * time.Minute); clock.Before(end); clock = clock.Add(10 * time.Second) {
		for rest := time.Duration(0); rest == 0; {
			if rest, err = s.Round(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	unrolled := 0
	err = w.Unrolled(t.Context(), clock.UnixNano(), func(keyspace.RollupKey) bool { unrolled++; return true })
	if err != nil || unrolled > 0 || h.Figures().Readings > 0 {
		t.Fatalf("%d readings are in the head, %d rollups do not count, %v", h.Figures().Readings, unrolled, err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	size := int64(0)
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		size += info.Size()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return float64(size) / float64(fleet.Readings())
}
