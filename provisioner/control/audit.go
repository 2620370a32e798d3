package control

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"berth/schema"
	"berth/schema/record"
)

// does is what the audit log calls each request that changes something, or runs something. Those that it does not name
// only ask.
var does = map[string]string{
	"POST /v1/links":                                    "link.make",
	"POST /v1/gc":                                       "orphans.collect",
	"POST /v1/tokens":                                   "token.make",
	"DELETE /v1/tokens":                                 "token.revoke",
	"POST /v1/providers":                                "provider.add",
	"DELETE /v1/providers/{provider}":                   "provider.remove",
	"POST /v1/providers/{provider}/restart":             "provider.restart",
	"POST /v1/providers/{provider}/stop":                "provider.stop",
	"POST /v1/providers/{provider}/start":               "provider.start",
	"POST /v1/providers/{provider}/update":              "provider.update",
	"POST /v1/providers/{provider}/exec":                "provider.exec",
	"PATCH /v1/providers/{provider}/settings":           "settings.change",
	"POST /v1/providers/{provider}/tokens":              "token.make",
	"DELETE /v1/providers/{provider}/tokens":            "token.revoke",
	"POST /v1/providers/{provider}/gateways":            "gateway.change",
	"POST /v1/providers/{provider}/sources":             "source.add",
	"DELETE /v1/providers/{provider}/sources":           "source.remove",
	"POST /v1/providers/{provider}/reports/{path...}":   "kept.feed",
	"DELETE /v1/providers/{provider}/reports/{path...}": "kept.remove",
}

// noted is what a handler tells the audit log.
type noted struct{ provider, what string }

type notedKey struct{}

func withNote(r *http.Request) (*http.Request, *noted) {
	n := &noted{provider: r.PathValue("provider")}
	return r.WithContext(context.WithValue(r.Context(), notedKey{}, n)), n
}

// note tells the audit log of what a request is: a provider, if its path does not name one, and in words.
func note(r *http.Request, provider string, what ...string) {
	n, ok := r.Context().Value(notedKey{}).(*noted)
	if !ok {
		return
	}
	if provider != "" {
		n.provider = provider
	}
	n.what = strings.TrimSpace(strings.Join(what, " "))
}

// asked returns what a request holds, for the audit log. No request that it is used for holds a secret.
func asked(req any) string {
	text, err := json.Marshal(req)
	if err != nil {
		return ""
	}
	return string(text)
}

// record has a change recorded, or that it was tried.
func (s *Server) record(r *http.Request, pattern string, n *noted, err error) {
	kind, changes := does[pattern]
	if !changes || s.o.House == nil {
		return
	}
	c := record.Change{
		Time: time.Now().UTC(), Provider: n.provider, Who: "provisioner", By: record.ByCommand, Does: kind, What: n.what,
	}
	if schema.CheckProvider(c.Provider) != nil { // what was mistyped is no topic of the log
		c.Provider, c.What = "", strings.TrimSpace(c.Provider+" "+c.What)
	}
	if err != nil {
		c.Failed = schema.Show(err)
	}
	if err := s.o.House.Audit().Record(r.Context(), c); err != nil {
		s.o.Logger.Error("a change was not recorded in the audit log", "provider", c.Provider, "does", c.Does, "what", c.What,
			"failed", c.Failed, "error", err)
	}
}
