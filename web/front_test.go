package web

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/internal/certs"
	"berth/internal/httpserver"
	"berth/internal/testport"
	"berth/schema/record"
)

// TestPagesBelowABase follows every link of the pages through what a proxy passes on as it came, and finds none that leads
// out of the base.
func TestPagesBelowABase(t *testing.T) {
	h := newHouse(t, func(o *Options) { o.Front.Base = "/berth" })
	b := h.browser()
	a := b.get("/berth/providers/north?x=1")
	if to := a.header.Get("Location"); !strings.HasPrefix(to, "/berth/sign-in?next=%2Fproviders%2Fnorth%3Fx%3D1") {
		t.Fatalf("a stranger is sent to %q", to)
	}
	a = b.post("/berth/sign-in", url.Values{"link": {h.link(record.Operator, "")}, "next": {"/providers/north?x=1"}}, nil)
	if to := a.header.Get("Location"); a.status != http.StatusSeeOther || to != "/berth/providers/north?x=1" {
		t.Fatalf("status %d leads to %q", a.status, to)
	}
	links := regexp.MustCompile(`(?:href|src|action|hx-get)="([^"?#]*)`)
	seen, open := map[string]bool{}, []string{"/berth", "/berth/providers/north/gateways/crane"}
	for len(open) > 0 {
		path := open[0]
		open = open[1:]
		a := b.get(path)
		known := !strings.HasSuffix(path, "/gateways/crane%20%3C1%3E") && !strings.HasSuffix(path, "/first") // to the simulated reports; without its query
		if a.status >= 400 && known {
			t.Errorf("%s: status %d", path, a.status)
		}
		if !strings.HasPrefix(a.header.Get("Content-Type"), "text/html") {
			continue
		}
		if config := regexp.MustCompile(`data-config="[^"]*`).FindString(a.body); strings.Count(config, "/api/") != strings.Count(config, "/berth/api/") {
			t.Errorf("%s: the charts ask at %s", path, config)
		}
		for _, m := range links.FindAllStringSubmatch(a.body, -1) {
			to := strings.ReplaceAll(m[1], "&amp;", "&")
			switch {
			case to == "" || seen[to]:
				continue
			case !strings.HasPrefix(to, "/berth/") && strings.HasPrefix(to, "/"):
				t.Errorf("%s leads out of the base, to %s", path, to)
			case strings.HasPrefix(to, "/berth/") && !strings.HasSuffix(to, "/sign-out"):
				open = append(open, to)
			}
			seen[to] = true
		}
	}
	if len(seen) < 25 {
		t.Errorf("only %d links were found: %v", len(seen), seen)
	}
	if a := b.get("/providers/north"); a.status != http.StatusOK { // of a proxy that takes the base off
		t.Errorf("without the base: status %d", a.status)
	}
	if a := b.get("/berthproviders/north"); a.status != http.StatusNotFound {
		t.Errorf("beside the base: status %d", a.status)
	}
	h.reports["north"].asked()
	b.get("/berth/api/v1/providers/north/gateways/a%2Fb/sensors")
	if asked := h.reports["north"].asked(); len(asked) != 1 || !strings.HasSuffix(asked[0].URL.EscapedPath(), "/gateways/a%2Fb/sensors") {
		t.Errorf("a slash in a name is no part of the path: asked %v", asked)
	}
	if a := h.browser().do(http.MethodGet, "/berth/providers/north/troubles", "", map[string]string{"Hx-Request": "true"}); a.header.Get("Hx-Redirect") != "/berth/sign-in" {
		t.Errorf("a part of a page leads whose session has ended to %q", a.header.Get("Hx-Redirect"))
	}
}

