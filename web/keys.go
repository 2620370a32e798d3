package web

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"berth/internal/houseapi"
	"berth/internal/httpserver"
	"berth/schema"
)

const (
	// keysShown is how many gateways the page of keys lists; those that wait for approval come first.
	keysShown = 500
	// sendersLimit bounds how long a page waits for the provisioner: a change is live by then, or will be.
	sendersLimit = 10 * time.Second
	// sendersBody bounds a request of the API, in bytes.
	sendersBody = 128 << 10
)

// keysData is the page of who may send to a provider.
type keysData struct {
	frame
	outcome
	Query      string
	RequireTLS bool
	Approve    bool
	Networks   string // without a key, one a line
	Hidden     bool   // no network can be allowed here
	ClientCA   []authorityRow
	Clear      time.Time // when the enrolment key was first shown in clear; zero: never
	ClearLast  time.Time
	Waiting    []keyRow
	Gateways   []keyRow
	More       int    // that are not listed
	New        *given // what was made just now; it is shown once
	DoneTo     string // to which gateway
	Away       string // why the list could not be had; empty: it is here
}

// given is a key or a certificate that was made just now.
type given struct {
	Gateway string
	Key     string // empty: it is a certificate
	PEM     string // private key, certificate, and whom to trust of the port
}

type keyRow struct {
	Name    string
	State   string // of houseapi
	Relay   bool
	PSK     bool
	Since   time.Time
	Used    time.Time
	Clear   time.Time
	Before  time.Time // the key before is good until then; zero: there is none
	Until   time.Time // when its certificate ends; zero: it has none
	Ends    bool      // that is soon, or was
	Address string    // of one that waits
	Times   uint64
	Own     bool // it has a key or a certificate that can be replaced
	Revoked bool
	HadKey  bool // before it was revoked
}

// authorityRow is an authority of the provider's own.
type authorityRow struct {
	Name  string
	Until time.Time
	Ends  bool // that is soon, or was
}

// certSoon is how long before its end a certificate is drawn attention to.
const certSoon = 30 * 24 * time.Hour

func (w *Web) keysPage(rw http.ResponseWriter, r *http.Request) error {
	d := &keysData{}
	senders, err := w.askSenders(r.Context(), &houseapi.SendersRequest{Provider: requestOf(r).provider.Name})
	if err != nil {
		if !schema.Is(err, schema.Unavailable) {
			return err
		}
		d.Away = schema.Show(err)
	}
	return w.showKeys(rw, r, http.StatusOK, d, senders)
}

