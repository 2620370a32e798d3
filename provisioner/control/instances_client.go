package control

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"time"

	"berth/provisioner/plan"
	"berth/schema"
)

// Restart asks for new instances of a provider.
func (c *Client) Restart(ctx context.Context, name string) (out Provider, err error) {
	return out, c.do(ctx, http.MethodPost, of(name, "/restart"), nil, &out)
}

// Renew asks for new instances of a provider with another password of its keyspace's role and other credentials of NATS.
func (c *Client) Renew(ctx context.Context, name string) (out Provider, err error) {
	return out, c.do(ctx, http.MethodPost, of(name, "/restart?password=new"), nil, &out)
}

// Stop asks that no instance of a provider runs.
func (c *Client) Stop(ctx context.Context, name string) (out Changed, err error) {
	return out, c.do(ctx, http.MethodPost, of(name, "/stop"), nil, &out)
}

// Start asks that a provider's instances run again.
func (c *Client) Start(ctx context.Context, name string) (out Changed, err error) {
	return out, c.do(ctx, http.MethodPost, of(name, "/start"), nil, &out)
}

// Update changes what a provider's instances may use, and of which image they are. It does not wait.
func (c *Client) Update(ctx context.Context, name string, req UpdateRequest) (out Updated, err error) {
	return out, c.do(ctx, http.MethodPost, of(name, "/update"), req, &out)
}

// Orphans returns the instances that no record wants.
func (c *Client) Orphans(ctx context.Context) (out []plan.Orphan, err error) {
	return out, c.do(ctx, http.MethodGet, "/v1/orphans", nil, &out)
}

// Collect removes orphans, or says which it would remove.
func (c *Client) Collect(ctx context.Context, req CollectRequest) (out Collected, err error) {
	return out, c.do(ctx, http.MethodPost, "/v1/gc", req, &out)
}

// Exec runs a command within an instance of the provider and returns its exit code.
func (c *Client) Exec(ctx context.Context, provider string, req ExecRequest, out, errs io.Writer) (code int, err error) {
	resp, err := c.send(ctx, http.MethodPost, of(provider, "/exec"), req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	lines := json.NewDecoder(resp.Body)
	for {
		var e ExecEvent
		if err := lines.Decode(&e); err != nil {
			return 0, schema.Errorf(schema.Unavailable, "the daemon broke off before the command ended").WithCause(err)
		}
		switch {
		case e.Problem != nil:
			return 0, &schema.Error{Code: e.Problem.Code, Text: e.Problem.Detail, Next: e.Problem.Next}
		case e.Code != nil:
			return *e.Code, nil
		}
		_, _ = out.Write(e.Out) // a terminal that is gone cannot be told so
		_, _ = errs.Write(e.Err)
	}
}

// WaitReady looks at a provider until it is settled: ready, or stopped as somebody wanted it. It tells news each time that
// what it waits for changes.
func (c *Client) WaitReady(ctx context.Context, name string, news func(Provider)) (Provider, error) {
	return c.Wait(ctx, name, func(p *Provider) bool { return p.Settled() }, news)
}

// Wait looks at a provider until it is done, and tells news each time that what it waits for changes.
func (c *Client) Wait(ctx context.Context, name string, done func(*Provider) bool, news func(Provider)) (Provider, error) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	last := ""
	for {
		p, err := c.Provider(ctx, name)
		if err != nil || done(&p) {
			return p, err
		}
		if p.Removed != nil {
			return p, schema.Errorf(schema.Conflict, "provider %s was removed meanwhile", name)
		}
		if now := p.State + p.Detail; now != last {
			news(p)
			last = now
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return p, context.Cause(ctx)
		}
	}
}
