package web

import (
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"berth/internal/api"
	"berth/internal/locale"
)

// tableRows is how many rows the table of a chart has at most: each a reading or, where there are more, a stretch of time.
const tableRows = 200

// tableRow is what a chart shows of one time, for whoever reads without script.
type tableRow struct {
	Time           time.Time
	Mean, Min, Max string // of a single reading all are its value
}

// setTables writes what the charts show as tables, the newest first.
func (w *Web) setTables(r *http.Request, d *gatewayData) error {
	ask := url.Values{"from": {d.From}, "to": {d.To}, "points": {strconv.Itoa(tableRows)}}
	for i := range d.Charts {
		ask.Add("sensor", d.Charts[i].Name)
	}
	d.Tables = true
	if len(d.Charts) == 0 {
		return nil
	}
	var answer api.SeriesAnswer
	if err := w.up.get(r.Context(), requestOf(r).provider, &answer, ask, "gateways", d.Gateway.Name, "series"); err != nil {
		return err
	}
	d.Notice = noticeOf(answer.Complete)
	for i := range answer.Series {
		for j := range d.Charts {
			if d.Charts[j].Name == answer.Series[i].Sensor {
				d.Charts[j].setTable(&answer.Series[i], &d.frame)
			}
		}
	}
	return nil
}

// setTable takes a sensor's rows from its series.
func (row *sensorRow) setTable(s *api.Series, f *frame) {
	row.Each = s.Raw
	for i, ms := range slices.Backward(s.Time) {
		at := tableRow{Time: time.UnixMilli(ms).In(f.zone)}
		for _, v := range []struct {
			out *string
			all api.Numbers
		}{{&at.Mean, s.Mean}, {&at.Min, s.Min}, {&at.Max, s.Max}} {
			if i < len(v.all) {
				*v.out = row.number(f.Language, float64(v.all[i]), v.out == &at.Mean && !s.Raw)
			}
		}
		row.Table = append(row.Table, at)
	}
}

// number writes a value of the sensor as its chart does: with its decimals where people said how many; else a mean to six
// digits, and a reading to twelve.
func (row *sensorRow) number(l locale.Language, v float64, mean bool) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return "–"
	}
	if decimals, err := strconv.Atoi(row.Decimals); err == nil {
		return l.Number(strconv.FormatFloat(v, 'f', decimals, 64))
	}
	digits := 12
	if mean {
		digits = 6
	}
	short, err := strconv.ParseFloat(strconv.FormatFloat(v, 'e', digits-1, 64), 64)
	if err != nil { // rounded up it is more than a number can be
		short = v
	}
	return l.Number(strconv.FormatFloat(short, 'f', -1, 64))
}
