package web

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"berth/internal/houseapi"
	"berth/schema/record"
)

func TestKeysAreChangedOnTheirPage(t *testing.T) {
	h := newHouse(t)
	b := h.signedIn(record.Admin, "north")
	const path = "/providers/north/keys"
	got := b.get(path)
	for _, want := range []string{
		"boiler", "seen in clear", "new &lt;one&gt;", "10.0.0.7", "Let in with a new key", "The enrolment key was shown on a plain connection", "Require TLS",
		"10.1.0.0/16", "north&#39;s own", "pre-shared key too",
	} {
		if !strings.Contains(got.body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if got := b.get(path + "?q=CRA"); !strings.Contains(got.body, ">crane<") || strings.Contains(got.body, ">boiler<") {
		t.Error("the list is not narrowed by name")
	}
	if got := b.act(path, "add", "gateway", "pump", "relay", "yes"); got.status != http.StatusOK || strings.Count(got.body, "gk_shown_once") != 1 {
		t.Errorf("a new key is answered with status %d", got.status)
	}
	if q := h.senders.Load(); q.Provider != "north" || q.Act != "add" || q.Gateway.Gateway != "pump" || !q.Gateway.Relay || q.Gateway.Cert {
		t.Errorf("asked was %+v", q)
	}
	b.act(path, "add", "gateway", "pump", "psk", "yes")
	if q := h.senders.Load(); !q.Gateway.PSK || q.Gateway.Relay {
		t.Errorf("asked was %+v", q.Gateway)
	}
	if got := b.get(path); strings.Contains(got.body, "gk_shown_once") {
		t.Error("a key is shown again")
	}
	if got := b.act(path, "add", "gateway", "pump", "cert", "yes"); !strings.Contains(got.body, "SECRET\nCERT\nCA\n") {
		t.Error("a new certificate is not shown whole")
	}
	if got := b.act(path, "revoke", "gateway", "crane"); strings.Contains(got.body, "its connections are ended") || !strings.Contains(got.body, "does not hold yet") {
		t.Errorf("a gateway is said to be shut out before ingest answers: %s", got.body)
	}
	b.act(path, "replace", "gateway", "crane")
	if q := h.senders.Load(); q.Act != "rotate" || q.Gateway.Overlap == nil || *q.Gateway.Overlap != "0" {
		t.Errorf("asked was %+v", q.Gateway)
	}
	b.act(path, "require_tls")
	if q := h.senders.Load(); q.Act != "set" || q.Settings == nil || !*q.Settings.RequireTLS || q.Settings.Approve != nil {
		t.Errorf("asked was %+v", q.Settings)
	}
	b.act(path, "networks", "networks", "10.1.0.0/16\r\n fd00:1::/64\r\n")
	if q := h.senders.Load(); q.Settings == nil || !slices.Equal(*q.Settings.Networks, []string{"10.1.0.0/16", "fd00:1::/64"}) || q.Settings.ClientCA != nil {
		t.Errorf("asked was %+v", q.Settings)
	}
	b.act(path, "networks", "networks", "")
	if q := h.senders.Load(); q.Settings.Networks == nil || len(*q.Settings.Networks) > 0 {
		t.Errorf("asked was %+v", q.Settings)
	}
	if got := b.act(path, "networks", "networks", "mars"); got.status != http.StatusBadRequest || !strings.Contains(got.body, "is no network") {
		t.Errorf("what is no network is answered with status %d", got.status)
	}
	for act, pem := range map[string]string{"client_ca": "PEM", "no_client_ca": ""} {
		b.act(path, act, "client_ca", " PEM\n")
		if q := h.senders.Load(); q.Settings == nil || q.Settings.ClientCA == nil || *q.Settings.ClientCA != pem || q.Settings.Networks != nil {
			t.Errorf("asked was %+v", q.Settings)
		}
	}
	if got := b.act(path, "refuse", "gateway", "nobody"); got.status != http.StatusBadRequest || !strings.Contains(got.body, "it does not wait") {
		t.Errorf("what cannot be is answered with status %d", got.status)
	}
	if got := b.act(path, "explode"); got.status != http.StatusBadRequest {
		t.Errorf("what there is not is answered with status %d", got.status)
	}
}

func TestKeysByTheAPI(t *testing.T) {
	h := newHouse(t)
	b := h.bearer(h.token("north", record.ScopeManage))
	const path = "/api/v1/providers/north/senders"
	var senders houseapi.Senders
	if got := b.get(path); json.Unmarshal([]byte(got.body), &senders) != nil || len(senders.Gateways) != 4 {
		t.Errorf("answered %d %s", got.status, got.body)
	}
	got := b.do(http.MethodPost, path, `{"provider": "south", "act": "add", "gateway": {"gateway": "pump"}}`, map[string]string{"Content-Type": "application/json"})
	if json.Unmarshal([]byte(got.body), &senders) != nil || senders.Changed == nil || senders.Changed.Key != "gk_shown_once" {
		t.Errorf("answered %d %s", got.status, got.body)
	}
	if q := h.senders.Load(); q.Provider != "north" {
		t.Errorf("asked was of %s, whose token it is not", q.Provider)
	}
	for _, scope := range []record.Scope{record.ScopeRead, record.ScopeWrite} {
		if got := h.bearer(h.token("north", scope)).get(path); got.status != http.StatusForbidden {
			t.Errorf("a token of scope %s is answered %d", scope, got.status)
		}
	}
}
