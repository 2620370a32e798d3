package web

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"berth/internal/bus"
	"berth/internal/credentials"
	"berth/internal/houseapi"
	"berth/internal/httpserver"
	"berth/schema"
	"berth/schema/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// house is a front door on real records, with two providers whose reports are simulated.
type house struct {
	t       *testing.T
	web     *Web
	conn    *bus.Conn
	secret  []byte
	reports map[string]*fakeReports                 // by provider
	senders atomic.Pointer[houseapi.SendersRequest] // the last question who may send
	survey  atomic.Pointer[houseapi.Survey]         // how the installation is; nil: the provisioner is away
	asked   atomic.Int64                            // how often that was asked
	managed atomic.Pointer[houseapi.ManageRequest]  // the last act that was asked for, or done
	logged  atomic.Pointer[houseapi.LogsRequest]    // the last log that was asked for
	written chan string                             // what instances write on, while they are followed; nil: nothing, and they end
	moved   atomic.Int64                            // counts what makes plans others
	ahead   atomic.Int64                            // nanoseconds that the front door's clock is ahead
}

// now is the front door's clock.
func (h *house) now() time.Time { return time.Now().Add(time.Duration(h.ahead.Load())) }

// newHouse starts a front door with the providers north and south, which proxies on this machine may stand before.
func newHouse(t *testing.T, change ...func(o *Options)) *house {
	t.Helper()
	dir := t.TempDir()
	authority, err := bus.OpenAuthority(dir + "/authority")
	check(t, err)
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	server, err := bus.StartServer(bus.ServerOptions{Dir: dir + "/nats", Authority: authority, Logger: log})
	check(t, err)
	t.Cleanup(server.Stop)
	conn, err := bus.Connect(t.Context(), bus.Options{URL: server.URL(), Credentials: authority.House(), Name: "test", Logger: log})
	check(t, err)
	t.Cleanup(conn.Close)
	check(t, conn.PrepareHouse(t.Context()))

	h := &house{t: t, conn: conn, secret: []byte(strings.Repeat("s", 32)), reports: map[string]*fakeReports{}}
	for i, name := range []string{"north", "south"} {
		h.addProvider(name, schema.Slot(i+1), time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
		h.reports[name] = newFakeReports(t, name, "rt_"+name)
		h.announce(name, "one", h.reports[name].address())
	}
	h.answerSenders()
	h.survey.Store(&houseapi.Survey{At: time.Now(), Passed: 20, Checks: []houseapi.SurveyCheck{}, Disks: []houseapi.SurveyDisk{}, Providers: []houseapi.SurveyProvider{}})
	h.answerSurvey()
	h.answerManage()
	h.answerLogs()
	o := Options{
		Listen: "127.0.0.1:0", Bus: server.URL(), Credentials: authority.Web(), HouseSecret: h.secret, PublicHost: "0.0.0.0",
		PortBase: 6000, Instance: "test", Logger: log, Front: httpserver.Front{Proxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}},
	}
	for _, c := range change {
		c(&o)
	}
	h.web, err = New(o)
	if schema.Is(err, schema.Unavailable) {
		t.Skip(err) // the assets were not built
	}
	check(t, err)
	h.web.now = h.now
	h.web.recheck = 50 * time.Millisecond
	check(t, h.web.Start(t.Context()))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		check(t, h.web.Stop(ctx))
	})
	h.soon("the services are known", func() bool {
		return len(h.web.dir.reports("north")) == 1 && len(h.web.dir.reports("south")) == 1
	})
	return h
}

// putRun puts what a scheduled report of north, by the ID 7, has made, with the report itself.
func (h *house) putRun() {
	h.t.Helper()
	p, err := h.web.dir.provider("north")
	check(h.t, err)
	h.put("schedules", "north.7", record.Schedule{Version: 1, ID: "7", Provider: "north", Of: p.Created, Name: "Daily", Every: record.Daily, Formats: []string{"pdf"}, Paused: true})
	h.put("runs", "north.7.1767225600.0", record.ScheduleRun{
		Version: 1, Provider: "north", Schedule: "7", From: time.Unix(1767225600, 0), To: time.Unix(1767312000, 0), State: record.RunDone,
		Files: []record.RunFile{{Name: "报告.pdf", Type: "application/pdf", Language: "zh", Size: 4, Pieces: 1}},
	})
	h.put("runfiles", "north.7.1767225600.0.0.0", "pd") // 4 bytes as JSON
}

