package reports

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"berth/internal/api"
	"berth/internal/bus"
	"berth/internal/bus/bustest"
	"berth/internal/credentials"
	"berth/internal/headapi"
	"berth/internal/keyspace/open"
	"berth/schema"
	"berth/schema/block"
	"berth/schema/catalog"
	"berth/schema/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	provider = "provider1"
	token    = "the provider's reports token"
	gateway  = "boiler/1 Süd"
)

// bench is an instance on a real bus and a real keyspace, with an ingest of the test that answers about its head.
type bench struct {
	t       *testing.T
	reports *Reports
	house   *bus.Conn // the provisioner's connection to the provider's account
	ingest  *bus.Conn
	begin   time.Time
	more    []string // gateways that the head has, in order, beside the one
	stop    []func()
}

func newBench(t *testing.T) *bench {
	t.Helper()
	house := bustest.New(t)
	b := &bench{t: t, begin: time.Now().Add(-time.Hour).Truncate(time.Second)}
	var pipeline bus.Credentials
	b.house, pipeline = house.Provider(provider, bus.LogOptions{})
	b.ingest = house.Connect(pipeline)
	keyspaces := "sqlite:" + t.TempDir()
	backend, err := open.Open(keyspaces, house.Log)
	if err != nil {
		t.Fatal(err)
	}
	if err := backend.Create(t.Context(), provider); err != nil {
		t.Fatal(err)
	}
	if err := backend.Close(); err != nil {
		t.Fatal(err)
	}
	b.putRecord(record.Pipeline{Version: 1, Name: provider, Slot: 1, Keyspace: provider, Settings: record.DefaultSettings(), ReportsToken: token})
	b.answerAsIngest()

	b.reports, err = New(Options{
		Provider: provider, Bus: house.Server.URL(), Credentials: pipeline, Keyspaces: keyspaces,
		Listen: "127.0.0.1:0", Instance: "r1", Logger: house.Log,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.reports.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.reports.Stop(context.Background()); err != nil {
			t.Error(err)
		}
		for _, stop := range b.stop {
			stop()
		}
	})
	return b
}

func (b *bench) putRecord(p record.Pipeline) {
	b.t.Helper()
	bucket, err := b.house.Bucket(b.t.Context(), bus.BucketOptions{Name: "pipeline"})
	if err != nil {
		b.t.Fatal(err)
	}
	data, err := json.Marshal(p)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := bucket.Put(b.t.Context(), record.PipelineKey, data); err != nil {
		b.t.Fatal(err)
	}
}

// answerAsIngest gives the head two readings of one gateway: one a temperature, one a text that a spreadsheet might
// take for a formula.
func (b *bench) answerAsIngest() {
	b.t.Helper()
	builder := block.NewBuilder(gateway)
	builder.Add("boiler.temperature", b.begin.UnixNano(), schema.FloatValue(21.5), schema.Position{Sequence: 2})
	builder.Add("boiler.note", b.begin.UnixNano(), schema.TextValue(`say "hi", twice`), schema.Position{Sequence: 2, Ordinal: 1})
	content := builder.Content()
	part, err := block.Encode(nil, content)
	if err != nil {
		b.t.Fatal(err)
	}
	entry := &catalog.Entry{Gateway: gateway, FirstSeen: b.begin.UnixNano(), LastSeen: b.begin.UnixNano()}
	for _, c := range content.Columns {
		entry.Observe(c.Sensor, c.Times[0], c.Value(0), content.To)
	}
	for subject, chunk := range map[string][]byte{
		headapi.Parts:    part,
		headapi.Fleet:    part,
		headapi.Latest:   catalog.EncodeEntry(nil, entry),
		headapi.Gateways: catalog.EncodeEntry(nil, entry),
		headapi.Since:    part,
	} {
		b.answer(subject, func(request []byte, reply func([]byte) error) error {
			var q struct {
				Gateway, After string
				Gateways       []string
			}
			if err := json.Unmarshal(request, &q); err != nil {
				return err
			}
			if err := reply([]byte(`{"complete":true,"position":"2/1"}`)); err != nil {
				return err
			}
			if subject == headapi.Since && q.After != "1/0" || subject != headapi.Gateways && q.Gateway != gateway && !slices.Contains(q.Gateways, gateway) {
				return nil
			}
			if subject != headapi.Gateways || q.After < gateway {
				if err := reply(chunk); err != nil {
					return err
				}
			}
			for _, name := range b.more {
				if subject == headapi.Gateways && q.After < name {
					if err := reply(catalog.EncodeEntry(nil, &catalog.Entry{Gateway: name})); err != nil {
						return err
					}
				}
			}
			return nil
		})
	}
	b.answer(headapi.Books, func(_ []byte, reply func([]byte) error) error {
		return reply([]byte(`{"frames":{"received":7},"state":"ready"}`))
	})
}

