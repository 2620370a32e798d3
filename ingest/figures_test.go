package ingest_test

import (
	"testing"
	"time"

	"berth/ingest/format"
	"berth/ingest/head"
	"berth/internal/figures"
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
	fleet := trucks.New(trucks.Options{Trucks: 20, Days: 1, Start: start, Readings: 100_000})
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
	sheet.Check(t, figures.Exact)
}