// answerSenders answers as the provisioner does who may send to north.
func (h *house) answerSenders() {
	stop, err := h.conn.Answer(houseapi.SendersSubject, func(_ context.Context, request []byte, reply func([]byte) error) error {
		var q houseapi.SendersRequest
		if err := json.Unmarshal(request, &q); err != nil {
			return err
		}
		h.senders.Store(&q)
		day := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
		answer := houseapi.Senders{Timezone: "Europe/Berlin", Retention: "400d", AttributeTags: []string{"site", "model"}, Networks: []string{"10.1.0.0/16"}, ClientCA: []houseapi.Authority{{Name: "north's own", Until: day}}, Enrolment: houseapi.Enrolment{Clear: &day, LastSo: &day}, Gateways: []houseapi.Gateway{
			{Gateway: "boiler", State: houseapi.GatewayCertified, Created: day, Used: &day, Until: &day, Serial: "a1"},
			{Gateway: "crane", State: houseapi.GatewayKeyed, PSK: true, Created: day, Clear: &day, Previous: &houseapi.Previous{Until: day}},
			{Gateway: "gone", State: houseapi.GatewayRevoked, Created: day, HadKey: true},
			{Gateway: "new <one>", State: houseapi.GatewayWaiting, Created: day, Last: &day, Address: "10.0.0.7", Times: 3},
		}}
		switch {
		case q.Act == "add" && q.Gateway.Cert:
			answer.Changed = &houseapi.GatewayKey{Gateway: houseapi.Gateway{Gateway: q.Gateway.Gateway}, Secret: "SECRET\n", Cert: "CERT\n", CA: "CA\n", Changed: true}
		case q.Act == "add":
			answer.Changed = &houseapi.GatewayKey{Gateway: houseapi.Gateway{Gateway: q.Gateway.Gateway}, Key: "gk_shown_once", Changed: true}
		case q.Settings != nil && q.Settings.Timezone != nil && *q.Settings.Timezone == "Mars":
			return schema.Errorf(schema.Invalid, "%q is no time zone", "Mars")
		case q.Settings != nil && q.Settings.Retention != nil && *q.Settings.Retention == "1d":
			answer.Taken = &houseapi.Taken{Refused: true, Why: "ingest cannot use it"}
		case q.Act == "revoke" && q.Gateway.Gateway == "crane":
			answer.Taken = &houseapi.Taken{Why: "ingest of north does not answer"}
		case q.Settings != nil && q.Settings.Networks != nil && slices.Contains(*q.Settings.Networks, "mars"):
			return schema.Errorf(schema.Invalid, "%q is no network", "mars")
		case q.Act == "refuse":
			return schema.Errorf(schema.NotFound, "it does not wait")
		}
		data, err := json.Marshal(answer)
		if err != nil {
			return err
		}
		return reply(data)
	})
	check(h.t, err)
	h.t.Cleanup(stop)
}

// answerSurvey answers as the provisioner does how the installation is.
func (h *house) answerSurvey() {
	stop, err := h.conn.Answer(houseapi.SurveySubject, func(_ context.Context, _ []byte, reply func([]byte) error) error {
		h.asked.Add(1)
		s := h.survey.Load()
		if s == nil {
			return schema.Errorf(schema.Unavailable, "nobody is there to answer")
		}
		data, err := json.Marshal(s)
		if err != nil {
			return err
		}
		return reply(data)
	})
	check(h.t, err)
	h.t.Cleanup(stop)
}

