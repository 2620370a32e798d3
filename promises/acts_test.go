package promises

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"berth/internal/houseapi"
)

// operator runs provider1 by the API, as an operator does.
type operator struct {
	*containers
	token string
}

// acts restarts, stops, starts, removes and adds the provider by API, each as the plan has shown it, while gateways send and
// its log is followed: no act is an error there, and whoever follows hears of each start, and of the end.
func (c *containers) acts() {
	c.t.Helper()
	out, err := c.install.CLI(c.t.Context(), "token", "create", "--operator", "--scope", "operate", "--name", "acts", "-o", "json")
	var made struct{ Token string }
	if err == nil {
		err = json.Unmarshal(out, &made)
	}
	if err != nil {
		c.t.Fatalf("an operator's token: %v\n%s", err, out)
	}
	o := &operator{c, made.Token}
	log := o.follow()
	o.does(houseapi.ActRestart, http.MethodPost, "/providers/provider1/restart", "ready")
	o.does(houseapi.ActStop, http.MethodPost, "/providers/provider1/stop", "stopped")
	for _, role := range []string{"ingest", "reports"} {
		if id := c.container(role); id != "" {
			c.t.Errorf("%s of a stopped provider runs: %s", role, id)
		}
	}
	o.does(houseapi.ActStart, http.MethodPost, "/providers/provider1/start", "ready")
	c.recover()
	c.until("who follows the log has heard of both starts", func(context.Context) error {
		if n := log.starts.Load(); n < 2 {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
	o.does(houseapi.ActRemove, http.MethodDelete, "/providers/provider1", "")
	log.ended.Wait()
	if text := log.wrong.Load(); text != nil {
		c.t.Errorf("acts of an operator are an error in the log: %s", *text)
	}
	o.does(houseapi.ActAdd, http.MethodPost, "/providers", "ready")
	c.recover()
}

// does does an act that comes to what its plan shows, and waits until all is so; an empty state: until there is none.
func (o *operator) does(act, method, path, state string) {
	o.t.Helper()
	shown, planned := "/providers/provider1/plan?act="+act, houseapi.Managed{}
	if act == houseapi.ActAdd {
		shown = "/plan?add=provider1"
	}
	if status, err := o.ask(o.t.Context(), http.MethodGet, shown, "", &planned); err != nil || !planned.Changed || len(planned.Steps) == 0 {
		o.t.Fatalf("the plan of %s: status %d, %v: %+v", act, status, err, planned)
	}
	path, body := path+"?plan="+planned.Plan, ""
	if act == houseapi.ActAdd {
		path, body = "/providers", fmt.Sprintf(`{"name": "provider1", "plan": %q}`, planned.Plan)
	}
	if status, err := o.ask(o.t.Context(), method, path, body, &planned); err != nil || !planned.Applied {
		o.t.Fatalf("%s: status %d, %v: %+v", act, status, err, planned)
	}
	o.until("after "+act+" all is as wanted", func(ctx context.Context) error {
		now := houseapi.Managed{}
		status, err := o.ask(ctx, http.MethodGet, "/providers/provider1/plan", "", &now)
		if state == "" && status == http.StatusNotFound || err == nil && now.State == state && len(now.Steps) == 0 {
			return nil
		}
		return fmt.Errorf("status %d, %w: %+v", status, err, now)
	})
}

// ask asks the API as an operator.
func (o *operator) ask(ctx context.Context, method, path, body string, answer any) (status int, err error) {
	response, err := o.request(ctx, method, path, body)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s", text)
	}
	if err == nil {
		err = json.Unmarshal(text, answer)
	}
	return response.StatusCode, err
}

func (o *operator) request(ctx context.Context, method, path, body string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, "http://"+o.install.Web+"/api/v1"+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+o.token)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	return client.Do(r)
}

// followed is what was heard of a log.
type followed struct {
	starts atomic.Int64
	wrong  atomic.Pointer[string] // a line that is an error
	ended  sync.WaitGroup
}

// follow follows the log of ingest from now on, until there is none.
func (o *operator) follow() *followed {
	o.t.Helper()
	response, err := o.request(o.t.Context(), http.MethodGet, "/providers/provider1/logs?role=ingest&lines=1", "")
	if err != nil {
		o.t.Fatal(err)
	}
	if response.StatusCode != http.StatusOK {
		o.t.Fatalf("the log: status %d", response.StatusCode)
	}
	f := &followed{}
	f.ended.Go(func() {
		defer response.Body.Close()
		past := true // the line that a stream begins with
		for lines := bufio.NewScanner(response.Body); lines.Scan(); {
			switch text := lines.Text(); {
			case !strings.HasPrefix(text, "data: "):
			case past:
				past = false
			case strings.Contains(text, `"msg":"accepting"`):
				f.starts.Add(1)
			case strings.Contains(text, `"level":"ERROR"`):
				f.wrong.Store(&text)
			}
		}
	})
	return f
}
