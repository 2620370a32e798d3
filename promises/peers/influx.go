package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"berth/internal/trucks"
)

// openInflux starts InfluxDB 1.x as its package has it, but that it compacts what is cold within seconds, not hours, keeps
// no statistics of itself, and does not log each request.
func openInflux(ctx context.Context, o *options, dir string) (*running, error) {
	data, err := folder(dir, "influx")
	if err != nil {
		return nil, err
	}
	address, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	other, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	cmd, err := program(o, []string{
		"INFLUXDB_META_DIR=" + data + "/meta", "INFLUXDB_DATA_DIR=" + data + "/data", "INFLUXDB_DATA_WAL_DIR=" + data + "/wal",
		"INFLUXDB_HTTP_BIND_ADDRESS=" + address, "INFLUXDB_BIND_ADDRESS=" + other, "INFLUXDB_REPORTING_DISABLED=true",
		"INFLUXDB_HTTP_LOG_ENABLED=false", "INFLUXDB_DATA_QUERY_LOG_ENABLED=false", "INFLUXDB_MONITOR_STORE_ENABLED=false",
		"INFLUXDB_DATA_CACHE_SNAPSHOT_WRITE_COLD_DURATION=5s", "INFLUXDB_DATA_COMPACT_FULL_WRITE_COLD_DURATION=10s",
	}, "influxd", "run", "-config", "/dev/null")
	if err != nil {
		return nil, err
	}
	i := &influx{options: o, base: "http://" + address}
	r := &running{pid: cmd.Process.Pid, dir: data, write: i.base + "/write?db=trucks&precision=ns", stop: func() { end(cmd) }}
	r.settle, r.count = i.settle, i.count
	r.ask = [questions]func(context.Context, *trucks.Fleet, int) (int, error){i.last, i.day, i.maxima}
	err = answers(ctx, i.base+"/ping")
	if err == nil {
		err = i.create(ctx)
	}
	if err != nil {
		end(cmd)
		return nil, err
	}
	return r, nil
}

// influx asks InfluxDB.
type influx struct {
	options *options
	base    string
}

// create makes the database.
func (i *influx) create(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, i.base+"/query?q="+url.QueryEscape("CREATE DATABASE trucks"), nil)
	if err != nil {
		return err
	}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close() //nolint:errcheck // nothing of it is read
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("the database's creation was answered %s", answer.Status)
	}
	return nil
}

// settle waits until compaction of what is cold has begun; it has ended when the files are steady.
func (i *influx) settle(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(15 * time.Second):
		return nil
	}
}

// rows asks a question and returns the rows of all its series, without their times.
func (i *influx) rows(ctx context.Context, q string) (rows [][]json.RawMessage, err error) {
	var answer struct {
		Results []struct {
			Error  string `json:"error"`
			Series []struct {
				Values [][]json.RawMessage `json:"values"`
			} `json:"series"`
		} `json:"results"`
	}
	if err := get(ctx, i.base+"/query?"+url.Values{"db": {"trucks"}, "epoch": {"ns"}, "q": {q}}.Encode(), "", &answer); err != nil {
		return nil, err
	}
	for _, r := range answer.Results {
		if r.Error != "" {
			return nil, fmt.Errorf("%s: %s", q, r.Error)
		}
		for _, s := range r.Series {
			for _, row := range s.Values {
				rows = append(rows, row[1:])
			}
		}
	}
	return rows, nil
}

// found counts the values that are there.
func found(rows [][]json.RawMessage) (n int) {
	for _, row := range rows {
		for _, v := range row {
			if string(v) != "null" {
				n++
			}
		}
	}
	return n
}

func (i *influx) count(ctx context.Context) (int64, error) {
	rows, err := i.rows(ctx, `SELECT COUNT(*) FROM "readings"; SELECT COUNT(*) FROM "diagnostics"`)
	sum := int64(0)
	for _, row := range rows {
		for _, v := range row {
			var n int64
			if err := json.Unmarshal(v, &n); err != nil {
				return 0, err
			}
			sum += n
		}
	}
	return sum, err
}

// last asks for the last latitude and longitude of the last day.
func (i *influx) last(ctx context.Context, f *trucks.Fleet, _ int) (int, error) {
	from, to := day(f, 0, 1)
	rows, err := i.rows(ctx, `SELECT LAST(latitude), LAST(longitude) FROM readings WHERE `+between(from, to)+` GROUP BY "name"`)
	return found(rows), err
}

// day asks for all readings of a truck's day.
func (i *influx) day(ctx context.Context, f *trucks.Fleet, n int) (int, error) {
	from, to := day(f, n, i.options.days)
	truck := trucks.Name(n % i.options.trucks)
	var parts []string
	for _, m := range trucks.Measurements {
		parts = append(parts, fmt.Sprintf(`SELECT %s FROM "%s" WHERE "name"='%s' AND %s`, strings.Join(m.Fields, ","), m.Name, truck, between(from, to)))
	}
	rows, err := i.rows(ctx, strings.Join(parts, ";"))
	return found(rows), err
}

// maxima asks for the daily maxima.
func (i *influx) maxima(ctx context.Context, f *trucks.Fleet, _ int) (int, error) {
	rows, err := i.rows(ctx, `SELECT MAX(velocity) FROM readings WHERE `+between(i.options.start, f.End())+` GROUP BY time(1d), "name"`)
	return found(rows), err
}

// between is the condition of a range.
func between(from, to time.Time) string {
	return fmt.Sprintf("time >= '%s' AND time < '%s'", from.Format(time.RFC3339), to.Format(time.RFC3339))
}