// answerManage answers as the provisioner does what an act comes to. Its plan is another each time that something has moved.
func (h *house) answerManage() {
	stop, err := h.conn.Answer(houseapi.ManageSubject, func(_ context.Context, request []byte, reply func([]byte) error) error {
		var q houseapi.ManageRequest
		if err := json.Unmarshal(request, &q); err != nil {
			return err
		}
		h.managed.Store(&q)
		m := houseapi.Managed{
			Provider: q.Provider, Act: q.Act, Port: 6007, Keyspace: q.Provider, State: "ready", Plan: "plan" + strconv.FormatInt(h.moved.Load(), 10),
			Applied: q.Apply, Changed: q.Provider != "south", Steps: []houseapi.Step{
				{Provider: q.Provider, Kind: "start", Role: "ingest", Why: "it does <not> run", Text: q.Provider + ": start ingest (it does <not> run)"},
				{Provider: q.Provider, Kind: "juggle", Why: "a later release does"},
				{Provider: q.Provider, Kind: "wait", Why: "to announce it", Code: "held", Args: map[string]string{"role": "ingest", "port": "6007", "holder": "<nc>"}},
				{Provider: q.Provider, Kind: "wait", Why: "to be <later>", Code: "of_a_later_release"},
			},
		}
		switch {
		case q.Apply && q.Plan != "" && q.Plan != m.Plan:
			return schema.Errorf(schema.Conflict, "it has moved")
		case q.Act == houseapi.ActAdd && schema.CheckProvider(q.Provider) != nil:
			return schema.CheckProvider(q.Provider)
		}
		data, err := json.Marshal(m)
		if err != nil {
			return err
		}
		return reply(data)
	})
	check(h.t, err)
	h.t.Cleanup(stop)
}

// answerLogs answers as the provisioner does what an instance wrote, and then what it writes.
func (h *house) answerLogs() {
	stop, err := h.conn.Answer(houseapi.LogsSubject, func(ctx context.Context, request []byte, reply func([]byte) error) error {
		var q houseapi.LogsRequest
		if err := json.Unmarshal(request, &q); err != nil {
			return err
		}
		if q.Lines > houseapi.LogLines {
			return schema.Errorf(schema.Invalid, "too many")
		}
		h.logged.Store(&q)
		if q.Provider == "south" {
			return schema.Errorf(schema.NotFound, "no instance has written this log yet")
		}
		if err := reply([]byte(logOfNorth)); err != nil || !q.Follow || h.written == nil {
			return err
		}
		for {
			select {
			case text := <-h.written:
				if err := reply([]byte(text)); err != nil {
					return err
				}
			case <-ctx.Done():
				return nil
			}
		}
	})
	check(h.t, err)
	h.t.Cleanup(stop)
}

// logOfNorth is what the instances of north wrote, with a line that is not ended yet.
const logOfNorth = `{"time":"2026-11-21T10:00:00.123Z","level":"INFO","msg":"ingest <serves>","port":6001}
{"time":"2026-11-21T10:00:01Z","level":"ERROR","msg":"it ended","error":"no room"}
panic: no <JSON>
panic: no <JSON>
{"time":"2026-11-`

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// soon fails the test unless the condition becomes true within ten seconds.
func (h *house) soon(what string, condition func() bool) {
	h.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(time.Minute); !condition(); {
		select {
		case <-tick.C:
		case <-limit:
			h.t.Fatal("not within ten seconds: " + what)
		}
	}
}

func (h *house) put(bucket, key string, v any) {
	h.t.Helper()
	b, err := h.conn.Bucket(h.t.Context(), bus.BucketOptions{Name: bucket})
	check(h.t, err)
	data, err := json.Marshal(v)
	check(h.t, err)
	_, err = b.Put(h.t.Context(), key, data)
	check(h.t, err)
}

// count returns how many records a bucket has.
func (h *house) count(bucket string) int {
	h.t.Helper()
	b, err := h.conn.Bucket(h.t.Context(), bus.BucketOptions{Name: bucket})
	check(h.t, err)
	all, err := b.List(h.t.Context())
	check(h.t, err)
	return len(all)
}

func (h *house) remove(bucket, key string) {
	h.t.Helper()
	b, err := h.conn.Bucket(h.t.Context(), bus.BucketOptions{Name: bucket})
	check(h.t, err)
	check(h.t, b.Delete(h.t.Context(), key))
}

