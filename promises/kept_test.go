package promises

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"berth/internal/api"
	"berth/promises/install"
	"berth/schema"
)

var (
	feeds  = flag.Int("feeds", 3, "how often ingest is killed while rejects are fed")
	audits = flag.Int("audits", 1, "how many rounds of kills the audit goes through")
)

// kept is a provider whose senders are refused.
type kept struct {
	t       *testing.T
	install *install.Install
	tenant  *tenant
	key     string // of the gateway "own"
	base    string // of its API
	seen    uint64 // the reject that was the newest
}

func newKept(t *testing.T) *kept {
	t.Helper()
	in, _ := newInstall(t)
	k := &kept{t: t, install: in, tenant: newTenant(t, in, "provider1")}
	k.key = gatewayKey(t, in, "provider1")
	k.base = "http://" + in.Web + "/api/v1/providers/provider1"
	return k
}

// TestAnsweredMeansKept refuses frames for every kind of reason over frames and HTTP: each is answered, and kept with
// its reason and its bytes as they came. Once the setting is mended it is fed again, by API, page and command line, and
// its readings are there, with the time of their first arrival. While hundreds are fed, ingest is killed: nothing is
// lost and nothing is there twice.
func TestAnsweredMeansKept(t *testing.T) {
	t.Parallel()
	k := newKept(t)
	old := time.Now().Add(-500 * 24 * time.Hour).Truncate(time.Second)
	ahead := time.Now().Add(40 * time.Hour).Truncate(time.Second)
	now := time.Now().Add(-time.Minute).Truncate(time.Millisecond)
	var sensors []string
	for i := range 1001 {
		sensors = append(sensors, fmt.Sprintf("s%d=%d", i, i))
	}
	large := strings.Repeat("boiler temperature=warm\n", 35_000) // 840 KB
	cases := []struct {
		name, answer, reason, raw string // raw is what is kept
		send                      func() string
	}{
		{"a line that cannot be read", "NAK 1 invalid", "is no value", "boiler temperature=warm", nil},
		{"a time before the retention", "NAK 1 invalid", "the oldest that is kept", fmt.Sprintf("boiler old=1 %d", old.UnixNano()), nil},
		{"a time too far ahead", "NAK 1 invalid", "the latest that is taken", fmt.Sprintf("boiler ahead=3 %d", ahead.UnixNano()), nil},
		{"another gateway's name", "NAK 1 forbidden", "may only name itself", "boiler,gateway=other v=7", nil},
		{"a large frame", "NAK 1 invalid", "is no value", large, nil},
		{"a body of which a line is bad", "400", "field \"b\" has no value", "m b\n", func() string {
			return k.post("precision=ms", fmt.Sprintf("m a=1 %d\nm b\nm c=2 %[1]d\n", now.UnixMilli()))
		}},
		{"a body with a time that will be good", "400", "the oldest that is kept", fmt.Sprintf("m old=2 %d\n", old.UnixMilli()), func() string {
			return k.post("precision=ms", fmt.Sprintf("m a=1 %d\nm old=2 %d\n", now.UnixMilli(), old.UnixMilli()))
		}},
		{"too many sensors", "400", "sensors", "many " + strings.Join(sensors, ","), func() string {
			return k.post("", "many "+strings.Join(sensors, ","))
		}},
	}
	ids := map[string]uint64{}
	for _, c := range cases {
		answer := ""
		if c.send != nil {
			answer = c.send()
		} else {
			answer = k.put(c.raw)
		}
		if !strings.HasPrefix(answer, c.answer) {
			t.Fatalf("%s is answered %q, want %s", c.name, answer, c.answer)
		}
		r := k.newest(c.name)
		raw, kind := k.raw(r.ID)
		if !strings.Contains(r.Reason, c.reason) || r.Gateway != "own" || !r.Whole() || string(raw) != c.raw || !strings.HasPrefix(kind, "text/plain") {
			t.Errorf("%s is kept as %d bytes of %s, %+v", c.name, len(raw), kind, r.Reject)
		}
		ids[c.name] = r.ID
	}
	k.feedEach(ids, old, ahead)
	k.feedUnderKills()
}

