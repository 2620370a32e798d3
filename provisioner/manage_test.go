package provisioner_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/internal/bus"
	"berth/internal/houseapi"
	"berth/internal/testport"
	"berth/provisioner/control"
	"berth/schema"
)

// web returns a connection with web's own credentials.
func (d *daemon) web(t *testing.T, data string) *bus.Conn {
	t.Helper()
	authority, err := bus.OpenAuthority(filepath.Join(data, "authority"))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := bus.Connect(t.Context(), bus.Options{URL: d.Provisioner.Status().NATS, Credentials: authority.Web(), Name: "test", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}

// TestWebManagesByThePlanThatWasShown: with web's own credentials providers are added, restarted, stopped, started and removed,
// each as the plan was shown before; what has become another plan is not done, and what is only asked for changes nothing.
func TestWebManagesByThePlanThatWasShown(t *testing.T) {
	t.Parallel()
	data, base := t.TempDir(), testport.Base(t, 5)
	d := start(t, data, base)
	conn := d.web(t, data)
	ask := func(q houseapi.ManageRequest) (m houseapi.Managed, err error) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		request, err := json.Marshal(q)
		if err != nil {
			t.Fatal(err)
		}
		return m, conn.Ask(ctx, houseapi.ManageSubject, request, func(chunk []byte) error { return json.Unmarshal(chunk, &m) })
	}
	must := func(q houseapi.ManageRequest) houseapi.Managed {
		t.Helper()
		m, err := ask(q)
		if err != nil {
			t.Fatalf("%+v: %v", q, err)
		}
		return m
	}
	kinds := func(m houseapi.Managed) (all []string) {
		for _, s := range m.Steps {
			if s.Kind != "wait" {
				all = append(all, s.Kind+" "+s.Role)
			}
		}
		return all
	}
	shown := must(houseapi.ManageRequest{Provider: name, Act: houseapi.ActAdd})
	if !shown.Changed || shown.Applied || shown.Port != base+1 || !slices.Contains(kinds(shown), "create log ") || !slices.Contains(kinds(shown), "start ingest") {
		t.Errorf("to add it would be %+v", shown)
	}
	if _, err := d.Provider(t.Context(), name); !schema.Is(err, schema.NotFound) {
		t.Fatalf("what was only asked for is there: %v", err)
	}
	if again := must(houseapi.ManageRequest{Provider: name, Act: houseapi.ActAdd}); again.Plan != shown.Plan {
		t.Errorf("the plan of the same is %s, and then %s", shown.Plan, again.Plan)
	}
	if _, err := d.Add(t.Context(), "other"); err != nil { // takes the port that was shown
		t.Fatal(err)
	}
	if _, err := ask(houseapi.ManageRequest{Provider: name, Act: houseapi.ActAdd, Apply: true, Plan: shown.Plan}); !schema.Is(err, schema.Conflict) {
		t.Fatalf("a port that was given meanwhile: %v", err)
	}
	shown = must(houseapi.ManageRequest{Provider: name, Act: houseapi.ActAdd})
	if m := must(houseapi.ManageRequest{Provider: name, Act: houseapi.ActAdd, Apply: true, Plan: shown.Plan}); !m.Applied || !m.Changed || m.Port != base+2 {
		t.Errorf("it was added so: %+v", m)
	}
	d.ready(t)

	starts := func() (n int) {
		for _, s := range d.runtime.Specs() {
			if s.Provider == name {
				n++
			}
		}
		return n
	}
	before := starts()
	restart := must(houseapi.ManageRequest{Provider: name, Act: houseapi.ActRestart})
	if got := kinds(restart); !slices.Equal(got, []string{"stop ingest", "start ingest", "stop reports", "start reports"}) {
		t.Errorf("a restart would be %q", got)
	}
	must(houseapi.ManageRequest{Provider: name, Act: houseapi.ActRestart, Apply: true, Plan: restart.Plan})
	if _, err := ask(houseapi.ManageRequest{Provider: name, Act: houseapi.ActRestart, Apply: true, Plan: restart.Plan}); !schema.Is(err, schema.Conflict) {
		t.Errorf("the same form sent twice: %v", err)
	}
	until(t, "ingest and reports are started anew, once", func() bool { return starts() >= before+2 })
	d.ready(t)

	stop := must(houseapi.ManageRequest{Provider: name, Act: houseapi.ActStop, Apply: true})
	if !stop.Changed || must(houseapi.ManageRequest{Provider: name, Act: houseapi.ActStop}).Changed {
		t.Errorf("it was stopped so: %+v", stop)
	}
	if _, err := ask(houseapi.ManageRequest{Provider: name, Act: houseapi.ActRestart}); !schema.Is(err, schema.Conflict) {
		t.Errorf("a restart of what is stopped: %v", err)
	}
	must(houseapi.ManageRequest{Provider: name, Act: houseapi.ActStart, Apply: true})
	d.ready(t)
	for q, want := range map[houseapi.LogsRequest]schema.Code{
		{Provider: name, Role: "ingest", Lines: 5}:                     "",
		{Role: "web", Lines: 5}:                                        "",
		{Provider: name, Role: "web", Lines: 5}:                        schema.Invalid,
		{Provider: name, Role: "ingest"}:                               schema.Invalid,
		{Provider: name, Role: "ingest", Lines: houseapi.LogLines + 1}: schema.Invalid,
		{Provider: "nobody", Role: "ingest", Lines: 5}:                 schema.NotFound,
		{Provider: "other", Role: "../provider1-ingest", Lines: 5}:     schema.Invalid,
		{Role: "provider1-ingest", Lines: 5}:                           schema.Invalid,
	} {
		request, err := json.Marshal(q)
		if err != nil {
			t.Fatal(err)
		}
		var text string
		err = conn.Ask(t.Context(), houseapi.LogsSubject, request, func(chunk []byte) error { text += string(chunk); return nil })
		if want == "" && (err != nil || !strings.HasSuffix(text, q.Role+" says two\n")) || want != "" && !schema.Is(err, want) {
			t.Errorf("the log of %+v: %q, %v", q, text, err)
		}
	}
	remove := must(houseapi.ManageRequest{Provider: name, Act: houseapi.ActRemove})
	if got := kinds(remove); !slices.Equal(got, []string{"withdraw ", "stop reports", "stop ingest"}) {
		t.Errorf("a removal would be %q", got)
	}
	must(houseapi.ManageRequest{Provider: name, Act: houseapi.ActRemove, Apply: true, Plan: remove.Plan})
	until(t, "it is removed, and its data are kept", func() bool {
		p, err := d.Provider(t.Context(), name)
		return err == nil && p.State == control.Removed && p.DataKept
	})
	if m := must(houseapi.ManageRequest{Provider: name, Act: houseapi.ActAdd}); !m.Restored || m.Port != base+2 {
		t.Errorf("to add it again would be %+v", m)
	}
	// What may not be asked for by pages is no act.
	for _, act := range []string{"purge", "exec", "update", "gc"} {
		if _, err := ask(houseapi.ManageRequest{Provider: "other", Act: act, Apply: true}); !schema.Is(err, schema.Invalid) {
			t.Errorf("%s: %v", act, err)
		}
	}
}
