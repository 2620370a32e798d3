package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"syscall"

	"berth/internal/api"
	"berth/internal/httpserver"
	"berth/provisioner/doctor"
	"berth/provisioner/plan"
	"berth/provisioner/runtime"
	"berth/schema"
	"berth/schema/record"
)

// Client speaks to the daemon of a data directory. Its methods may be called concurrently. Errors are those of the
// daemon, and Unavailable when it does not run.
type Client struct {
	data string
	http http.Client
}

// NewClient returns a client; it connects when it is first used.
func NewClient(data string) *Client {
	return &Client{data: data, http: http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, data) },
	}}}
}

// Close releases the connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// do asks the daemon and reads its answer into out, unless that is nil.
func (c *Client) do(ctx context.Context, method, path string, in, out any) error {
	resp, err := c.send(ctx, method, path, in)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return fmt.Errorf("read the daemon's answer: %w", err)
	}
	return nil
}

func (c *Client) send(ctx context.Context, method, path string, in any) (*http.Response, error) {
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("write the request: %w", err)
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://provisioner"+path, body)
	if err != nil {
		return nil, fmt.Errorf("make the request: %w", err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	if resp.StatusCode < 400 {
		return resp, nil
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	var p httpserver.ProblemBody
	if err := json.NewDecoder(resp.Body).Decode(&p); err != nil || p.Code == "" {
		return nil, fmt.Errorf("read the daemon's answer %s: %w", resp.Status, err)
	}
	return nil, &schema.Error{Code: p.Code, Text: p.Detail, Next: p.Next}
}

func (c *Client) unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("ask the daemon: %w", context.Cause(ctx))
	}
	start := "start it: provisioner serve --data " + c.data
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return schema.Errorf(schema.Unavailable, "no provisioner runs in %s", c.data).WithNext("%s (or name its directory with --data)", start).WithCause(err)
	case errors.Is(err, fs.ErrPermission):
		return schema.Errorf(schema.Forbidden, "the provisioner in %s belongs to another user", c.data).WithNext("run the command as that user").WithCause(err)
	}
	return schema.Errorf(schema.Unavailable, "the provisioner in %s does not answer", c.data).WithNext("look at what it prints, then %s", start).WithCause(err)
}

// Status returns what the daemon says of itself.
func (c *Client) Status(ctx context.Context) (out Status, err error) {
	return out, c.do(ctx, http.MethodGet, "/v1/status", nil, &out)
}

// Plan returns what the loop would do now.
func (c *Client) Plan(ctx context.Context) (out []plan.Step, err error) {
	return out, c.do(ctx, http.MethodGet, "/v1/plan", nil, &out)
}

// Doctor returns what the daemon's checks found.
func (c *Client) Doctor(ctx context.Context) (out []doctor.Check, err error) {
	return out, c.do(ctx, http.MethodGet, "/v1/doctor", nil, &out)
}