// feedEach mends the settings and feeds what was refused for them.
func (k *kept) feedEach(ids map[string]uint64, old, ahead time.Time) {
	k.t.Helper()
	before := ids["a time before the retention"]
	if fed, err := k.feed(before); err != nil || fed.Removed || fed.Rejected != 1 || !strings.Contains(fed.Reason, "the oldest that is kept") {
		k.t.Errorf("fed before anything was mended: %+v, %v", fed, err)
	}
	arrived := k.one(ids["another gateway's name"]).Time
	if _, err := k.install.CLI(k.t.Context(), "set", "provider1", "--retention", "600d", "--future", "48h", "--gateway-tag", "device",
		"--sensors-per-gateway", "2000"); err != nil {
		k.t.Fatal(err)
	}
	sent := k.one(ids["too many sensors"]).Time
	if fed, err := k.feed(before); err != nil || !fed.Removed || fed.Accepted != 1 {
		k.t.Errorf("fed by the API: %+v, %v", fed, err)
	}
	for name, accepted := range map[string]uint64{"a time too far ahead": 1, "too many sensors": 1001} {
		if fed, err := k.feed(ids[name]); err != nil || !fed.Removed || fed.Accepted != accepted {
			k.t.Errorf("%s, fed by the API: %+v, %v", name, fed, err)
		}
	}
	k.feedByPage(ids["another gateway's name"])
	out, err := k.install.CLI(k.t.Context(), "rejects", "feed", "provider1", fmt.Sprint(ids["a body with a time that will be good"]))
	if err != nil || !strings.Contains(string(out), "1       0") {
		k.t.Errorf("fed by the command line: %s, %v", out, err)
	}
	for sensor, want := range map[string]struct {
		value float64
		at    time.Time
	}{"boiler.old": {1, old}, "boiler.ahead": {3, ahead}, "many.s1000": {1000, sent}, "m.old": {2, old}, "boiler.v,gateway=other": {7, arrived}} {
		got := k.readings("own", sensor)
		if len(got) != 1 || got[0].Value.Float() != want.value || got[0].Nanos != strconv.FormatInt(want.at.UnixNano(), 10) {
			k.t.Errorf("%s is %+v, want %v at %v", sensor, got, want.value, want.at)
		}
	}
	if _, err := k.feed(before); !schema.Is(err, schema.NotFound) {
		k.t.Errorf("what was fed is still kept: %v", err)
	}
}

// feedByPage presses the page's button.
func (k *kept) feedByPage(id uint64) {
	k.t.Helper()
	address := "http://" + k.install.Web + "/providers/provider1/rejects"
	page := k.body(k.tenant.admin, http.MethodGet, address, "", nil)
	form := regexp.MustCompile(`name="form" value="([a-z2-7]+)"`).FindStringSubmatch(page)
	if form == nil || !strings.Contains(page, fmt.Sprintf("/api/v1/providers/provider1/rejects/%d/raw", id)) {
		k.t.Fatal("the page lacks the reject's download or its form")
	}
	if got := status(k.t, k.tenant.admin, http.MethodPost, address, "", url.Values{"shelf": {"rejects"}, "act": {"feed"}, "id": {fmt.Sprint(id)}}); got != http.StatusForbidden {
		k.t.Errorf("feeding without the session's form is %d", got)
	}
	got := k.body(k.tenant.admin, http.MethodPost, address, "", url.Values{
		"form": {form[1]}, "shelf": {"rejects"}, "act": {"feed"}, "id": {fmt.Sprint(id)},
	})
	if !strings.Contains(got, fmt.Sprintf("%d was fed again: 1 readings were stored.", id)) {
		k.t.Error("the page does not say that it was fed")
	}
}

