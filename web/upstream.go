package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"berth/internal/api"
	"berth/internal/credentials"
	"berth/internal/httpserver"
	"berth/schema"
	"berth/schema/record"
)

const (
	// answerLimit is how long a page waits for an answer of reports.
	answerLimit = 10 * time.Second
	// answerSize is the longest answer that a page reads.
	answerSize = 16 << 20
)

// upstream asks the reports instances of providers, with signed requests.
type upstream struct {
	dir       *directory
	transport *http.Transport
}

func newUpstream(dir *directory) *upstream {
	dialer := &net.Dialer{Timeout: 2 * time.Second}
	return &upstream{dir: dir, transport: &http.Transport{
		DialContext: dialer.DialContext, MaxIdleConnsPerHost: 16, IdleConnTimeout: time.Minute, ResponseHeaderTimeout: time.Minute,
		DisableCompression: true,
	}}
}

func (u *upstream) close() { u.transport.CloseIdleConnections() }

// RoundTrip signs the request and sends it to an instance of the provider that is its URL's host, trying the next one
// when an instance cannot be reached. It is for requests that may be put twice.
func (u *upstream) RoundTrip(r *http.Request) (*http.Response, error) {
	p, err := u.dir.provider(r.URL.Host)
	if err != nil {
		return nil, err
	}
	u.dir.hear(r.Context(), p.Name)
	err = schema.Errorf(schema.Unavailable, "no reports instance of %s is running", p.Name).
		WithNext("wait a few seconds; if it stays so, the operator finds the cause with provisioner doctor")
	if p.Wanted == record.Stopped {
		err = schema.Errorf(schema.Unavailable, "%s is stopped", p.Name).WithNext("its readings are here again once the operator starts it")
	}
	for _, address := range u.dir.reports(p.Name) {
		out := r.Clone(r.Context())
		out.URL.Scheme, out.URL.Host, out.Host = "http", address, address
		if r.GetBody != nil {
			if out.Body, err = r.GetBody(); err != nil {
				return nil, err
			}
		}
		credentials.Sign(out, p.ReportsToken, time.Now())
		resp, tripErr := u.transport.RoundTrip(out)
		if tripErr == nil {
			return resp, nil
		}
		if r.Context().Err() != nil {
			return nil, tripErr
		}
		err = schema.Errorf(schema.Unavailable, "the reports instance of %s does not answer", p.Name).WithNext("try again in a moment").WithCause(tripErr)
	}
	return nil, err
}

// apiURL returns the URL of the API for one provider, as RoundTrip takes it. Path elements are escaped here.
func apiURL(provider string, query url.Values, elements ...string) *url.URL {
	path, raw := "/api/v1/providers/"+provider, "/api/v1/providers/"+url.PathEscape(provider)
	for _, e := range elements {
		path += "/" + e
		raw += "/" + url.PathEscape(e)
	}
	return &url.URL{Scheme: "http", Host: provider, Path: path, RawPath: raw, RawQuery: query.Encode()}
}

// get asks a provider's reports and reads the answer into v.
func (u *upstream) get(ctx context.Context, p *record.Provider, v any, query url.Values, elements ...string) error {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	return u.ask(ctx, http.MethodGet, p, v, query, elements...)
}

// send has a provider's reports take over something, which may be done twice, and reads the answer into v. The body's digest is in the query, which is
// signed.
func (u *upstream) send(ctx context.Context, p *record.Provider, v any, body []byte, elements ...string) error {
	ctx, cancel := context.WithTimeout(ctx, actLimit)
	defer cancel()
	at := apiURL(p.Name, url.Values{api.DigestParameter: {api.Digest(body)}}, elements...)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, at.String(), bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	return u.do(r, v)
}

// actLimit is how long a page waits for something to be done.
const actLimit = 40 * time.Second

// act has a provider's reports do something that may be done twice, and reads the answer into v.
func (u *upstream) act(ctx context.Context, method string, p *record.Provider, v any, elements ...string) error {
	ctx, cancel := context.WithTimeout(ctx, actLimit)
	defer cancel()
	return u.ask(ctx, method, p, v, nil, elements...)
}

func (u *upstream) ask(ctx context.Context, method string, p *record.Provider, v any, query url.Values, elements ...string) error {
	at := apiURL(p.Name, query, elements...)
	return u.do((&http.Request{Method: method, URL: at, Header: http.Header{}}).WithContext(ctx), v)
}

// do puts a request and reads the answer into v.
func (u *upstream) do(r *http.Request, v any) error {
	at := r.URL
	resp, err := u.RoundTrip(r)
	if err != nil {
		return fmt.Errorf("ask %s: %w", at.Path, whyAway(err))
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	body, err := io.ReadAll(io.LimitReader(resp.Body, answerSize))
	if err != nil {
		return fmt.Errorf("read the answer of %s: %w", at.Path, whyAway(err))
	}
	if resp.StatusCode != http.StatusOK {
		var p httpserver.ProblemBody
		if err := json.Unmarshal(body, &p); err != nil || p.Code == "" {
			return fmt.Errorf("ask %s: status %d", at.Path, resp.StatusCode)
		}
		if p.Code == schema.Unauthorized { // our signature, not the visitor's sign-in
			return fmt.Errorf("ask %s: reports refuses our signature: %s", at.Path, p.Detail)
		}
		return &schema.Error{Code: p.Code, Text: p.Detail, Next: p.Next}
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("read the answer of %s: %w", at.Path, err)
	}
	return nil
}

// whyAway makes a failure to reach reports one that may be shown.
func whyAway(err error) error {
	if _, ok := errors.AsType[*schema.Error](err); ok {
		return err
	}
	return schema.Errorf(schema.Unavailable, "reports did not answer").WithNext("try again in a moment").WithCause(err)
}