// askSenders asks the provisioner who may send, after a change if there is one.
func (w *Web) askSenders(ctx context.Context, q *houseapi.SendersRequest) (*houseapi.Senders, error) {
	request, err := json.Marshal(q)
	if err != nil {
		return nil, fmt.Errorf("ask who may send: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, sendersLimit)
	defer cancel()
	var senders houseapi.Senders
	err = w.conn.Ask(ctx, houseapi.SendersSubject, request, func(chunk []byte) error { return json.Unmarshal(chunk, &senders) })
	if err != nil {
		return nil, err
	}
	return &senders, nil
}

// keysPost does what the form says and shows the page with what became of it.
func (w *Web) keysPost(rw http.ResponseWriter, r *http.Request) error {
	p := requestOf(r).provider
	q, done, err := changeOf(r, p.Name)
	if err != nil {
		return err
	}
	note(r, done+" "+r.PostFormValue("gateway"))
	d := &keysData{DoneTo: r.PostFormValue("gateway")}
	senders, err := w.askSenders(r.Context(), q)
	status, err := d.settle(r, "keys.done."+done, err)
	if err != nil {
		return err
	}
	if d.Problem != "" {
		if senders, err = w.askSenders(r.Context(), &houseapi.SendersRequest{Provider: p.Name}); err != nil {
			return err
		}
	}
	if c := senders.Changed; c != nil {
		switch {
		case c.Key != "" || c.Cert != "":
			d.New = &given{Gateway: c.Gateway.Gateway, Key: c.Key, PEM: c.Secret + c.Cert + c.CA}
		case !c.Changed:
			d.Done = "keys.done.nothing"
		}
	}
	d.taken(senders.Taken)
	return w.showKeys(rw, r, status, d, senders)
}

// changeOf returns what a form of the page asks for, and what it is called.
func changeOf(r *http.Request, provider string) (q *houseapi.SendersRequest, done string, err error) {
	act := r.PostFormValue("act")
	q = &houseapi.SendersRequest{Provider: provider, Act: act, Gateway: &houseapi.GatewayRequest{Gateway: r.PostFormValue("gateway")}}
	yes, no := true, false
	set := func(s houseapi.SenderSettings) { q.Act, q.Gateway, q.Settings = "set", nil, &s }
	switch act {
	case "add":
		q.Gateway.Relay, q.Gateway.Cert, q.Gateway.PSK = r.PostFormValue("relay") != "", r.PostFormValue("cert") != "", r.PostFormValue("psk") != ""
	case "rotate", "revoke", "approve", "refuse":
	case "replace":
		at := "0"
		q.Act, q.Gateway.Overlap = "rotate", &at
	case "require_tls":
		set(houseapi.SenderSettings{RequireTLS: &yes})
	case "take_plain":
		set(houseapi.SenderSettings{RequireTLS: &no})
	case "ask_approval":
		set(houseapi.SenderSettings{Approve: &yes})
	case "let_in":
		set(houseapi.SenderSettings{Approve: &no})
	case "networks":
		networks := strings.Fields(r.PostFormValue("networks"))
		set(houseapi.SenderSettings{Networks: &networks})
	case "client_ca":
		pem := strings.TrimSpace(r.PostFormValue("client_ca"))
		set(houseapi.SenderSettings{ClientCA: &pem})
	case "no_client_ca":
		none := ""
		set(houseapi.SenderSettings{ClientCA: &none})
	default:
		return nil, "", schema.Errorf(schema.Invalid, "the form cannot be read").WithNext("load the page again")
	}
	return q, act, nil
}

// showKeys shows the page; senders is nil when they could not be had.
func (w *Web) showKeys(rw http.ResponseWriter, r *http.Request, status int, d *keysData, senders *houseapi.Senders) error {
	d.Nav, d.Query = "keys", strings.TrimSpace(r.URL.Query().Get("q"))
	if senders != nil {
		d.take(senders, w.now())
	}
	return w.show(rw, r, status, "keys", "keys.title", d)
}

// take takes what the provisioner says.
func (d *keysData) take(s *houseapi.Senders, now time.Time) {
	d.RequireTLS, d.Approve, d.Clear, d.ClearLast = s.RequireTLS, s.Approve, moment(s.Enrolment.Clear), moment(s.Enrolment.LastSo)
	d.Networks, d.Hidden = strings.Join(s.Networks, "\n"), s.Hidden
	for _, a := range s.ClientCA {
		d.ClientCA = append(d.ClientCA, authorityRow{a.Name, a.Until, a.Until.Sub(now) < certSoon})
	}
	for i := range s.Gateways {
		g := &s.Gateways[i]
		switch {
		case d.Query != "" && !strings.Contains(strings.ToLower(g.Gateway), strings.ToLower(d.Query)):
		case g.State == houseapi.GatewayWaiting:
			d.Waiting = append(d.Waiting, keyRowOf(g, now))
		case len(d.Gateways) >= keysShown:
			d.More++
		default:
			d.Gateways = append(d.Gateways, keyRowOf(g, now))
		}
	}
}

func keyRowOf(g *houseapi.Gateway, now time.Time) keyRow {
	row := keyRow{
		Name: g.Gateway, State: g.State, Relay: g.Relay, PSK: g.PSK, Since: g.Created, Used: moment(g.Used), Clear: moment(g.Clear), Until: moment(g.Until),
		Address: g.Address, Times: g.Times, Revoked: g.State == houseapi.GatewayRevoked,
		HadKey: g.HadKey,
		Own:    slices.Contains([]string{houseapi.GatewayKeyed, houseapi.GatewayCertified}, g.State),
	}
	if g.Last != nil {
		row.Since = *g.Last
	}
	if g.Previous != nil {
		row.Before = g.Previous.Until
	}
	row.Ends = !row.Until.IsZero() && row.Until.Sub(now) < certSoon
	return row
}

// moment returns a time that may not have been; zero: it has not.
func moment(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}

// sendersGet answers the API's question who may send.
func (w *Web) sendersGet(rw http.ResponseWriter, r *http.Request) error {
	senders, err := w.askSenders(r.Context(), &houseapi.SendersRequest{Provider: requestOf(r).provider.Name})
	if err != nil {
		return err
	}
	return httpserver.JSON(rw, http.StatusOK, senders)
}

// sendersPost changes who may send, by the API: the body is a SendersRequest, of which the path names the provider.
func (w *Web) sendersPost(rw http.ResponseWriter, r *http.Request) error {
	p := requestOf(r).provider
	body, err := io.ReadAll(http.MaxBytesReader(rw, r.Body, sendersBody))
	if err != nil {
		return schema.Errorf(schema.TooLarge, "the request is longer than %d bytes", sendersBody).WithCause(err)
	}
	var q houseapi.SendersRequest
	if len(body) > 0 {
		if err := json.Unmarshal(body, &q); err != nil {
			return schema.Errorf(schema.Invalid, "the request's body cannot be read: %v", err)
		}
	}
	q.Provider = p.Name
	what := q.Act
	if q.Gateway != nil {
		what += " " + q.Gateway.Gateway
	}
	note(r, what)
	senders, err := w.askSenders(r.Context(), &q)
	if err != nil {
		return err
	}
	return httpserver.JSON(rw, http.StatusOK, senders)
}