// feedUnderKills has hundreds of frames without times refused, mends the setting, and kills ingest while they are fed.
func (k *kept) feedUnderKills() {
	k.t.Helper()
	frames, kills := 120+25*(*feeds), *feeds
	if testing.Short() {
		frames, kills = 120, 2
	}
	if _, err := k.install.CLI(k.t.Context(), "set", "provider1", "--gateway-tag", ""); err != nil {
		k.t.Fatal(err)
	}
	var lines bytes.Buffer
	_, _ = fmt.Fprintf(&lines, "HELLO own %s\n", k.key)
	for i := range frames {
		line := fmt.Sprintf("fed,gateway=other n=%d", i)
		_, _ = fmt.Fprintf(&lines, "PUT %d line %d\n%s\n", i+1, len(line), line)
	}
	if answers := strings.Count(k.say(lines.Bytes()), "NAK "); answers != frames {
		k.t.Fatalf("%d of %d frames were refused", answers, frames)
	}
	want := map[string]float64{} // by time
	k.until("all are kept", func() error {
		var list api.Rejects
		if err := k.ask(http.MethodGet, "/rejects?limit=1000", &list); err != nil {
			return err
		}
		clear(want)
		for _, r := range list.Rejects {
			if n, ok := strings.CutPrefix(string(r.Raw), "fed,gateway=other n="); ok {
				want[strconv.FormatInt(r.Time.UnixNano(), 10)], _ = strconv.ParseFloat(n, 64)
			}
		}
		if len(want) != frames {
			return fmt.Errorf("%d of %d", len(want), frames)
		}
		return nil
	})
	if _, err := k.install.CLI(k.t.Context(), "set", "provider1", "--gateway-tag", "device"); err != nil {
		k.t.Fatal(err)
	}
	k.feedAll(frames, kills)
	got := k.readings("own", "fed.n,gateway=other")
	for _, r := range got {
		if n, ok := want[r.Nanos]; !ok || n != r.Value.Float() {
			k.t.Fatalf("%v at %s was never sent, or is there twice", r.Value, r.Nanos)
		}
		delete(want, r.Nanos)
	}
	if len(want) > 0 {
		k.t.Errorf("%d readings that were fed are lost", len(want))
	}
	var books api.Books
	k.must(k.ask(http.MethodGet, "/books", &books))
	if f := books.Frames; f.Received != f.Committed+f.Rejected+f.GivenUp+f.InHand {
		k.t.Errorf("the books do not balance: %+v", f)
	}
}

// feedAll feeds until nothing is left that can be, while ingest is killed: each time that so many have been fed, beside
// the feeding of the next.
func (k *kept) feedAll(frames, kills int) {
	k.t.Helper()
	now, ended := make(chan struct{}, kills), make(chan struct{})
	go func() {
		defer close(ended)
		for range now {
			if err := k.install.KillInstance(k.t.Context(), "provider1", "ingest"); err != nil {
				k.t.Errorf("ingest does not run and cannot be killed: %v", err)
			}
		}
	}()
	tried, failed, fed := 0, 0, 0
	k.until("all are fed", func() error {
		var list api.Rejects
		if err := k.ask(http.MethodGet, "/rejects?limit=1000", &list); err != nil {
			return err
		}
		left := 0
		for _, r := range list.Rejects {
			if !strings.HasPrefix(string(r.Raw), "fed,") {
				continue
			}
			left++
			tried++
			if _, err := k.feed(r.ID); err != nil {
				failed++
				continue
			}
			if fed++; fed%(frames/(kills+1)) == 0 && kills > 0 {
				now <- struct{}{}
				kills--
			}
		}
		if left > 0 {
			return fmt.Errorf("%d are left", left)
		}
		return nil
	})
	close(now)
	<-ended
	k.until("ingest is back", func() error { return k.ask(http.MethodGet, "/books", &api.Books{}) })
	k.t.Logf("fed %d times, %d of them in vain", tried, failed)
}

func (k *kept) must(err error) {
	k.t.Helper()
	if err != nil {
		k.t.Fatal(err)
	}
}

// until asks again and again until fn succeeds.
func (k *kept) until(what string, fn func() error) {
	k.t.Helper()
	if err := eventually(fn); err != nil {
		k.t.Fatalf("after %v still not: %s: %v", recovery, what, err)
	}
}

// eventually calls fn until it succeeds, and returns its last error when that takes too long.
func eventually(fn func() error) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for limit := time.Now().Add(recovery); ; <-tick.C {
		if err := fn(); err == nil || time.Now().After(limit) {
			return err
		}
	}
}

// put sends one frame of the gateway "own" and returns the answer to it.
func (k *kept) put(payload string) string {
	k.t.Helper()
	answers := k.say(fmt.Appendf(nil, "HELLO own %s\nPUT 1 line %d\n%s", k.key, len(payload), payload))
	return strings.TrimPrefix(answers, "OK\n")
}

