package web

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"time"

	"berth/internal/api"
	"berth/internal/credentials"
	"berth/internal/httpserver"
	"berth/schema"
	"berth/schema/record"
)

// connectData is the page that shows how to connect a gateway.
type connectData struct {
	frame
	Connect *connect
}

// connect is how to send a first reading: what to paste, and a panel that shows what came of it.
type connect struct {
	Host     string
	Port     int
	Key      string
	Snippets []snippet
	Panel    firstData
}

// firstData is the panel that waits for the first frame.
type firstData struct {
	frame
	Path      string    // where the panel asks again; empty: it has seen what it waited for
	Seen      string    // the gateway that sent
	SeenPath  string    // its page
	SeenAt    time.Time // when
	Reject    *rejectRow
	Strangers bool // somebody came without a valid key
	Away      bool // reports does not answer
}

func (w *Web) connectPage(rw http.ResponseWriter, r *http.Request) error {
	c, err := w.connectOf(r, requestOf(r).provider)
	if err != nil {
		return err
	}
	d := connectData{Connect: c}
	d.Nav = "connect"
	return w.show(rw, r, http.StatusOK, "connect", "connect.title", &d)
}

func (w *Web) connectOf(r *http.Request, p *record.Provider) (*connect, error) {
	key, err := credentials.Open(w.o.HouseSecret, p.EnrolmentSealed)
	if err != nil {
		return nil, fmt.Errorf("open the enrolment key of %s: %w", p.Name, err)
	}
	host, port := w.publicHost(r), p.Slot.Port(w.o.PortBase)
	c := &connect{Host: host, Port: port, Key: string(key)}
	if c.Snippets, err = snippets(host, port, c.Key, p.Settings.RequireTLS); err != nil {
		return nil, err
	}
	w.fill(&c.Panel.frame, r, "connect.title")
	var books api.Books
	strangers := ""
	if err := w.up.get(r.Context(), p, &books, nil, "books"); err == nil { // without it the panel begins with what is then
		strangers = strconv.FormatUint(books.Strangers, 10)
	}
	q := url.Values{"since": {strconv.FormatInt(w.now().UnixMilli(), 10)}, "strangers": {strangers}}
	c.Panel.Path = providerPath(p.Name) + "/first?" + q.Encode()
	return c, nil
}

// publicHost returns the host under which gateways reach the ports, as far as is known.
func (w *Web) publicHost(r *http.Request) string {
	host := w.o.PublicHost
	if at, err := netip.ParseAddr(host); host == "" || err == nil && at.IsUnspecified() {
		host = r.Host
		if h, _, err := net.SplitHostPort(r.Host); err == nil {
			host = h
		}
	}
	if !httpserver.PlainHost(host) {
		return "127.0.0.1"
	}
	return host
}

// firstPanel answers with the panel alone: green when a frame has come since the page was opened, else what was refused
// since then and why.
func (w *Web) firstPanel(rw http.ResponseWriter, r *http.Request) error {
	p := requestOf(r).provider
	since, err := strconv.ParseInt(r.URL.Query().Get("since"), 10, 64)
	if err != nil {
		return schema.Errorf(schema.Invalid, "since is no time in milliseconds")
	}
	d := firstData{Path: r.URL.RequestURI()}
	w.fill(&d.frame, r, "connect.title")
	err = w.findFirst(r, p, time.UnixMilli(since), &d)
	if schema.Is(err, schema.Unavailable) {
		d.Away, err = true, nil
	}
	if err != nil {
		return err
	}
	return w.render(rw, http.StatusOK, "connect", "first", &d)
}

// findFirst asks what has come since.
func (w *Web) findFirst(r *http.Request, p *record.Provider, since time.Time, d *firstData) error {
	var list api.Gateways
	if err := w.up.get(r.Context(), p, &list, url.Values{"limit": {"1000"}}, "gateways"); err != nil {
		return err
	}
	for _, g := range list.Gateways {
		if g.LastSeen != nil && !g.LastSeen.Before(since) && !g.LastSeen.Before(d.SeenAt) {
			d.Seen, d.SeenPath, d.SeenAt, d.Path = g.Name, gatewayPath(p.Name, g.Name), *g.LastSeen, ""
		}
	}
	if d.Seen != "" {
		return nil
	}
	var rejects api.Rejects
	var books api.Books
	err := errors.Join(
		w.up.get(r.Context(), p, &rejects, url.Values{"limit": {"1"}}, "rejects"),
		w.up.get(r.Context(), p, &books, nil, "books"),
	)
	if err != nil {
		return err
	}
	if len(rejects.Rejects) > 0 && !rejects.Rejects[0].Time.Before(since) {
		row := rejectRowOf(p.Name, &rejects.Rejects[0])
		d.Reject = &row
	}
	before, err := strconv.ParseUint(r.URL.Query().Get("strangers"), 10, 64)
	d.Strangers = err == nil && books.Strangers > before
	return nil
}
