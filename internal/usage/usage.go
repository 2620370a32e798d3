// Package usage reads what providers used, by day or month, for the operator: who writes it down is left to the
// provisioner. Its one invariant: a provider's periods add up to its running totals, none of which is in two of them.
package usage

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"berth/internal/bus"
	"berth/internal/sheet"
	"berth/schema"
	"berth/schema/record"
)

// Row is what a provider used in one period.
type Row struct {
	Provider string    `json:"provider"`
	Made     time.Time `json:"provider_made"` // tells it from an earlier one of the same name
	Period   string    `json:"period"`        // a day (2026-11-26) or a month (2026-11) of UTC
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`       // what was counted came in [From, To): of the period that lasts up to the last look
	Readings uint64    `json:"readings"` // accepted
	Rejected uint64    `json:"rejected"` // readings of frames that were accepted in part
	Frames   uint64    `json:"frames"`
	Refused  uint64    `json:"frames_rejected"`
	Bytes    uint64    `json:"bytes"`              // written into the log
	Gateways uint64    `json:"gateways"`           // at the end
	Storage  uint64    `json:"storage_bytes"`      // at the end
	Most     uint64    `json:"most_storage_bytes"` // the most that was seen
}

// Usage is what an operator asked for.
type Usage struct {
	Usage []Row `json:"usage"`
}

// Query asks for rows.
type Query struct {
	Provider string // empty: all
	Month    string // 2026-11; empty: all that is kept
	ByMonth  bool   // else by day
}

// Validate returns an Invalid error that names what cannot be.
func (q Query) Validate() error {
	if _, err := time.Parse("2006-01", q.Month); q.Month != "" && err != nil {
		return schema.Errorf(schema.Invalid, "%q is no month", q.Month).WithNext("give one such as 2026-11")
	}
	return nil
}

// Rows returns what was used, in the order of providers and periods.
func Rows(ctx context.Context, b *bus.Bucket, q Query) ([]Row, error) {
	if err := q.Validate(); err != nil {
		return nil, err
	}
	all, err := b.List(ctx)
	if err != nil {
		return nil, err
	}
	days := []record.Usage{}
	for _, e := range all {
		var u record.Usage
		if err := json.Unmarshal(e.Value, &u); err != nil {
			return nil, fmt.Errorf("read what was used: %w", err)
		}
		if (q.Provider == "" || q.Provider == u.Provider) && strings.HasPrefix(u.Day, q.Month) {
			days = append(days, u)
		}
	}
	slices.SortFunc(days, func(a, b record.Usage) int {
		return cmp.Or(cmp.Compare(a.Provider, b.Provider), a.Of.Compare(b.Of), cmp.Compare(a.Day, b.Day))
	})
	rows := []Row{}
	for i := range days {
		r := rowOf(&days[i])
		if q.ByMonth {
			r.Period = r.Period[:len("2006-01")]
		}
		if last := len(rows) - 1; last >= 0 && rows[last].Period == r.Period && rows[last].Provider == r.Provider && rows[last].Made.Equal(r.Made) {
			rows[last].join(&r)
			continue
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// rowOf returns what was used on a day. In records of a release before this one totals may fall: they began anew at 0, as those of a
// log that was given up do.
func rowOf(u *record.Usage) Row {
	since := func(begin, end uint64) uint64 {
		if end < begin {
			return end
		}
		return end - begin
	}
	return Row{
		Provider: u.Provider, Made: u.Of, Period: u.Day, From: u.From, To: u.At,
		Readings: since(u.Begin.Readings, u.End.Readings), Rejected: since(u.Begin.Rejected, u.End.Rejected),
		Frames: since(u.Begin.Frames, u.End.Frames), Refused: since(u.Begin.Refused, u.End.Refused), Bytes: since(u.Begin.Bytes, u.End.Bytes),
		Gateways: u.Gateways, Storage: u.Storage, Most: u.Most,
	}
}

// join adds a later day.
func (r *Row) join(day *Row) {
	r.To, r.Gateways, r.Storage, r.Most = day.To, day.Gateways, day.Storage, max(r.Most, day.Most)
	r.Readings += day.Readings
	r.Rejected += day.Rejected
	r.Frames += day.Frames
	r.Refused += day.Refused
	r.Bytes += day.Bytes
}

// WriteCSV writes rows as a table.
func WriteCSV(w io.Writer, rows []Row) error {
	out, err := sheet.NewCSV(w, "provider", "provider_made", "period", "from", "to", "readings", "rejected", "frames", "frames_rejected", "bytes", "gateways", "storage_bytes", "most_storage_bytes")
	if err != nil {
		return err
	}
	for i := range rows {
		r := &rows[i]
		cells := []sheet.Cell{sheet.Text(r.Provider), sheet.Text(stamp(r.Made)), sheet.Text(r.Period), sheet.Text(stamp(r.From)), sheet.Text(stamp(r.To))}
		for _, n := range []uint64{r.Readings, r.Rejected, r.Frames, r.Refused, r.Bytes, r.Gateways, r.Storage, r.Most} {
			cells = append(cells, sheet.Int(int64(n)))
		}
		if err := out.Row(cells...); err != nil {
			return err
		}
	}
	return out.Flush()
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
