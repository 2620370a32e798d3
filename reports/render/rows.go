package render

import (
	"context"
	"math"
	"strconv"
	"strings"
	"time"

	"berth/internal/api"
	"berth/internal/reportview"
	"berth/internal/sheet"
)

// digits returns a cell that holds a number.
func digits(d *api.Digits) sheet.Cell {
	if d == nil {
		return sheet.Cell{}
	}
	if n, err := strconv.ParseInt(string(*d), 10, 64); err == nil {
		return sheet.Int(n)
	}
	if f := d.Float(); api.FloatDigits(f) == *d || !d.Finite() {
		return sheet.Float(f)
	}
	return sheet.Text(string(*d)) // a whole number that neither holds
}

// count returns a cell that holds a count, which may not be known.
func count(n *uint64) sheet.Cell {
	if n == nil || *n > math.MaxInt64 {
		return sheet.Cell{}
	}
	return sheet.Int(int64(*n))
}

// share returns a cell that holds a share.
func share(n *api.Number) sheet.Cell {
	if n == nil {
		return sheet.Cell{}
	}
	return sheet.Float(float64(*n))
}

// seconds returns a cell that holds a time in seconds, which may not be known.
func seconds(n float64) sheet.Cell {
	if n == 0 {
		return sheet.Cell{}
	}
	return sheet.Float(n)
}

func moment(t *time.Time) sheet.Cell {
	if t == nil {
		return sheet.Cell{}
	}
	return sheet.Time(*t)
}

// value returns cells that hold a reading's value and time.
func value(v *api.ReportValue) (at, is sheet.Cell) {
	if v == nil {
		return sheet.Cell{}, sheet.Cell{}
	}
	return sheet.Time(v.Time), sheet.Value(v.Value.Value)
}

// decimals returns the format of numbers with the decimals that are set.
func decimals(s *api.ReportSensor) sheet.Cell {
	if s.Decimals == nil {
		return sheet.Cell{}
	}
	return sheet.Int(int64(*s.Decimals))
}

// csvTitles are the columns of a report as CSV. Their names are those of the API; they never change, only more may come.
var csvTitles = []string{
	"from", "to", "time_zone", "gateway", "sensor", "label", "unit", "decimals", "counter", "kind",
	"interval_seconds", "expected", "readings", "numbers", "min", "max", "mean", "p95", "first_time", "first", "last_time", "last",
	"sum", "increase", "resets", "before_readings", "before_min", "before_max", "before_mean", "before_sum", "before_increase", "change",
	"gateway_expected", "gateway_readings", "gateway_rejected", "completeness", "availability", "gaps", "gap_seconds", "longest_gap_seconds",
	"complete", "complete_up_to", "gateway_late", "late", "annotations",
}

// writeCSV writes a row for each sensor, and one for a gateway that has none.
func writeCSV(ctx context.Context, j *job) error {
	rows, err := sheet.NewCSV(j.out, csvTitles...)
	if err != nil {
		return err
	}
	err = j.walk(ctx, func(g *api.ReportGateway) error {
		r := j.view.Report
		head := []sheet.Cell{sheet.Time(r.From), sheet.Time(r.To), sheet.Text(r.Zone), sheet.Text(g.Name)}
		tail := gatewayCells(g)
		notes := sheet.Text(noted(j.view, g))
		for i := range g.Sensors {
			row := append(append(append([]sheet.Cell{}, head...), sensorCells(&g.Sensors[i])...), tail...)
			if err := rows.Row(append(row, count(&g.Sensors[i].Late), notes)...); err != nil {
				return err
			}
			notes = sheet.Cell{}
		}
		if len(g.Sensors) == 0 {
			none := make([]sheet.Cell, len(csvTitles)-len(head)-len(tail)-2)
			return rows.Row(append(append(append(head, none...), tail...), sheet.Cell{}, notes)...)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return rows.Flush()
}

// sensorCells are a sensor's columns of csvTitles.
func sensorCells(s *api.ReportSensor) []sheet.Cell {
	firstAt, first := value(s.First)
	lastAt, last := value(s.Last)
	before := s.Before
	if before == nil {
		before = &api.ReportBefore{}
	}
	return []sheet.Cell{
		sheet.Text(s.Sensor), sheet.Text(s.Label), sheet.Text(s.Unit), decimals(s), sheet.Bool(s.Counter), sheet.Text(kindOf(s)),
		seconds(s.Interval), count(s.Expected), count(&s.Readings), count(&s.Numbers), digits(s.Min), digits(s.Max), digits(s.Mean), digits(s.P95),
		firstAt, first, lastAt, last, digits(s.Sum), digits(s.Increase), count(&s.Resets),
		count(&before.Readings), digits(before.Min), digits(before.Max), digits(before.Mean), digits(before.Sum), digits(before.Increase), share(s.Change),
	}
}

// kindOf returns the kind of the sensor's last value, "" when it has none.
func kindOf(s *api.ReportSensor) string {
	if s.Last == nil {
		return ""
	}
	return s.Last.Kind
}

// gatewayCells are a gateway's columns of csvTitles.
func gatewayCells(g *api.ReportGateway) []sheet.Cell {
	longest := 0.0
	if len(g.LongestGaps) > 0 {
		longest = g.LongestGaps[0].Seconds
	}
	return []sheet.Cell{
		count(g.Expected), count(&g.Readings), count(&g.Rejected), share(g.Completeness), share(g.Availability), count(&g.Gaps),
		seconds(g.GapTime), seconds(longest), sheet.Bool(g.Complete.Complete), moment(g.UpTo), count(&g.Late),
	}
}

// noted returns what people have noted on a gateway's charts as one text, which the gateway's first row of CSV has.
func noted(v *reportview.View, g *api.ReportGateway) string {
	all := make([]string, 0, len(g.Annotations))
	for _, a := range g.Annotations {
		all = append(all, v.Noted(a)+": "+a.Text+" ("+a.Who+")")
	}
	return strings.Join(all, "; ")
}
