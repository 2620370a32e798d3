package reports

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/xuri/excelize/v2"

	"berth/internal/api"
	"berth/internal/headapi"
	"berth/schema"
)

func TestExportInEveryFormat(t *testing.T) {
	b := newBench(t)
	for format, count := range map[string]func(data string) (int, error){
		"csv": func(data string) (int, error) {
			rows, err := csv.NewReader(strings.NewReader(data)).ReadAll()
			return len(rows) - 1, err
		},
		"jsonl": func(data string) (int, error) { return strings.Count(data, "\n"), nil },
		"xlsx": func(data string) (int, error) {
			f, err := excelize.OpenReader(strings.NewReader(data))
			if err != nil {
				return 0, err
			}
			rows, err := f.GetRows("Readings")
			return len(rows) - 1, err
		},
		"parquet": func(data string) (int, error) {
			f, err := parquet.OpenFile(bytes.NewReader([]byte(data)), int64(len(data)))
			if err != nil {
				return 0, err
			}
			return int(f.NumRows()), nil
		},
	} {
		answer := b.ask(root + "/export?format=" + format)
		text := b.text(answer)
		if n, err := count(text); err != nil || n != 2 || answer.StatusCode != http.StatusOK {
			t.Errorf("%s: %s, %d readings (%v)", format, answer.Status, n, err)
		}
		if h := answer.Header; h.Get("Berth-Gateways") != "1" || !strings.HasSuffix(h.Get("Content-Disposition"), "."+format+`"`) {
			t.Errorf("%s: headers %v", format, h)
		}
		if tr := answer.Trailer; tr.Get("Berth-Readings") != "2" || tr.Get("Berth-Complete") != "true" || tr.Get("Berth-Unreadable-Blocks") != "0" {
			t.Errorf("%s: trailers %v", format, tr)
		}
	}
	var all api.Exports
	listed := b.ask(root + "/exports")
	if err := json.Unmarshal([]byte(b.text(listed)), &all); err != nil || listed.StatusCode != http.StatusOK {
		t.Fatal(listed.Status, err)
	}
	if len(all.Exports) != 4 {
		t.Errorf("%d exports are listed", len(all.Exports))
	}
	for _, x := range all.Exports {
		if x.Ended == nil || x.Readings != 2 || x.Done != 1 || x.Bytes == 0 || x.Problem != "" {
			t.Errorf("%+v", x)
		}
	}
}

func TestExportGoesOnAfterAReading(t *testing.T) {
	b := newBench(t)
	after := func(sensor string, at time.Time) string {
		return url.QueryEscape(api.Cursor{Gateway: gateway, Time: at.UnixNano(), Sensor: sensor}.String())
	}
	for _, c := range []struct {
		after string
		want  int
	}{
		{after("a", b.begin), 2},
		{after("boiler.note", b.begin), 1},
		{after("boiler.temperature", b.begin), 0},
		{after("boiler.temperature", b.begin.Add(-1)), 2},
		{url.QueryEscape(api.Cursor{Gateway: "zz", Time: 0, Sensor: "a"}.String()), 0},
		{url.QueryEscape(api.Cursor{Gateway: "aa", Time: b.begin.Add(time.Hour).UnixNano(), Sensor: "a"}.String()), 2},
	} {
		answer := b.ask(root + "/export?format=csv&after=" + c.after)
		text := b.text(answer)
		if got := strings.Count(text, "\n"); answer.StatusCode != http.StatusOK || got != c.want || strings.Contains(text, "time_ns") {
			t.Errorf("after %s: %d rows, not %d, or titles:\n%s", c.after, got, c.want, text)
		}
	}
}

func TestExportRefuses(t *testing.T) {
	b := newBench(t)
	for path, want := range map[string]int{
		"/export?format=xml":                  http.StatusBadRequest,
		"/export?after=nothing":               http.StatusBadRequest,
		"/export?from=now&to=now-1h":          http.StatusBadRequest,
		"/export?gateway=nobody&format=jsonl": http.StatusNotFound,
	} {
		answer := b.ask(root + path)
		if text := b.text(answer); answer.StatusCode != want {
			t.Errorf("%s is %s, want %d: %s", path, answer.Status, want, text)
		}
	}
}

// Exports read as fast as they may: more than a few at a time would disturb everything else.
func TestOnlyAFewExportsRunAtATime(t *testing.T) {
	b := newBench(t)
	for range mostExports {
		if err := b.reports.exports.begin(&api.Export{}); err != nil {
			t.Fatal(err)
		}
	}
	answer := b.ask(root + "/export")
	if text := b.text(answer); answer.StatusCode != http.StatusTooManyRequests {
		t.Errorf("%s: %s", answer.Status, text)
	}
	for _, x := range b.reports.exports.all {
		x.Ended = new(time.Now())
	}
	if answer := b.ask(root + "/export"); b.text(answer) == "" || answer.StatusCode != http.StatusOK {
		t.Errorf("after they have ended: %s", answer.Status)
	}
	for range 50 {
		if err := b.reports.exports.begin(&api.Export{Ended: new(time.Now())}); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(b.reports.exports.list().Exports); n > mostExports+shownExports {
		t.Errorf("%d exports are remembered", n)
	}
}

// A head that does not answer must not make an export that looks whole.
func TestExportSaysThatItIsNotComplete(t *testing.T) {
	b := newBench(t)
	for _, stop := range b.stop {
		stop()
	}
	b.stop = nil
	b.answer(headapi.Gateways, func(_ []byte, _ func([]byte) error) error {
		return schema.Errorf(schema.Unavailable, "not now")
	})
	answer := b.ask(root + "/export")
	b.text(answer)
	if answer.StatusCode != http.StatusOK || answer.Trailer.Get("Berth-Complete") != "false" || answer.Trailer.Get("Berth-Incomplete-Reason") == "" {
		t.Errorf("%s, trailers %v", answer.Status, answer.Trailer)
	}
}