func (h *house) addProvider(name string, slot schema.Slot, created time.Time) {
	h.t.Helper()
	sealed, err := credentials.Seal(h.secret, []byte("bk_of_"+name))
	check(h.t, err)
	settings := record.DefaultSettings()
	settings.Timezone = "Europe/Berlin"
	h.put("providers", name, record.Provider{
		Version: 1, Name: name, Slot: slot, Created: created, Wanted: record.Active, Settings: settings, EnrolmentSealed: sealed, ReportsToken: "rt_" + name,
	})
}

func (h *house) announce(provider, instance, address string) {
	h.t.Helper()
	s := record.Service{Version: 1, Provider: provider, Role: record.RoleReports, Instance: instance, Address: address, State: "ready", Started: time.Now()}
	h.put("services", provider+"."+s.Key(), s)
}

// link makes a sign-in link and returns its secret.
func (h *house) link(role record.Role, provider string) string {
	h.t.Helper()
	secret := credentials.NewKey("ln_")
	h.put("links", credentials.Hash(secret), record.Link{
		Version: 1, Role: role, Provider: provider, Created: h.now(), Expires: h.now().Add(time.Hour),
	})
	return secret
}

// token makes an API token and returns it.
func (h *house) token(provider string, scope record.Scope) string {
	h.t.Helper()
	token := credentials.NewKey("bt_")
	h.put("tokens", credentials.Hash(token), record.Token{Version: 1, Provider: provider, Name: "test", Scope: scope, Created: time.Now()})
	return token
}

// browser is a client that keeps cookies and follows no redirect.
type browser struct {
	h      *house
	client *http.Client
	bearer string
	accept string
}

func (h *house) browser() *browser {
	jar, err := cookiejar.New(nil)
	check(h.t, err)
	transport := &http.Transport{}
	h.t.Cleanup(transport.CloseIdleConnections)
	return &browser{h: h, accept: "text/html", client: &http.Client{Jar: jar, Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}}
}

// signedIn returns a browser with a session.
func (h *house) signedIn(role record.Role, provider string) *browser {
	h.t.Helper()
	b := h.browser()
	a := b.post("/sign-in", url.Values{"link": {h.link(role, provider)}}, nil)
	if a.status != http.StatusSeeOther {
		h.t.Fatalf("sign-in: status %d: %s", a.status, a.body)
	}
	return b
}

type answer struct {
	status int
	header http.Header
	body   string
}

