package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"berth/internal/api"
	"berth/promises/install"
)

const (
	sensorsEach = 20
	linesEach   = 500 // of a request
)

// gateways measures a catalogue of many gateways: what they take in memory and on disk, how long a start with them is, and
// how long the list takes: a page of it by API in two orders, as a browser gets it, and all as CSV.
func (s *scale) gateways(ctx context.Context) error {
	fmt.Printf("\n# Gateways of %d sensors, a reading of each\n", sensorsEach)
	for _, step := range s.steps {
		if err := s.catalogue(ctx, 1000*step); err != nil {
			return err
		}
	}
	return nil
}

// asked is a provider with what is needed to send to it and to ask it.
type asked struct {
	in       *install.Install
	provider install.Provider
	relay    string // key
	token    string
}

// provided starts an installation of its own, in a folder of that name, that has a provider; stop ends it and removes its data.
func (s *scale) provided(ctx context.Context, name string) (a *asked, stop func(), err error) {
	in, stop, err := s.installation(ctx, name, 1)
	if err != nil {
		return nil, nil, err
	}
	if a, err = provide(ctx, in); err != nil {
		stop()
		return nil, nil, err
	}
	return a, stop, nil
}

// provide adds a provider, with a relay and a token.
func provide(ctx context.Context, in *install.Install) (*asked, error) {
	a := &asked{in: in}
	var err error
	if a.provider, err = in.Add(ctx, "provider1"); err != nil {
		return nil, err
	}
	if a.token, err = in.Token(ctx, a.provider.Name); err != nil {
		return nil, err
	}
	out, err := in.CLI(ctx, "gateway", "add", a.provider.Name, "relay", "--relay", "-o", "json")
	if err != nil {
		return nil, err
	}
	var answer struct {
		Key string `json:"key"`
	}
	err = json.Unmarshal(out, &answer)
	a.relay = answer.Key
	return a, err
}

// write posts lines.
func (a *asked) write(ctx context.Context, lines []byte) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+a.provider.Address()+"/write", bytes.NewReader(lines))
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+a.relay)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close() //nolint:errcheck // read to its end
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusNoContent {
		err = fmt.Errorf("answered %s: %.300s", answer.Status, text)
	}
	return err
}

// get asks the provider's API.
func (a *asked) get(ctx context.Context, path string, v any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+a.in.Web+"/api/v1/providers/"+a.provider.Name+path, nil)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+a.token)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close() //nolint:errcheck // read to its end
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s was answered %s: %.300s", path, answer.Status, text)
	}
	return json.Unmarshal(text, v)
}