// TestPagesByTLS shows a certificate of its own: cookies are then of this host, and by TLS alone.
func TestPagesByTLS(t *testing.T) {
	authority, err := certs.New("test")
	check(t, err)
	cert, key, err := authority.Sign(&certs.Wish{Name: "pages", Hosts: []string{"127.0.0.1"}, Usages: []certs.Usage{certs.Server}, Until: time.Now().Add(time.Hour)})
	check(t, err)
	h := newHouse(t, func(o *Options) { o.Front = httpserver.Front{Cert: cert, Key: key} })
	trust := x509.NewCertPool()
	trust.AppendCertsFromPEM(authority.CA())
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trust, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+h.web.Addr()+"/sign-in",
		strings.NewReader(url.Values{"link": {h.link(record.Operator, "")}}.Encode()))
	check(t, err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer, err := client.Do(r)
	check(t, err)
	check(t, answer.Body.Close())
	if c := answer.Cookies(); answer.StatusCode != http.StatusSeeOther || len(c) != 1 || !c[0].Secure || !strings.HasPrefix(c[0].Name, "__Host-") {
		t.Errorf("status %d, cookies %v", answer.StatusCode, answer.Cookies())
	}
	if answer.Header.Get("Strict-Transport-Security") == "" {
		t.Error("browsers are not told to come by TLS")
	}
	old := tls.Dialer{Config: &tls.Config{RootCAs: trust, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}}
	if conn, err := old.DialContext(t.Context(), "tcp", h.web.Addr()); err == nil {
		check(t, conn.Close())
		t.Error("TLS 1.1 is spoken")
	}
}

