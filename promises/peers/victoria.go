package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"berth/internal/trucks"
)

// openVictoria starts VictoriaMetrics as its package has it, but for a retention that reaches back to the first day.
func openVictoria(ctx context.Context, o *options, dir string) (*running, error) {
	data, err := folder(dir, "victoria")
	if err != nil {
		return nil, err
	}
	address, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	cmd, err := program(o, nil, "victoria-metrics", "-storageDataPath="+data, "-httpListenAddr="+address, "-retentionPeriod=24")
	if err != nil {
		return nil, err
	}
	v := &victoria{options: o, base: "http://" + address}
	r := &running{pid: cmd.Process.Pid, dir: data, write: v.base + "/write?precision=ns", stop: func() { end(cmd) }}
	r.settle, r.count = v.settle, v.count
	r.ask = [questions]func(context.Context, *trucks.Fleet, int) (int, error){v.last, v.day, v.maxima}
	if err := answers(ctx, v.base+"/health"); err != nil {
		end(cmd)
		return nil, err
	}
	return r, nil
}

// victoria asks VictoriaMetrics.
type victoria struct {
	options *options
	base    string
}

// settle has what is in memory written to disk and merged.
func (v *victoria) settle(ctx context.Context) error {
	return errors.Join(get(ctx, v.base+"/internal/force_flush", "", nil), get(ctx, v.base+"/internal/force_merge", "", nil))
}

// series is a series as Prometheus's API answers it.
type series struct {
	Value  []json.RawMessage   `json:"value"`
	Values [][]json.RawMessage `json:"values"`
}

// query asks for an expression, at one time or, where there is a step, over a range.
func (v *victoria) query(ctx context.Context, values url.Values) ([]series, error) {
	path := "/api/v1/query?"
	if values.Has("step") && values.Has("start") {
		path = "/api/v1/query_range?"
	}
	var answer struct {
		Data struct {
			Result []series `json:"result"`
		} `json:"data"`
	}
	values.Set("nocache", "1")
	err := get(ctx, v.base+path+values.Encode(), "", &answer)
	return answer.Data.Result, err
}

// seconds writes a time as the API wants it.
func seconds(t time.Time) string { return strconv.FormatInt(t.Unix(), 10) }

func (v *victoria) count(ctx context.Context) (int64, error) {
	if err := get(ctx, v.base+"/internal/force_flush", "", nil); err != nil {
		return 0, err
	}
	end := v.options.start.AddDate(0, 0, v.options.days)
	found, err := v.query(ctx, url.Values{
		"query": {fmt.Sprintf(`sum(count_over_time({__name__=~"readings_.+|diagnostics_.+"}[%dd]))`, v.options.days)}, "time": {seconds(end)},
	})
	if err != nil || len(found) != 1 {
		return 0, errors.Join(err, fmt.Errorf("count was answered %d series", len(found)))
	}
	var text string
	if err := json.Unmarshal(found[0].Value[1], &text); err != nil {
		return 0, err
	}
	n, err := strconv.ParseFloat(text, 64)
	return int64(n), err
}

// last asks for the last latitude and longitude of the last day.
func (v *victoria) last(ctx context.Context, f *trucks.Fleet, _ int) (int, error) {
	found, err := v.query(ctx, url.Values{
		"query": {`last_over_time({__name__=~"readings_(latitude|longitude)"}[1d])`}, "time": {seconds(f.End())},
	})
	return len(found), err
}

// day asks for the samples themselves.
func (v *victoria) day(ctx context.Context, f *trucks.Fleet, n int) (int, error) {
	_, to := day(f, n, v.options.days)
	found, err := v.query(ctx, url.Values{
		"query": {fmt.Sprintf(`{name=%q}[1d]`, trucks.Name(n%v.options.trucks))}, "time": {seconds(to)},
	})
	return values(found), err
}

// maxima asks for the daily maxima.
func (v *victoria) maxima(ctx context.Context, f *trucks.Fleet, _ int) (int, error) {
	found, err := v.query(ctx, url.Values{
		"query": {`max_over_time(readings_velocity[1d])`}, "step": {"1d"},
		"start": {seconds(v.options.start.AddDate(0, 0, 1))}, "end": {seconds(f.End())},
	})
	return values(found), err
}

// values counts the values of all series.
func values(found []series) (n int) {
	for _, s := range found {
		n += len(s.Values)
	}
	return n
}