// catalogue measures one step.
func (s *scale) catalogue(ctx context.Context, count int) error {
	a, stop, err := s.provided(ctx, fmt.Sprint("gateways", count))
	if err != nil {
		return err
	}
	defer stop()
	begun := time.Now()
	if err := a.introduce(ctx, count); err != nil {
		return err
	}
	sent := time.Since(begun)
	var books api.Books
	err = until(ctx, 5*time.Minute, "the log being trimmed", func() (bool, error) {
		err := a.get(ctx, "/books", &books)
		return err == nil && books.Log.Messages <= 1, err
	})
	if err != nil {
		return err
	}
	stored := time.Since(begun)
	pid, err := a.in.InstancePID(ctx, a.provider.Name, "ingest")
	if err != nil {
		return err
	}
	ingest, err := install.Used(pid)
	if err != nil {
		return err
	}
	page, err := a.page(ctx, count)
	if err != nil {
		return err
	}
	lists, err := a.lists(ctx, count)
	if err != nil {
		return err
	}
	began, err := a.killed(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("%7d gateways: first readings acknowledged in %.1f s, all stored after %.0f s; head %s, ingest %s resident, %s at most; a page of the list %.0f ms, %s; ingest takes readings again %.2f s after SIGKILL\n",
		count, sent.Seconds(), stored.Seconds(), mega(int64(books.Head.Bytes)), mega(ingest.Resident), mega(ingest.Peak), page.Seconds()*1e3, lists, began.Seconds())
	return nil
}

// introduce sends a reading of each sensor of each gateway.
func (a *asked) introduce(ctx context.Context, count int) error {
	var lines []byte
	now := time.Now().UnixNano()
	for n := range count {
		lines = fmt.Appendf(lines, "unit,gateway=gw%06d ", n)
		for sensor := range sensorsEach {
			lines = fmt.Appendf(lines, "%ss%d=%d.%d", ","[:min(sensor, 1)], sensor, n%90, sensor%10)
		}
		lines = append(strconv.AppendInt(append(lines, ' '), now, 10), '\n')
		if (n+1)%linesEach == 0 || n == count-1 {
			if err := a.write(ctx, lines); err != nil {
				return err
			}
			lines = lines[:0]
		}
	}
	return nil
}

// page returns the median time of a page of 100 gateways somewhere in the list.
func (a *asked) page(ctx context.Context, count int) (time.Duration, error) {
	var took []time.Duration
	for n := range 11 {
		begun := time.Now()
		var answer api.Gateways
		after := url.Values{"after": {fmt.Sprintf("gw%06d", n*count/12)}, "limit": {"100"}}
		if err := a.get(ctx, "/gateways?"+after.Encode(), &answer); err != nil {
			return 0, err
		}
		if len(answer.Gateways) < 80 {
			return 0, fmt.Errorf("a page has %d gateways", len(answer.Gateways))
		}
		took = append(took, time.Since(begun))
	}
	slices.Sort(took)
	return took[len(took)/2], nil
}

// lists returns the median times of the list: sorted by rate, as a browser gets it, with each gateway's last day, and as CSV.
func (a *asked) lists(ctx context.Context, count int) (string, error) {
	browser, err := a.signedIn(ctx)
	if err != nil {
		return "", err
	}
	base := "http://" + a.in.Web
	var out []string
	for _, c := range []struct {
		what, path string
		least      int // bytes
	}{
		{"by rate", "/api/v1/providers/provider1/gateways?sort=-rate", 100 * 100},
		{"as a page of HTML", "/providers/provider1", 100 * 200},
		{"as one by last seen", "/providers/provider1?sort=-last_seen", 100 * 200},
		{"all as CSV by state", "/api/v1/providers/provider1/gateways?format=csv&sort=state", count * 30},
	} {
		took, err := median(7, func() error {
			size, err := read(ctx, browser, base+c.path)
			if err == nil && size < c.least {
				err = fmt.Errorf("%s is %d bytes, not a list of gateways", c.path, size)
			}
			return err
		})
		if err != nil {
			return "", err
		}
		out = append(out, fmt.Sprintf("%s %.0f ms", c.what, took.Seconds()*1e3))
	}
	return strings.Join(out, ", "), nil
}

// signedIn returns a browser with a session of the provider's admin.
func (a *asked) signedIn(ctx context.Context) (*http.Client, error) {
	text, err := a.in.CLI(ctx, "link", a.provider.Name)
	if err != nil {
		return nil, err
	}
	_, link, found := strings.Cut(string(text), "/sign-in?link=")
	if !found {
		return nil, fmt.Errorf("link printed %s", text)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	browser := &http.Client{Jar: jar}
	form := url.Values{"link": {strings.Fields(link)[0]}}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+a.in.Web+"/sign-in", strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer, err := browser.Do(request)
	if err != nil {
		return nil, err
	}
	return browser, answer.Body.Close()
}

// read reads an answer to its end and returns its length.
func read(ctx context.Context, client *http.Client, address string) (int, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0, err
	}
	answer, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close() //nolint:errcheck // read to its end
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s was answered %s: %.300s", address, answer.Status, text)
	}
	return len(text), err
}

// median returns the median time of some tries.
func median(tries int, try func() error) (time.Duration, error) {
	var took []time.Duration
	for range tries {
		begun := time.Now()
		if err := try(); err != nil {
			return 0, err
		}
		took = append(took, time.Since(begun))
	}
	slices.Sort(took)
	return took[len(took)/2], nil
}

// killed kills ingest and returns how long it takes until a reading is acknowledged again.
func (a *asked) killed(ctx context.Context) (time.Duration, error) {
	if err := a.in.KillInstance(ctx, a.provider.Name, "ingest"); err != nil {
		return 0, err
	}
	begun := time.Now()
	err := until(ctx, time.Minute, "a reading being acknowledged", func() (bool, error) {
		err := a.write(ctx, []byte("unit,gateway=gw000000 s0=1\n"))
		return err == nil, err
	})
	return time.Since(begun), err
}