func (b *bench) answer(subject string, fn func(request []byte, reply func([]byte) error) error) {
	b.t.Helper()
	stop, err := b.ingest.Answer(subject, func(_ context.Context, request []byte, reply func([]byte) error) error {
		return fn(request, reply)
	})
	if err != nil {
		b.t.Fatal(err)
	}
	b.stop = append(b.stop, stop)
}

// ask sends a signed question; the caller closes the answer's body.
func (b *bench) ask(path string, change ...func(*http.Request)) *http.Response {
	b.t.Helper()
	request, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, "http://"+b.reports.Addr()+path, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	credentials.Sign(request, token, time.Now())
	for _, c := range change {
		c(request)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(request)
	if err != nil {
		b.t.Fatal(err)
	}
	return answer
}

// text reads an answer to its end.
func (b *bench) text(answer *http.Response) string {
	b.t.Helper()
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return string(text)
}

const (
	root    = "/api/v1/providers/provider1"
	escaped = "/gateways/boiler%2F1%20S%C3%BCd"
)

func TestEveryQuestionIsAnswered(t *testing.T) {
	b := newBench(t)
	for path, want := range map[string]string{
		"/gateways":                            `"name":"boiler/1 Süd","state":"offline"`,
		"/gateways?q=boil&limit=1":             `"sensors":2`,
		escaped:                                `"sensors":2`,
		escaped + "/sensors":                   `{"name":"boiler.note","kind":"text"},{"name":"boiler.temperature","kind":"float"}`,
		escaped + "/latest":                    `"kind":"float","value":21.5`,
		escaped + "/series?sensor=boiler.none": `"time_ms":[],"min":[],"max":[],"mean":[],"count":[]`,
		escaped + "/series?sensor=boiler.none&value=max&value=count": `"time_ms":[],"max":[],"count":[],"gap_seconds"`,
		escaped + "/readings":                                        `"kind":"text","value":"say \"hi\", twice"`,
		"/reports/preview?from=now-1d":                               `"mean":21.5`,
		"/reports/preview?from=now-1d&gateway=boiler%2F1%20S%C3%BCd": `"totals":{"gateways":1,"sensors":2,`,
		"/reports/preview?period=today":                              `"period":"today"`,
		"/latest?sensor=boiler.temperature":                          `"readings":[{"sensor":"boiler.temperature"`,
		"/series?sensor=boiler.temperature&from=now-2h&points=100":   `"raw":true`,
		"/series?sensor=boiler.none": `{"gateways":[

],"complete":true}`,
		"/books":   `"received":7`,
		"/rejects": `{"rejects":[],"kept":0}`,
		escaped + "/series?sensor=boiler.temperature&from=now-2h&points=100": `"raw":true`,
	} {
		answer := b.ask(root + path)
		if text := b.text(answer); answer.StatusCode != http.StatusOK || !strings.Contains(text, want) {
			t.Errorf("%s is %s\n%s\nwithout %s", path, answer.Status, text, want)
		}
	}
}

func TestBadQuestionsGetProblems(t *testing.T) {
	b := newBench(t)
	for path, want := range map[string]int{
		root + "/gateways?limit=0":                         http.StatusBadRequest,
		root + "/latest":                                   http.StatusBadRequest,
		root + "/series?sensor=a&limit=1001":               http.StatusBadRequest,
		root + "/series?sensor=a&points=1":                 http.StatusBadRequest,
		root + "/gateways?limit=1001":                      http.StatusBadRequest,
		root + "/rejects?limit=x":                          http.StatusBadRequest,
		root + "/gateways/nobody":                          http.StatusNotFound,
		root + "/gateways/nobody/series?sensor=a":          http.StatusNotFound,
		root + escaped + "/series":                         http.StatusBadRequest,
		root + "/reports/preview?period=tomorrow":          http.StatusBadRequest,
		root + "/reports/preview?format=docx":              http.StatusBadRequest,
		root + "/reports/preview?gateway=nobody":           http.StatusNotFound,
		root + escaped + "/series?sensor=a&from=yesterday": http.StatusBadRequest,
		root + escaped + "/readings?from=now&to=now-1h":    http.StatusBadRequest,
		root + escaped + "/readings?format=xml":            http.StatusBadRequest,
		"/api/v1/providers/provider2/gateways":             http.StatusNotFound,
		root + escaped + "/series?sensor=a&value=median":   http.StatusBadRequest,
		root + "/series?sensor=a&value=":                   http.StatusBadRequest,
		root + escaped + "/series?sensor=":                 http.StatusBadRequest,
		"/nothing":                                         http.StatusNotFound,
	} {
		answer := b.ask(path)
		text := b.text(answer)
		if answer.StatusCode != want || answer.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s is %s (%s), want %d: %s", path, answer.Status, answer.Header.Get("Content-Type"), want, text)
		}
	}
}

