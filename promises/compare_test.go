package promises

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/google/go-cmp/cmp"

	"berth/internal/api"
	"berth/schema"
)

// check compares everything that the API answers of a player's gateway with its model.
func (o *once) check(p *player) error {
	if len(p.model) == 0 {
		return nil // the gateway need not be known
	}
	const day = 24 * time.Hour
	oldest, newest := o.base.now.Add(-402*day), o.base.now.Add(2*day)
	if err := o.checkReadings(p, oldest, newest); err != nil {
		return err
	}
	if err := o.checkLatest(p); err != nil {
		return err
	}
	m := o.base.midnight
	for _, c := range []struct {
		from, to time.Time
		points   int
		source   string
	}{
		{m.Add(-26 * time.Hour), m.Add(5 * time.Hour), 60, "readings"}, // buckets
		{m.Add(-2 * time.Hour), m.Add(2 * time.Hour), 10_000, "readings"},
		{m.Add(-40 * day), m.Add(2 * day), 2000, "hours"},
		{oldest, newest, 500, "days"},
	} {
		if err := o.checkSeries(p, c.from, c.to, c.points, c.source); err != nil {
			return err
		}
	}
	return nil
}

// ask asks for something of a gateway until the answer is complete, which read decides.
func (o *once) ask(p *player, path string, query url.Values, read func(answer *http.Response) error) error {
	return o.patiently(recovery, func(ctx context.Context) error {
		o.mu.Lock()
		o.questions++
		o.mu.Unlock()
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, o.api+url.PathEscape(p.gateway)+path+"?"+query.Encode(), nil)
		if err != nil {
			return err
		}
		request.Header.Set("Authorization", "Bearer "+o.token)
		answer, err := o.client.Do(request)
		if err != nil {
			return again(err)
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			text, _ := io.ReadAll(answer.Body)
			err := fmt.Errorf("%s is answered %s: %s", path, answer.Status, text)
			if answer.StatusCode >= 500 {
				return again(err)
			}
			return err
		}
		return read(answer)
	})
}

func incomplete(reason string) error {
	return again(fmt.Errorf("an answer is not complete: %s", reason))
}

// checkReadings compares every reading.
func (o *once) checkReadings(p *player, from, to time.Time) error {
	query := url.Values{"from": {from.Format(time.RFC3339)}, "to": {to.Format(time.RFC3339)}, "format": {"csv"}}
	return o.ask(p, "/readings", query, func(answer *http.Response) error {
		rows, err := csv.NewReader(answer.Body).ReadAll()
		if err != nil {
			return again(err)
		}
		if answer.Header.Get("Berth-Complete") != "true" {
			return incomplete(answer.Header.Get("Berth-Incomplete-Reason"))
		}
		found := map[string]string{}
		for _, row := range rows[1:] { // gateway, sensor, time, time_ms, time_ns, kind, value
			key := row[1] + " " + row[4]
			if _, twice := found[key]; twice {
				return fmt.Errorf("%s is there twice", key)
			}
			found[key] = row[5] + " " + row[6]
		}
		want := map[string]string{}
		for sensor, readings := range p.model {
			for t, v := range readings {
				want[sensor+" "+strconv.FormatInt(t, 10)] = v.Kind().String() + " " + v.String()
			}
		}
		return differ("readings", want, found)
	})
}

// checkLatest compares the newest value of each sensor.
func (o *once) checkLatest(p *player) error {
	return o.ask(p, "/latest", nil, func(answer *http.Response) error {
		var latest api.Latest
		if err := json.NewDecoder(answer.Body).Decode(&latest); err != nil {
			return again(err)
		}
		if !latest.Complete.Complete {
			return incomplete(latest.Reason)
		}
		found, want := map[string]string{}, map[string]string{}
		for _, r := range latest.Readings {
			found[r.Sensor] = r.Nanos + " " + r.Kind + " " + r.Value.String()
		}
		for sensor, readings := range p.model {
			t := slices.Max(slices.Collect(maps.Keys(readings)))
			v := readings[t]
			want[sensor] = strconv.FormatInt(t, 10) + " " + v.Kind().String() + " " + v.String()
		}
		return differ("newest values", want, found)
	})
}

// checkSeries compares the buckets of all sensors in a range.
func (o *once) checkSeries(p *player, from, to time.Time, points int, source string) error {
	query := url.Values{
		"from": {from.Format(time.RFC3339)}, "to": {to.Format(time.RFC3339)}, "points": {strconv.Itoa(points)},
		"sensor": slices.Sorted(maps.Keys(p.model)),
	}
	return o.ask(p, "/series", query, func(answer *http.Response) error {
		var a api.SeriesAnswer
		if err := json.NewDecoder(answer.Body).Decode(&a); err != nil {
			return again(err)
		}
		if !a.Complete.Complete {
			return incomplete(a.Reason)
		}
		if a.Source != source {
			return fmt.Errorf("a chart was computed from %s, want %s", a.Source, source)
		}
		found, want := map[string]string{}, map[string]string{}
		for _, s := range a.Series {
			for i, ms := range s.Time {
				found[fmt.Sprintf("%s %d", s.Sensor, ms)] = bucketText(s.Count[i], float64(s.Min[i]), float64(s.Max[i]), float64(s.Mean[i]))
			}
			maps.Copy(want, p.buckets(s.Sensor, from, to, int64(a.Step*1e9), s.Raw, source != "readings"))
		}
		return differ("buckets of "+source, want, found)
	})
}

// buckets returns a sensor's buckets, or readings, by the model. What is computed from rollups covers whole buckets.
func (p *player) buckets(sensor string, from, to time.Time, step int64, raw, whole bool) map[string]string {
	first, end := from.UnixNano(), to.UnixNano()
	if whole {
		first, end = schema.Start(first, step), schema.Start(end-1, step)+step
	}
	inside := map[int64][]schema.Value{}
	for t, v := range p.model[sensor] {
		switch {
		case t < first || t >= end:
		case raw:
			inside[t] = append(inside[t], v)
		default:
			inside[schema.Start(t, step)] = append(inside[schema.Start(t, step)], v)
		}
	}
	texts := map[string]string{}
	for at, values := range inside {
		low, high, sum, n := math.NaN(), math.NaN(), 0.0, 0
		for _, v := range values {
			number, ok := v.Number()
			if !ok {
				continue
			}
			if n++; n == 1 {
				low, high = number, number
			}
			low, high, sum = min(low, number), max(high, number), sum+number
		}
		mean := math.NaN()
		if n > 0 {
			mean = sum / float64(n)
		}
		texts[fmt.Sprintf("%s %d", sensor, at/int64(time.Millisecond))] = bucketText(uint64(len(values)), low, high, mean)
	}
	return texts
}

// bucketText writes a bucket. The numbers of histories are quarters, so that every way of summing gives the same.
func bucketText(count uint64, low, high, mean float64) string {
	return fmt.Sprint(count, " of ", low, " to ", high, ", mean ", mean)
}

// differ returns what is different, none of it if nothing is.
func differ(what string, want, found map[string]string) error {
	if maps.Equal(want, found) {
		return nil
	}
	maps.DeleteFunc(want, func(k, v string) bool {
		if found[k] != v {
			return false
		}
		delete(found, k)
		return true
	})
	return fmt.Errorf("%s differ (-model +found):\n%.1500s", what, cmp.Diff(want, found))
}
