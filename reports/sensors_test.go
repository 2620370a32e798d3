package reports

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"berth/internal/api"
	"berth/internal/credentials"
)

// say posts what is said about sensors, with a digest of the given body, and returns status and answer.
func (b *bench) say(body, signed string) (int, string) {
	b.t.Helper()
	answer := b.ask(root+"/sensors?sha256="+api.Digest([]byte(signed)), func(r *http.Request) {
		r.Method, r.Body, r.ContentLength = http.MethodPost, io.NopCloser(bytes.NewReader([]byte(body))), int64(len(body))
		credentials.Sign(r, token, time.Now())
	})
	return answer.StatusCode, b.text(answer)
}

// textOf asks and reads the answer.
func (b *bench) textOf(path string) string {
	b.t.Helper()
	answer := b.ask(path)
	defer answer.Body.Close()
	return b.text(answer)
}

func TestWhatIsSaidAboutSensorsIsKept(t *testing.T) {
	b := newBench(t)
	const first = `{"sensors":[{"sensor":"boiler.temperature","label":"Vorlauf 供水温度","unit":"°C","decimals":2},{"sensor":"a","unit":"x"}]}`
	if status, text := b.say(first, first); status != http.StatusOK || !strings.Contains(text, `"Vorlauf 供水温度"`) {
		t.Fatalf("said: %d %s", status, text)
	}
	const second = `{"sensors":[{"sensor":"meter","counter":true,"interval_seconds":0.5},{"sensor":"a"}]}`
	if status, text := b.say(second, second); status != http.StatusOK {
		t.Fatalf("said: %d %s", status, text)
	}
	var got api.SaidSensors
	if err := json.Unmarshal([]byte(b.textOf(root+"/sensors")), &got); err != nil || len(got.Sensors) != 2 ||
		got.Sensors[0].Sensor != "boiler.temperature" || *got.Sensors[0].Decimals != 2 || got.Sensors[1].Interval != 0.5 || !got.Sensors[1].Counter {
		t.Errorf("kept is %+v, %v", got, err)
	}
	if text := b.textOf(root + "/reports/preview?from=now-1d"); !strings.Contains(text, `"label":"Vorlauf 供水温度","unit":"°C","decimals":2`) {
		t.Errorf("a report does not have it: %s", text)
	}
	for body, want := range map[string]int{
		`{"sensors":[{"sensor":"a","decimals":99}]}`: http.StatusBadRequest,
		`{"sensors":[{"sensor":"","unit":"x"}]}`:     http.StatusBadRequest,
		`[`:                                          http.StatusBadRequest,
	} {
		if status, text := b.say(body, body); status != want {
			t.Errorf("%s is %d, want %d: %s", body, status, want, text)
		}
	}
	if status, _ := b.say(second, first); status != http.StatusUnauthorized {
		t.Errorf("a body that was not signed is %d", status)
	}
}
