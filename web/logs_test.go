package web

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"berth/internal/houseapi"
	"berth/schema/record"
)

// events follows a path and returns each event's name, ID and data, as they come. The channel is closed at the end.
func (b *browser) events(ctx context.Context, path, last string) <-chan [3]string {
	b.h.t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+b.h.web.Addr()+path, nil)
	check(b.h.t, err)
	if last != "" {
		r.Header.Set("Last-Event-ID", last)
	}
	resp, err := b.client.Do(r) //nolint:bodyclose // it is closed when the stream has ended
	check(b.h.t, err)
	if kind := resp.Header.Get("Content-Type"); !strings.HasPrefix(kind, "text/event-stream") || resp.Header.Get("X-Accel-Buffering") != "no" {
		b.h.t.Fatalf("status %d, %v", resp.StatusCode, resp.Header)
	}
	out := make(chan [3]string)
	go func() {
		defer close(out)
		defer resp.Body.Close()
		var e [3]string
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			name, value, _ := strings.Cut(lines.Text(), ": ")
			switch name {
			case "event":
				e[0] = value
			case "id":
				e[1] = value
			case "data", "data:":
				e[2] = value
			case "":
				if e != ([3]string{}) {
					select {
					case out <- e:
					case <-ctx.Done():
						return
					}
				}
				e = [3]string{}
			}
		}
	}()
	return out
}

// next returns the next event, within a minute.
func next(t *testing.T, from <-chan [3]string) [3]string {
	t.Helper()
	select {
	case e, ok := <-from:
		if !ok {
			t.Fatal("the stream has ended")
		}
		return e
	case <-time.After(time.Minute):
		t.Fatal("no event")
		return [3]string{}
	}
}

func TestTheLastLinesOfALogAreOnThePage(t *testing.T) {
	h := newHouse(t)
	b := h.signedIn(record.Operator, "")
	const page = "/providers/north/operate/logs"
	b.get(page).lacks(t, 200, "10:00:00.123 INFO  ingest &lt;serves&gt;  port=6001", `<span class="error">2026-11-21 10:00:01.000 ERROR it ended`, "panic: no &lt;JSON&gt;",
		`data-stream="/api/v1/providers/north/logs?format=text&amp;role=ingest"`, `href="/providers/north/operate/logs?role=reports"`)
	if d := cmp.Diff(&houseapi.LogsRequest{Provider: "north", Role: "ingest", Lines: logsShown}, h.logged.Load()); d != "" {
		t.Error(d)
	}
	b.get(page+"?role=reports&lines=20").lacks(t, 200, "role=reports")
	if q := h.logged.Load(); q.Role != "reports" || q.Lines != 20 {
		t.Errorf("%+v", q)
	}
	b.get("/logs").lacks(t, 200, `data-stream="/api/v1/logs?format=text&amp;role=web"`)
	b.get("/providers/south/operate/logs").lacks(t, 200, "no instance has written")
	for _, wrong := range []string{"?role=web", "?role=..%2Fx", "?lines=0", "?lines=2001", "?lines=many"} {
		b.get(page+wrong).lacks(t, 400)
		b.get("/api/v1/providers/north/logs"+wrong).lacks(t, 400)
	}
	if a := b.get("/api/v1/providers/south/logs"); a.status != 404 {
		t.Errorf("a log that there is not: status %d", a.status)
	}
}

// TestALogIsFollowedAndGoneOnWith: lines come as they are written; whoever comes back with a line's ID goes on behind it and
// misses none, and is told when it is not known any more.
func TestALogIsFollowedAndGoneOnWith(t *testing.T) {
	h := newHouse(t)
	h.written = make(chan string)
	b := h.signedIn(record.Operator, "")
	const path = "/api/v1/providers/north/logs"
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	first := b.events(ctx, path+"?lines=3&format=text", "")
	var ids []string
	for _, want := range []string{"2026-11-21 10:00:01.000 ERROR it ended  error=\"no room\"", "panic: no <JSON>", "panic: no <JSON>"} {
		e := next(t, first)
		if ids = append(ids, e[1]); e[0] != "line" || e[2] != want {
			t.Errorf("%q came, not %q", e, want)
		}
	}
	if ids[1] == ids[2] {
		t.Error("two lines have one ID")
	}
	h.written <- "21T10:00:02Z\",\"level\":\"WARN\",\"msg\":\"slow\"}\n"
	if e := next(t, first); e[2] != "2026-11-21 10:00:02.000 WARN  slow" {
		t.Errorf("%q came", e)
	}
	cancel()

	again, end := context.WithCancel(t.Context())
	defer end()
	for name, last := range map[string]string{"by header": ids[1], "by address": ""} {
		at := path
		if last == "" {
			at += "?after=" + ids[1]
		}
		second := b.events(again, at, last)
		if e := next(t, second); e[0] != "line" || e[1] != ids[2] || e[2] != "panic: no <JSON>" {
			t.Errorf("%s: it went on with %q, not behind %s", name, e, ids[1])
		}
	}
	third := b.events(again, path+"?lines=1", "0123456789abcdef")
	if e := next(t, third); e[0] != "gap" {
		t.Errorf("what is not known any more: %q", e)
	}
	if e := next(t, third); e[1] != ids[2] {
		t.Errorf("after the gap: %q", e)
	}
}

// TestALogEndsWithTheSignIn: a log that is followed ends when whoever follows it may no longer, and so does the question.
func TestALogEndsWithTheSignIn(t *testing.T) {
	h := newHouse(t)
	h.written = make(chan string)
	b := h.signedIn(record.Operator, "")
	form := b.form()
	log := b.events(t.Context(), "/api/v1/logs", "")
	next(t, log)
	if a := b.do(http.MethodPost, "/sign-out", "form="+form, nil); a.status != http.StatusSeeOther {
		t.Fatalf("status %d", a.status)
	}
	limit := time.After(time.Minute)
	for open := true; open; {
		select {
		case _, open = <-log:
		case <-limit:
			t.Fatal("it goes on")
		}
	}
}

// TestLinesAreCut: into whole ones, however they come, and none is longer than a page bears.
func TestLinesAreCut(t *testing.T) {
	var whole, pieces lines
	text := logOfNorth + strings.Repeat("x", 2*logLineMost) + "\xff\nend\n"
	var want, got []string
	for _, l := range whole.take([]byte(text)) {
		want = append(want, fmt.Sprintf("%s %d", l.text[:min(len(l.text), 20)], len(l.text)))
	}
	for i := 0; i < len(text); i += 7 {
		for _, l := range pieces.take([]byte(text[i:min(i+7, len(text))])) {
			if len(l.text) > logLineMost {
				t.Errorf("a line of %d bytes", len(l.text))
			}
			got = append(got, fmt.Sprintf("%s %d", l.text[:min(len(l.text), 20)], len(l.text)))
		}
	}
	if len(want) != 6 || len(got) < 6 || cmp.Diff(want[:4], got[:4]) != "" || got[len(got)-1] != "end 3" || len(pieces.rest) > 0 {
		t.Errorf("whole: %q, in pieces: %q", want, got)
	}
}