// TestBehindNginx signs in, makes a link, and follows live readings and a log through a real nginx with TLS, which has the pages
// below a path.
func TestBehindNginx(t *testing.T) {
	nginx := "/usr/sbin/nginx"
	if _, err := os.Stat(nginx); err != nil {
		t.Skip("nginx is not installed: Debian has it in nginx-light")
	}
	h := newHouse(t, func(o *Options) { o.Front.Base = "/berth" })
	address, trust := startNginx(t, nginx, h.web.Addr())
	h.written = make(chan string)
	jar, err := cookiejar.New(nil)
	check(t, err)
	sender := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trust, MinVersion: tls.VersionTLS12}, DialContext: sender.DialContext}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Jar: jar}
	site := "https://" + address + "/berth"
	resp, err := client.PostForm(site+"/sign-in", url.Values{"link": {h.link(record.Admin, "north")}})
	check(t, err)
	page, err := io.ReadAll(resp.Body)
	check(t, err)
	check(t, resp.Body.Close())
	if resp.StatusCode != http.StatusOK || resp.Request.URL.String() != site+"/providers/north" || !bytes.Contains(page, []byte(`href="/berth/providers/north/gateways/`)) {
		t.Fatalf("signed in: status %d at %s: %s", resp.StatusCode, resp.Request.URL, page)
	}
	at, err := url.Parse(site)
	check(t, err)
	if c := jar.Cookies(at); len(c) == 0 || !strings.HasPrefix(c[0].Name, "__Host-") {
		t.Errorf("cookies %v", c)
	}
	if all, err := h.web.audit.Newest(t.Context(), "north", time.Time{}, 1); err != nil || len(all) != 1 || all[0].Address != "127.0.0.2" {
		t.Errorf("who has signed in, and from where: %+v, %v", all, err)
	}

	// Links are to the site, whatever the one who asks for them says of it.
	invite := url.Values{"form": {formToken.FindStringSubmatch(string(page))[1]}, "act": {"invite"}, "role": {"viewer"}}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, site+"/providers/north/people", strings.NewReader(invite.Encode()))
	check(t, err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", "https://"+address)
	r.Header.Set("X-Forwarded-Host", "elsewhere.example.com")
	resp, err = client.Do(r)
	check(t, err)
	page, err = io.ReadAll(resp.Body)
	check(t, err)
	check(t, resp.Body.Close())
	if found := shownLink.FindSubmatch(page); resp.StatusCode != http.StatusOK || !bytes.Contains(page, []byte(">"+site+"/sign-in?link=")) {
		t.Errorf("invited: status %d, the link is %q", resp.StatusCode, found)
	}
	followLog(t, h, client, site)

	more := make(chan string, 3) // all that is sent: nobody waits for a stream that has ended
	h.reports["north"].with(func(w http.ResponseWriter, r *http.Request) {
		stream := httpserver.NewStream(w, r)
		defer stream.Close()
		w.Header().Set("Content-Type", "text/event-stream")
		for {
			select {
			case event := <-more:
				_, _ = io.WriteString(w, event)
				check(t, http.NewResponseController(w).Flush())
			case <-r.Context().Done():
				return
			}
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err = http.NewRequestWithContext(ctx, http.MethodGet, site+"/api/v1/providers/north/gateways/crane/live", nil)
	check(t, err)
	more <- "data: first\n\n"
	live, err := client.Do(r)
	check(t, err)
	defer live.Body.Close()
	lines := bufio.NewScanner(live.Body)
	for _, want := range []string{"first", "second", "third"} { // each is here before the next is sent
		if !lines.Scan() || lines.Text() != "data: "+want || !lines.Scan() {
			t.Fatalf("%q instead of %s: %v", lines.Text(), want, lines.Err())
		}
		switch want {
		case "first":
			more <- "data: second\n\n"
		case "second":
			more <- "data: third\n\n"
		}
	}
}

// followLog follows a log through a proxy from where its page says that it is: each line is here before the next is written.
func followLog(t *testing.T, h *house, client *http.Client, site string) {
	t.Helper()
	jar, err := cookiejar.New(nil)
	check(t, err)
	operator := &http.Client{Transport: client.Transport, Jar: jar}
	resp, err := operator.PostForm(site+"/sign-in", url.Values{"link": {h.link(record.Operator, "")}, "next": {"/providers/north/operate/logs"}})
	check(t, err)
	page, err := io.ReadAll(resp.Body)
	check(t, err)
	check(t, resp.Body.Close())
	stream := regexp.MustCompile(`data-stream="([^"]*)" data-after="([^"]+)"`).FindSubmatch(page)
	if stream == nil {
		t.Fatalf("status %d at %s, which follows nothing: %s", resp.StatusCode, resp.Request.URL, page)
	}
	at, err := url.Parse(site)
	check(t, err)
	at.Path, at.RawQuery, _ = strings.Cut(html.UnescapeString(string(stream[1])), "?")
	at.RawQuery += "&after=" + string(stream[2])
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	check(t, err)
	follow, err := operator.Do(r)
	check(t, err)
	defer follow.Body.Close()
	lines := bufio.NewScanner(follow.Body)
	for _, text := range []string{"one", "two", "three"} {
		select {
		case h.written <- "\n" + text + "\n":
		case <-ctx.Done():
			t.Fatal("nobody follows the log")
		}
		for lines.Scan() && lines.Text() != "data: "+text {
		}
		if lines.Err() != nil || lines.Text() != "data: "+text {
			t.Fatalf("%s did not come: status %d at %s: %v", text, follow.StatusCode, at, lines.Err())
		}
	}
}

// startNginx starts one before web, as docs/operations.md says, until the test ends.
func startNginx(t *testing.T, program, web string) (address string, trust *x509.CertPool) {
	t.Helper()
	dir := t.TempDir()
	authority, err := certs.New("test")
	check(t, err)
	cert, key, err := authority.Sign(&certs.Wish{Name: "site", Hosts: []string{"127.0.0.1"}, Usages: []certs.Usage{certs.Server}, Until: time.Now().Add(time.Hour)})
	check(t, err)
	check(t, os.WriteFile(filepath.Join(dir, "cert.pem"), cert, 0o600))
	check(t, os.WriteFile(filepath.Join(dir, "key.pem"), key, 0o600))
	address = testport.Address(t)
	document, err := os.ReadFile("../docs/operations.md")
	check(t, err)
	_, location, found := strings.Cut(string(document), "```nginx\n")
	location, _, ended := strings.Cut(location, "```")
	if !found || !ended {
		t.Fatal("docs/operations.md says nothing of nginx")
	}
	user := ""
	if os.Getuid() == 0 {
		user = "user root;\n"
	}
	config := fmt.Sprintf(user+`daemon off; worker_processes 1; pid %[1]s/pid; error_log %[1]s/error.log;
events {}
http {
  access_log off;
  client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/fastcgi; uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
  server {
    listen %[2]s ssl;
    ssl_certificate %[1]s/cert.pem; ssl_certificate_key %[1]s/key.pem;
%[3]s  }
}
`, dir, address, strings.ReplaceAll(location, "127.0.0.1:8080", web))
	check(t, os.WriteFile(filepath.Join(dir, "nginx.conf"), []byte(config), 0o600))
	cmd := exec.Command(program, "-c", filepath.Join(dir, "nginx.conf"), "-e", filepath.Join(dir, "error.log"))
	var said bytes.Buffer
	cmd.Stderr = &said
	check(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(said.String())
		}
	})
	trust = x509.NewCertPool()
	trust.AppendCertsFromPEM(authority.CA())
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(time.Minute); ; {
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
		if err == nil {
			check(t, c.Close())
			return address, trust
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("nginx does not listen: %s", said.String())
		}
	}
}