// say sends bytes to the provider's port, and returns what is answered until both sides have closed.
func (k *kept) say(data []byte) string {
	k.t.Helper()
	conn, err := net.DialTimeout("tcp", k.tenant.Address(), recovery)
	k.must(err)
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(recovery))
	go func() {
		_, _ = conn.Write(data)
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.CloseWrite()
		}
	}()
	answer, err := io.ReadAll(bufio.NewReader(conn))
	k.must(err)
	return string(answer)
}

// post sends a body of the gateway "own" to the provider's port, and returns the status and the answer.
func (k *kept) post(query, body string) string {
	k.t.Helper()
	request, err := http.NewRequestWithContext(k.t.Context(), http.MethodPost, "http://"+k.tenant.Address()+"/api/v2/write?"+query, strings.NewReader(body))
	k.must(err)
	request.Header.Set("Authorization", "Bearer "+k.key)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: recovery}
	answer, err := client.Do(request)
	k.must(err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	k.must(err)
	return fmt.Sprint(answer.StatusCode, " ", string(text))
}

// ask asks the API and decodes the answer into v. A problem is an error of its code.
func (k *kept) ask(method, path string, v any) error {
	request, err := http.NewRequestWithContext(k.t.Context(), method, k.base+path, nil)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+k.tenant.token)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		var p struct {
			Code   schema.Code `json:"code"`
			Detail string      `json:"detail"`
		}
		_ = json.NewDecoder(answer.Body).Decode(&p)
		return schema.Errorf(p.Code, "%s %s: %s %s", method, path, answer.Status, p.Detail)
	}
	return json.NewDecoder(answer.Body).Decode(v)
}

// newest returns the newest reject, once there is one that was not there when it was last asked for.
func (k *kept) newest(name string) api.Reject {
	k.t.Helper()
	var list api.Rejects
	k.until(name+" is kept", func() error {
		if err := k.ask(http.MethodGet, "/rejects?limit=1", &list); err != nil {
			return err
		}
		if len(list.Rejects) == 0 || list.Rejects[0].ID <= k.seen {
			return fmt.Errorf("%d are kept", list.Kept)
		}
		return nil
	})
	k.seen = list.Rejects[0].ID
	return list.Rejects[0]
}

func (k *kept) one(id uint64) api.Reject {
	k.t.Helper()
	var r api.Reject
	k.must(k.ask(http.MethodGet, fmt.Sprintf("/rejects/%d", id), &r))
	return r
}

func (k *kept) feed(id uint64) (fed api.Fed, err error) {
	return fed, k.ask(http.MethodPost, fmt.Sprintf("/rejects/%d/feed", id), &fed)
}

// raw downloads a reject's bytes.
func (k *kept) raw(id uint64) (data []byte, kind string) {
	k.t.Helper()
	request, err := http.NewRequestWithContext(k.t.Context(), http.MethodGet, fmt.Sprintf("%s/rejects/%d/raw", k.base, id), nil)
	k.must(err)
	request.Header.Set("Authorization", "Bearer "+k.tenant.token)
	answer, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	k.must(err)
	defer answer.Body.Close()
	data, err = io.ReadAll(answer.Body)
	k.must(err)
	if !strings.HasPrefix(answer.Header.Get("Content-Disposition"), "attachment") {
		k.t.Errorf("the bytes are shown and not saved: %v", answer.Header)
	}
	return data, answer.Header.Get("Content-Type")
}

// readings returns all readings of a sensor.
func (k *kept) readings(gateway, sensor string) []api.Reading {
	k.t.Helper()
	var answer struct {
		Readings []api.Reading `json:"readings"`
		api.Complete
	}
	k.until("a complete answer comes", func() error {
		answer.Readings = nil
		path := "/gateways/" + gateway + "/readings?from=now-90w&to=" + strconv.FormatInt(time.Now().Add(48*time.Hour).UnixMilli(), 10) + "&sensor=" + url.QueryEscape(sensor)
		if err := k.ask(http.MethodGet, path, &answer); err != nil {
			return err
		}
		if !answer.Complete.Complete {
			return schema.Errorf(schema.Unavailable, "not complete: %s", answer.Reason)
		}
		return nil
	})
	return answer.Readings
}

// body asks for a page and returns it.
func (k *kept) body(client *http.Client, method, address, token string, form url.Values) string {
	k.t.Helper()
	_, text := ask(k.t, client, method, address, token, form)
	return text
}
