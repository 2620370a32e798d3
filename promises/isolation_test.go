package promises

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
	"time"

	"berth/promises/install"
)

// tenant is a provider with everything that opens something of it.
type tenant struct {
	install.Provider
	token string
	admin *http.Client // signed in by the link that add printed
}

// TestOneProviderSeesNothingOfAnother tries what is one provider's (enrolment key, a gateway's own key, API token, the
// session of its admin) on everything of another: its port in every way of showing a key, every route of the API, every
// page. Each is tried on its own provider too, so that a refusal means something.
func TestOneProviderSeesNothingOfAnother(t *testing.T) {
	t.Parallel()
	in, _ := newInstall(t)
	a, b := newTenant(t, in, "alpha"), newTenant(t, in, "beta")
	for _, from := range []*tenant{a, b} {
		to := map[*tenant]*tenant{a: b, b: a}[from]
		for name, key := range map[string]string{"the enrolment key": from.EnrolmentKey, "a gateway's own key": gatewayKey(t, in, from.Name)} {
			gateway := map[bool]string{true: "own", false: "gw1"}[key != from.EnrolmentKey]
			for way, opens := range keyWays(t, gateway, key) {
				if !opens(from.Address()) {
					t.Errorf("%s of %s, shown by %s, does not open its own port", name, from.Name, way)
				}
				if opens(to.Address()) {
					t.Errorf("%s of %s, shown by %s, opens the port of %s", name, from.Name, way, to.Name)
				}
			}
		}
		tryRoutes(t, in, from, to)
	}
	if believed(t, in) {
		t.Error("anybody is believed who says that a browser came by TLS, though no proxy is named")
	}
}

func newTenant(t *testing.T, in *install.Install, name string) *tenant {
	t.Helper()
	w := newAdmin(t, in, name)
	var err error
	if w.token, err = in.Token(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	if !keyWays(t, "gw1", w.EnrolmentKey)["HELLO"](w.Address()) {
		t.Fatalf("%s takes no reading", name)
	}
	return w
}

// newAdmin adds a provider, or finds it added, and signs its admin in. It has no token.
func newAdmin(t *testing.T, in *install.Install, name string) *tenant {
	t.Helper()
	p, err := in.Add(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	w := &tenant{Provider: p, admin: &http.Client{
		Jar: jar, Transport: &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	w.signIn(t, in)
	return w
}

// signIn uses the sign-in link up, as its page's button does.
func (w *tenant) signIn(t *testing.T, in *install.Install) {
	t.Helper()
	link, err := url.Parse(w.AdminURL)
	if err != nil {
		t.Fatal(err)
	}
	page := status(t, w.admin, http.MethodGet, w.AdminURL, "", nil)
	if page != http.StatusOK {
		t.Fatalf("the sign-in page of %s is %d", w.Name, page)
	}
	form := url.Values{"link": {link.Query().Get("link")}}
	if got := status(t, w.admin, http.MethodPost, "http://"+in.Web+"/sign-in", "", form); got != http.StatusSeeOther {
		t.Fatalf("signing in as admin of %s is %d", w.Name, got)
	}
}

// status asks and returns the status alone.
func status(t *testing.T, client *http.Client, method, address, token string, form url.Values) int {
	t.Helper()
	code, _ := ask(t, client, method, address, token, form)
	return code
}

// ask asks, with a token if there is one, and returns the status and the body. A form is posted as a browser on the same
// origin posts it.
func ask(t *testing.T, client *http.Client, method, address, token string, form url.Values) (code int, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	if form != nil {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		request.Header.Set("Origin", "http://"+request.URL.Host)
		request.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 8<<20))
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

func gatewayKey(t *testing.T, in *install.Install, provider string) string {
	t.Helper()
	key, err := in.GatewayKey(t.Context(), provider, "own")
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// keyWays are the ways in which a gateway shows a key; each reports whether a port took a reading by it.
func keyWays(t *testing.T, gateway, key string) map[string]func(address string) bool {
	const line = "boiler temperature=21.5"
	post := func(change func(r *http.Request, q url.Values)) func(string) bool {
		return func(address string) bool {
			request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+address+"/write", strings.NewReader(line))
			if err != nil {
				t.Fatal(err)
			}
			q := url.Values{}
			change(request, q)
			request.URL.RawQuery = q.Encode()
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: recovery}
			answer, err := client.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			_ = answer.Body.Close()
			if answer.StatusCode != http.StatusNoContent && answer.StatusCode != http.StatusUnauthorized {
				t.Errorf("%s is answered %s", request.URL, answer.Status)
			}
			return answer.StatusCode == http.StatusNoContent
		}
	}
	return map[string]func(string) bool{
		"HELLO": func(address string) bool {
			conn, err := net.DialTimeout("tcp", address, recovery)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(recovery))
			_, _ = fmt.Fprintf(conn, "HELLO %s %s\nPUT 1 line %d\n%s", gateway, key, len(line), line)
			lines := bufio.NewScanner(io.LimitReader(conn, 1<<10))
			for lines.Scan() {
				if lines.Text() != "OK" {
					return lines.Text() == "ACK 1"
				}
			}
			return false
		},
		"Authorization: Bearer": post(func(r *http.Request, q url.Values) {
			r.Header.Set("Authorization", "Bearer "+key)
			q.Set("gateway", gateway)
		}),
		"Authorization: Token": post(func(r *http.Request, q url.Values) {
			r.Header.Set("Authorization", "Token "+key)
			q.Set("gateway", gateway)
		}),
		"Authorization: Basic": post(func(r *http.Request, _ url.Values) { r.SetBasicAuth(gateway, key) }),
		"u= and p=":            post(func(_ *http.Request, q url.Values) { q.Set("u", gateway); q.Set("p", key) }),
	}
}

// tryRoutes asks every route of another provider with the token and the session of one. What it may not see does not
// exist for it: 404, the same as for a provider that nobody has added.
func tryRoutes(t *testing.T, in *install.Install, from, to *tenant) {
	t.Helper()
	const gateway = "/gateways/gw1"
	api := []string{
		"/gateways", gateway, gateway + "/sensors", gateway + "/latest", gateway + "/series?sensor=boiler.temperature",
		gateway + "/readings", "/books", "/rejects",
	}
	pages := []string{"", "/connect", "/first?since=0", gateway, "/rejects", "/books", "/troubles"}
	plain := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	base := "http://" + in.Web
	for _, path := range api {
		for who, want := range map[string]int{from.Name: http.StatusOK, to.Name: http.StatusNotFound, "nobody": http.StatusNotFound} {
			address := base + "/api/v1/providers/" + who + path
			if got := status(t, plain, http.MethodGet, address, from.token, nil); got != want {
				t.Errorf("%s with the token of %s is %d, want %d", address, from.Name, got, want)
			}
			if got := status(t, from.admin, http.MethodGet, address, "", nil); got != want {
				t.Errorf("%s with the session of %s is %d, want %d", address, from.Name, got, want)
			}
		}
	}
	for _, path := range pages {
		for who, want := range map[string]int{from.Name: http.StatusOK, to.Name: http.StatusNotFound} {
			address := base + "/providers/" + who + path
			if got := status(t, from.admin, http.MethodGet, address, "", nil); got != want {
				t.Errorf("%s with the session of %s is %d, want %d", address, from.Name, got, want)
			}
		}
	}
}