// Only the house may ask: a request without the token's signature, or with that of another path, learns nothing.
func TestOnlySignedRequestsAreAnswered(t *testing.T) {
	b := newBench(t)
	for name, change := range map[string]func(*http.Request){
		"unsigned":          func(r *http.Request) { r.Header.Del(credentials.SignatureHeader) },
		"another's token":   func(r *http.Request) { credentials.Sign(r, "another", time.Now()) },
		"signed long ago":   func(r *http.Request) { credentials.Sign(r, token, time.Now().Add(-time.Hour)) },
		"another's request": func(r *http.Request) { r.URL.RawQuery = "limit=5" },
	} {
		answer := b.ask(root+"/gateways", change)
		if text := b.text(answer); answer.StatusCode != http.StatusUnauthorized || strings.Contains(text, "boiler") {
			t.Errorf("%s: %s %s", name, answer.Status, text)
		}
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		if answer := b.ask(path, func(r *http.Request) { r.Header.Del(credentials.SignatureHeader) }); b.text(answer) == "" || answer.StatusCode != http.StatusOK {
			t.Errorf("%s answers %s to who signs nothing", path, answer.Status)
		}
	}
}

func TestReadingsAsCSV(t *testing.T) {
	b := newBench(t)
	settings := record.DefaultSettings()
	settings.Timezone = "Asia/Shanghai"
	b.putRecord(record.Pipeline{Version: 1, Name: provider, Keyspace: provider, Settings: settings, ReportsToken: token})
	deadline := time.After(time.Minute)
	for b.reports.pipeline().Settings.Timezone != "Asia/Shanghai" {
		select {
		case <-deadline:
			t.Fatal("the setting is not live after ten seconds")
		case <-time.After(5 * time.Millisecond):
		}
	}
	answer := b.ask(root + escaped + "/readings?format=csv")
	rows, err := csv.NewReader(strings.NewReader(b.text(answer))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if answer.Header.Get("Berth-Complete") != "true" || answer.Trailer.Get("Berth-Unreadable-Blocks") != "0" {
		t.Errorf("completeness: %v %v", answer.Header, answer.Trailer)
	}
	if len(rows) != 3 || strings.Join(rows[0], ",") != "gateway,sensor,time,time_ms,time_ns,kind,value" {
		t.Fatalf("%q", rows)
	}
	if at := rows[2][2]; !strings.HasSuffix(at, "+08:00") || rows[2][6] != "21.5" || rows[1][6] != `say "hi", twice` {
		t.Errorf("%q", rows[1:])
	}
}

// A stream that began anew at a position nobody knows would lose what came between, silently.
func TestLiveRefusesWhatIsNoPosition(t *testing.T) {
	b := newBench(t)
	for _, id := range []string{"bogus", "1/99999999999999999999", "1"} {
		answer := b.ask(root+escaped+"/live", func(r *http.Request) { r.Header.Set("Last-Event-ID", id) })
		if text := b.text(answer); answer.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %s %s", id, answer.Status, text)
		}
	}
}

func TestLiveResumesAfterAPosition(t *testing.T) {
	b := newBench(t)
	answer := b.ask(root+escaped+"/live?sensor=boiler.temperature", func(r *http.Request) {
		r.Header.Set("Last-Event-ID", "1/0")
	})
	defer answer.Body.Close()
	lines := bufio.NewScanner(answer.Body)
	event := map[string]string{}
	for lines.Scan() && lines.Text() != "" {
		name, value, _ := strings.Cut(lines.Text(), ": ")
		event[name] = value
	}
	var live api.LiveEvent
	if err := json.Unmarshal([]byte(event["data"]), &live); err != nil {
		t.Fatal(event, err)
	}
	if event["id"] != "2/1" || len(live.Readings) != 1 || live.Readings[0].Value.Float() != 21.5 || !live.Complete.Complete {
		t.Errorf("%v", event)
	}
}
