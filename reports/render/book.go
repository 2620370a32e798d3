package render

import (
	"context"
	"time"

	"berth/internal/api"
	"berth/internal/reportview"
	"berth/internal/sheet"
)

// The formats of cells.
const (
	timeFormat  = "yyyy-mm-dd hh:mm:ss"
	shareFormat = "0.00%"
)

// writeBook writes a workbook: a sheet of sensors, then of gateways, gaps, what the report is about and how its numbers are
// computed. Numbers and times are numbers and times; beside each time stands the offset that its clock had.
func writeBook(ctx context.Context, j *job) error {
	book := sheet.NewBook(j.out)
	if err := book.Sheet(j.view.T("sensors"), sensorColumns(j.view)...); err != nil {
		return err
	}
	var gateways, gaps, notes [][]sheet.Cell
	err := j.walk(ctx, func(g *api.ReportGateway) error {
		gateways = append(gateways, gatewayRow(g))
		for _, gap := range g.LongestGaps {
			row := append([]sheet.Cell{sheet.Text(g.Name)}, clocked(&gap.From)...)
			gaps = append(gaps, append(append(row, clocked(&gap.To)...), sheet.Float(gap.Seconds)))
		}
		for _, a := range g.Annotations {
			row := append(append([]sheet.Cell{sheet.Text(g.Name)}, clocked(&a.From)...), clocked(&a.To)...)
			notes = append(notes, append(row, sheet.Text(a.Text), sheet.Text(a.Who)))
		}
		for i := range g.Sensors {
			if err := book.Row(sensorRow(g, &g.Sensors[i])...); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := writeRows(book, j.view.T("gateways"), gatewayColumns(j.view), gateways); err != nil {
		return err
	}
	if err := writeRows(book, j.view.T("gaps"), gapColumns(j.view), gaps); err != nil {
		return err
	}
	if err := writeRows(book, j.view.T("annotations"), noteColumns(j.view), notes); err != nil {
		return err
	}
	about := []sheet.Column{{Width: 24}, {Width: 28, Format: timeFormat}, {Width: 10}}
	if err := writeRows(book, j.view.T("summary"), about, summaryRows(j.view)); err != nil {
		return err
	}
	var methods [][]sheet.Cell
	for _, m := range j.view.Methods() {
		methods = append(methods, []sheet.Cell{sheet.Text(m.Name).Bold(), sheet.Text(m.Text)})
	}
	if err := writeRows(book, j.view.T("methods"), []sheet.Column{{Width: 24}, {Width: 120}}, methods); err != nil {
		return err
	}
	return book.Close()
}

func writeRows(book *sheet.Book, name string, columns []sheet.Column, rows [][]sheet.Cell) error {
	if err := book.Sheet(name, columns...); err != nil {
		return err
	}
	for _, row := range rows {
		if err := book.Row(row...); err != nil {
			return err
		}
	}
	return nil
}

// clocked returns cells that hold a time as its clock showed it, and the offset of that clock.
func clocked(t *time.Time) []sheet.Cell {
	if t == nil {
		return []sheet.Cell{{}, {}}
	}
	return []sheet.Cell{sheet.Time(*t), sheet.Text(t.Format("UTC-07:00"))}
}

// texts are columns that hold what keys name.
func texts(v *reportview.View, width float64, format string, keys ...string) []sheet.Column {
	columns := make([]sheet.Column, 0, len(keys))
	for _, k := range keys {
		columns = append(columns, sheet.Column{Title: v.T(k), Width: width, Format: format})
	}
	return columns
}

// timed are the columns of clocked.
func timed(v *reportview.View, key string) []sheet.Column {
	return []sheet.Column{{Title: v.T(key), Width: 20, Format: timeFormat}, {Title: v.T("zone"), Width: 11}}
}

func join(columns ...[]sheet.Column) (all []sheet.Column) {
	for _, c := range columns {
		all = append(all, c...)
	}
	return all
}

func sensorColumns(v *reportview.View) []sheet.Column {
	return join(
		texts(v, 24, "", "gateway", "sensor", "name"), texts(v, 10, "", "unit", "kind"), texts(v, 12, "", "readings", "expected", "numbers", "min", "max", "mean", "p95"),
		timed(v, "first.time"), texts(v, 12, "", "first"), timed(v, "last.time"), texts(v, 12, "", "last"),
		texts(v, 12, "", "sum", "increase", "resets"), texts(v, 10, shareFormat, "change"),
		texts(v, 12, "", "before.readings", "before.min", "before.max", "before.mean", "before.sum", "before.increase", "late"),
	)
}

func sensorRow(g *api.ReportGateway, s *api.ReportSensor) []sheet.Cell {
	var firstAt, lastAt *time.Time
	if s.First != nil {
		firstAt, lastAt = &s.First.Time, &s.Last.Time
	}
	_, first := value(s.First)
	_, last := value(s.Last)
	before := s.Before
	if before == nil {
		before = &api.ReportBefore{}
	}
	row := []sheet.Cell{
		sheet.Text(g.Name), sheet.Text(s.Sensor), sheet.Text(s.Label), sheet.Text(s.Unit), sheet.Text(kindOf(s)),
		count(&s.Readings), count(s.Expected), count(&s.Numbers), digits(s.Min), digits(s.Max), digits(s.Mean), digits(s.P95),
	}
	row = append(append(row, clocked(firstAt)...), first)
	row = append(append(row, clocked(lastAt)...), last)
	return append(row,
		digits(s.Sum), digits(s.Increase), count(&s.Resets), share(s.Change),
		count(&before.Readings), digits(before.Min), digits(before.Max), digits(before.Mean), digits(before.Sum), digits(before.Increase), count(&s.Late))
}

func gatewayColumns(v *reportview.View) []sheet.Column {
	return join(
		texts(v, 24, "", "gateway"), texts(v, 12, "", "readings", "expected", "rejected"), texts(v, 14, shareFormat, "completeness", "availability"),
		texts(v, 12, "", "gaps"), texts(v, 14, "", "gap.longest", "gap.limit"), timed(v, "first_seen"), timed(v, "last_seen"), texts(v, 40, "", "limits"), texts(v, 12, "", "late"),
	)
}

func gatewayRow(g *api.ReportGateway) []sheet.Cell {
	longest := 0.0
	if len(g.LongestGaps) > 0 {
		longest = g.LongestGaps[0].Seconds
	}
	row := []sheet.Cell{
		sheet.Text(g.Name), count(&g.Readings), count(g.Expected), count(&g.Rejected), share(g.Completeness), share(g.Availability),
		count(&g.Gaps), seconds(longest), seconds(g.GapLimit),
	}
	return append(append(append(row, clocked(g.FirstSeen)...), clocked(g.LastSeen)...), sheet.Text(g.Reason), count(&g.Late))
}

func gapColumns(v *reportview.View) []sheet.Column {
	return join(texts(v, 24, "", "gateway"), timed(v, "from"), timed(v, "to"), texts(v, 12, "", "duration"))
}

func noteColumns(v *reportview.View) []sheet.Column {
	return join(texts(v, 24, "", "gateway"), timed(v, "from"), timed(v, "to"), texts(v, 60, "", "annotation.text"), texts(v, 20, "", "annotation.who"))
}

// summaryRows say what the report is about, its totals, and what it could not know.
func summaryRows(v *reportview.View) [][]sheet.Cell {
	r := v.Report
	line := func(key string, cells ...sheet.Cell) []sheet.Cell {
		return append([]sheet.Cell{sheet.Text(v.T(key)).Bold()}, cells...)
	}
	rows := [][]sheet.Cell{
		{sheet.Text(v.T("of", "provider", r.Provider)).Bold()},
		line("period", sheet.Text(v.Name())),
		line("from", clocked(&r.From)...), line("to", clocked(&r.To)...), line("zone", sheet.Text(r.Zone)), line("made", clocked(&r.Made)...),
		line("gateways", sheet.Int(int64(r.Totals.Gateways))), line("sensors", sheet.Int(int64(r.Totals.Sensors))),
		line("readings", count(&r.Totals.Readings)), line("late", count(&r.Totals.Late)), line("expected", count(r.Totals.Expected)), line("rejected", count(&r.Totals.Rejected)),
		line("completeness", sheet.Text(v.Share(r.Totals.Completeness))), line("availability", sheet.Text(v.Share(r.Totals.Availability))),
	}
	if of := v.Of(); of != "" {
		rows = append(rows, line("gateway", sheet.Text(of)))
	}
	if r.Before != nil {
		rows = append(rows, line("before", sheet.Text(v.Span(r.Before.From, r.Before.To))))
	}
	rows = append(rows, nil, line("limits"))
	for _, text := range v.Limits() {
		rows = append(rows, []sheet.Cell{sheet.Text(text)})
	}
	if len(v.Limits()) == 0 {
		rows = append(rows, []sheet.Cell{sheet.Text(v.T("limits.all"))})
	}
	return rows
}