// Logs writes what the named instance wrote to w.
func (c *Client) Logs(ctx context.Context, name string, o runtime.LogOptions, w io.Writer) error {
	q := url.Values{"name": {name}, "lines": {strconv.Itoa(o.Lines)}, "follow": {strconv.FormatBool(o.Follow)}}
	resp, err := c.send(ctx, http.MethodGet, "/v1/logs?"+q.Encode(), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	if _, err := io.Copy(w, resp.Body); err != nil && ctx.Err() == nil {
		return fmt.Errorf("read the log: %w", err)
	}
	return nil
}

// Link makes a one-time sign-in link.
func (c *Client) Link(ctx context.Context, r LinkRequest) (out Link, err error) {
	return out, c.do(ctx, http.MethodPost, "/v1/links", r, &out)
}

// Providers returns the providers, with all also those that are removed.
func (c *Client) Providers(ctx context.Context, all bool) (out []Provider, err error) {
	return out, c.do(ctx, http.MethodGet, "/v1/providers?all="+strconv.FormatBool(all), nil, &out)
}

// List returns the providers as Providers does, with what their instances use.
func (c *Client) List(ctx context.Context, all bool) (out []Provider, err error) {
	return out, c.do(ctx, http.MethodGet, "/v1/providers?usage=true&all="+strconv.FormatBool(all), nil, &out)
}

// Add adds a provider, or finds it. It does not wait.
func (c *Client) Add(ctx context.Context, name string) (out Added, err error) {
	return c.AddPlaced(ctx, name, record.Own)
}

// AddPlaced is Add with a placement of the keyspace.
func (c *Client) AddPlaced(ctx context.Context, name string, placement record.Placement) (out Added, err error) {
	return out, c.do(ctx, http.MethodPost, "/v1/providers", AddRequest{Name: name, Placement: placement}, &out)
}

// Provider returns a provider, or NotFound.
func (c *Client) Provider(ctx context.Context, name string) (out Provider, err error) {
	return out, c.do(ctx, http.MethodGet, of(name, ""), nil, &out)
}

// Show returns a provider as Provider does, with what its instances use.
func (c *Client) Show(ctx context.Context, name string) (out Provider, err error) {
	return out, c.do(ctx, http.MethodGet, of(name, "?usage=true"), nil, &out)
}

// Remove asks for a provider's removal.
func (c *Client) Remove(ctx context.Context, name string, purge bool) (out RemovedProvider, err error) {
	return out, c.do(ctx, http.MethodDelete, of(name, "?purge="+strconv.FormatBool(purge)), nil, &out)
}

// Set changes a provider's settings.
func (c *Client) Set(ctx context.Context, name string, change SettingsChange) (out SettingsChanged, err error) {
	return out, c.do(ctx, http.MethodPatch, of(name, "/settings"), change, &out)
}

// Tokens returns a provider's API tokens.
func (c *Client) Tokens(ctx context.Context, provider string) (out []Token, err error) {
	return out, c.do(ctx, http.MethodGet, of(provider, "/tokens"), nil, &out)
}

// NewToken makes an API token of a provider.
func (c *Client) NewToken(ctx context.Context, provider string, r TokenRequest) (out NewToken, err error) {
	return out, c.do(ctx, http.MethodPost, of(provider, "/tokens"), r, &out)
}

// RevokeToken ends an API token of a provider.
func (c *Client) RevokeToken(ctx context.Context, provider, name string) (out Token, err error) {
	return out, c.do(ctx, http.MethodDelete, of(provider, "/tokens?name="+url.QueryEscape(name)), nil, &out)
}

// Gateways returns the gateways that have, or had, a key of their own.
func (c *Client) Gateways(ctx context.Context, provider string) (out []Gateway, err error) {
	return out, c.do(ctx, http.MethodGet, of(provider, "/gateways"), nil, &out)
}

// Gateway does an act (add, rotate, revoke) to a gateway's key.
func (c *Client) Gateway(ctx context.Context, provider, act string, req GatewayRequest) (out GatewayKey, err error) {
	return out, c.do(ctx, http.MethodPost, of(provider, "/gateways?act="+url.QueryEscape(act)), req, &out)
}

// Enrolment returns what was seen of the enrolment key.
func (c *Client) Enrolment(ctx context.Context, provider string) (out Enrolment, err error) {
	return out, c.do(ctx, http.MethodGet, of(provider, "/enrolment"), nil, &out)
}

// Sources returns a provider's sources.
func (c *Client) Sources(ctx context.Context, provider string) (out []Source, err error) {
	return out, c.do(ctx, http.MethodGet, of(provider, "/sources"), nil, &out)
}

// PutSource adds a source, or changes the one of its name.
func (c *Client) PutSource(ctx context.Context, provider string, req *SourceRequest) (out SourceChanged, err error) {
	return out, c.do(ctx, http.MethodPost, of(provider, "/sources"), req, &out)
}

// RemoveSource removes a source.
func (c *Client) RemoveSource(ctx context.Context, provider, name string) (out SourceChanged, err error) {
	return out, c.do(ctx, http.MethodDelete, of(provider, "/sources?name="+url.QueryEscape(name)), nil, &out)
}

// Reports asks the provider's reports and reads its answer into v.
func (c *Client) Reports(ctx context.Context, method, provider, path string, v any) error {
	return c.do(ctx, method, of(provider, "/reports/"+path), nil, v)
}

// Stream asks the provider's reports and returns its answer as it comes; the caller closes it.
func (c *Client) Stream(ctx context.Context, provider, path string) (io.ReadCloser, error) {
	resp, err := c.send(ctx, http.MethodGet, of(provider, "/reports/"+path), nil)
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// Export begins an export and returns the answer as it comes; the caller closes its body. What is known of it at its end is
// in its trailers.
func (c *Client) Export(ctx context.Context, provider string, query url.Values) (*http.Response, error) {
	return c.send(ctx, http.MethodGet, of(provider, "/reports/export?"+query.Encode()), nil)
}

// Audit has the provider's books recounted, tells how far that is, and returns what came of it.
func (c *Client) Audit(ctx context.Context, provider string, progress func(string)) (*api.Audit, error) {
	body, err := c.Stream(ctx, provider, "audit")
	if err != nil {
		return nil, err
	}
	defer body.Close() //nolint:errcheck // only read
	lines := json.NewDecoder(body)
	for {
		var e struct {
			api.AuditEvent
			Problem *httpserver.ProblemBody `json:"problem"`
		}
		if err := lines.Decode(&e); err != nil {
			return nil, schema.Errorf(schema.Unavailable, "the audit broke off").WithNext("do it again: provisioner audit %s", provider).WithCause(err)
		}
		switch {
		case e.Problem != nil:
			return nil, &schema.Error{Code: e.Problem.Code, Text: e.Problem.Detail, Next: e.Problem.Next}
		case e.Result != nil:
			return e.Result, nil
		case e.Progress != "":
			progress(e.Progress)
		}
	}
}

func of(provider, rest string) string {
	if provider == "" { // an operator's
		return "/v1" + rest
	}
	return "/v1/providers/" + url.PathEscape(provider) + rest
}