func (b *browser) do(method, path, body string, header map[string]string) answer {
	b.h.t.Helper()
	r, err := http.NewRequestWithContext(b.h.t.Context(), method, "http://"+b.h.web.Addr()+path, strings.NewReader(body))
	check(b.h.t, err)
	r.Header.Set("Accept", b.accept)
	if body != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if b.bearer != "" {
		r.Header.Set("Authorization", "Bearer "+b.bearer)
	}
	for k, v := range header {
		r.Header.Set(k, v)
	}
	resp, err := b.client.Do(r)
	check(b.h.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	check(b.h.t, err)
	return answer{resp.StatusCode, resp.Header, string(text)}
}

func (b *browser) get(path string) answer {
	b.h.t.Helper()
	return b.do(http.MethodGet, path, "", nil)
}

func (b *browser) post(path string, form url.Values, header map[string]string) answer {
	b.h.t.Helper()
	return b.do(http.MethodPost, path, form.Encode(), header)
}

// fakeReports answers as a provider's reports would, to signed requests alone.
type fakeReports struct {
	server *httptest.Server
	mu     sync.Mutex // guards what follows
	bodies map[string]string
	seen   []*http.Request
	serve  http.HandlerFunc // instead of bodies, if set
}

func newFakeReports(t *testing.T, provider, token string) *fakeReports {
	f := &fakeReports{bodies: map[string]string{}}
	prefix := "/api/v1/providers/" + provider
	f.answer("/gateways", `{"gateways":[{"name":"crane <1>","state":"online","first_seen":"2026-11-21T10:00:00Z","last_seen":"2026-11-21T10:00:00Z","interval_seconds":10,"readings_last_hour":12345,"rejects":7,"sensors":2,"attributes":{"site":"quay & co"}}],"next":"crane <1>","complete":true}`)
	f.answer("/gateways/crane", `{"name":"crane","state":"late","first_seen":null,"last_seen":"2026-11-21T10:00:00Z","interval_seconds":0.25,"sensors":2,"attributes":{}}`)
	f.answer("/gateways/crane/latest", `{"gateway":"crane","readings":[{"sensor":"load","time":"2026-11-21T10:00:00Z","time_ms":1795255200000,"time_ns":"1795255200000000000","kind":"float","value":12.5},{"sensor":"note","time":"2026-11-21T10:00:00Z","time_ms":1795255200000,"time_ns":"1795255200000000000","kind":"text","value":"<b>fine</b>"}],"complete":false,"complete_up_to":"2026-11-21T09:59:00Z","incomplete_reason":"ingest does not answer"}`)
	for _, path := range []string{"/gateways/crane/sensors", "/gateways/crane/series", "/gateways/crane/readings", "/gateways/crane/live", "/export", "/exports"} {
		f.answer(path, `{"of":"`+provider+`"}`)
	}
	f.answer("/groups", `{"groups":[{"group":"quay & co","gateways":2}],"tags":[{"tag":"site=3","gateways":1}]}`)
	f.answer("/groupings", `{"gateways":[{"gateway":"=crane","groups":["a","b"],"tags":{"leased":"","site":"3"}}]}`)
	f.answer("/gateways/crane/annotations", `{"gateway":"crane","annotations":[{"id":"n1","from":"2026-11-21T10:00:00Z","to":"2026-11-21T11:00:00Z","text":"<b>new</b> rope","who":"jane"}]}`)
	f.answer("/gateways/crane/annotations/7", `{"done":true}`)
	f.answer("/books", `{"frames":{"received":12345},"reasons":{"syntax":2,"new_reason":3},"strangers":0,"at":"2026-11-21T10:00:00Z","state":"ready"}`)
	f.answer("/latest", `{"gateways":[],"complete":true}`)
	f.answer("/series", `{"gateways":[],"complete":true}`)
	f.answer("/sensors", `{"sensors":[{"sensor":"load","label":"=Last","unit":"t","decimals":1,"interval_seconds":0.5,"counter":true}]}`)
	f.answer("/reports/preview", `{"gateways":[],"complete":true}`)
	f.answer("/rejects", `{"rejects":[],"kept":0}`)
	f.answer("/aside", `{"aside":[],"kept":0}`)
	for _, path := range []string{"/rejects/7", "/rejects/7/raw", "/rejects/7/feed", "/aside/7", "/aside/7/raw", "/aside/7/feed"} {
		f.answer(path, `{"id":7,"accepted":3}`)
	}
	f.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.seen = append(f.seen, r)
		body, ok := f.bodies[strings.TrimPrefix(r.URL.Path, prefix)]
		serve := f.serve
		f.mu.Unlock()
		switch err := credentials.Verify(r, token, time.Now()); {
		case err != nil:
			http.Error(w, err.Error(), http.StatusUnauthorized)
		case serve != nil:
			serve(w, r)
		case !ok || !strings.HasPrefix(r.URL.Path, prefix+"/"):
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `{"type":"about:blank","title":"Not Found","status":404,"code":"not_found","detail":"there is no such gateway"}`)
		default:
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, body)
		}
	}))
	t.Cleanup(f.server.Close)
	return f
}

func (f *fakeReports) address() string { return strings.TrimPrefix(f.server.URL, "http://") }

func (f *fakeReports) answer(path, body string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.bodies[path] = body
}

func (f *fakeReports) with(serve http.HandlerFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.serve = serve
}

// asked returns the requests that came since the last call.
func (f *fakeReports) asked() []*http.Request {
	f.mu.Lock()
	defer f.mu.Unlock()
	seen := f.seen
	f.seen = nil
	return seen
}
