package web

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"berth/internal/api"
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
				d.Charts[j].setTable(&answer.Series[i], d.zone)
			}
		}
	}
	return nil
}

// setTable takes a sensor's rows from its series.
func (row *sensorRow) setTable(s *api.Series, zone *time.Location) {
	row.Each = s.Raw
	for i, ms := range slices.Backward(s.Time) {
		at := tableRow{Time: time.UnixMilli(ms).In(zone)}
		for _, v := range []struct {
			out *string
			all api.Numbers
		}{{&at.Mean, s.Mean}, {&at.Min, s.Min}, {&at.Max, s.Max}} {
			if i < len(v.all) {
				*v.out = row.number(float64(v.all[i]), v.out == &at.Mean && !s.Raw)
			}
		}
		row.Table = append(row.Table, at)
	}
}

// number writes a value of the sensor as its chart does: with its decimals where people said how many; else a mean to six
// digits, and a reading in full.
func (row *sensorRow) number(v float64, mean bool) string {
	if decimals, err := strconv.Atoi(row.Decimals); err == nil {
		return strconv.FormatFloat(v, 'f', decimals, 64)
	}
	if mean {
		return strconv.FormatFloat(v, 'g', 6, 64)
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}
