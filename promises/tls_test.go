package promises

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/internal/certs"
	"berth/internal/gateways"
	"berth/promises/install"
)

// TestEverythingComesByTLS sends by every protocol that gateways speak, half of them by TLS, to the one port of a provider,
// then requires TLS: plain connections end and are refused, the others go on, and all that was acknowledged is stored.
func TestEverythingComesByTLS(t *testing.T) {
	t.Parallel()
	in, _ := newInstall(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*recovery)
	defer cancel()
	provider, err := in.Add(ctx, "provider1")
	if err != nil {
		t.Fatal(err)
	}
	token, err := in.Token(ctx, "provider1")
	if err != nil {
		t.Fatal(err)
	}
	ca, err := in.CLI(ctx, "ca")
	if err != nil {
		t.Fatal(err)
	}
	trust, err := gateways.Trust(ca)
	if err != nil {
		t.Fatal(err)
	}
	fleet := func(prefix string, config *tls.Config, frames int) *gateways.Fleet {
		t.Helper()
		protocols := overTLS()
		f, err := gateways.New(gateways.Options{
			Address: provider.Address(), Key: provider.EnrolmentKey, Protocol: strings.Join(protocols, ","), Gateways: len(protocols),
			Prefix: prefix, TLS: config, Frames: frames,
		})
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	api := gateways.API{Base: "http://" + in.Web, Provider: "provider1", Token: token}
	all := func(f *gateways.Fleet, frames int) {
		t.Helper()
		f.Run(ctx)
		if want := int64(frames * len(overTLS())); f.Stats().Acked != want {
			t.Fatalf("%d frames were acknowledged, want %d", f.Stats().Acked, want)
		}
		if check, err := f.Check(ctx, api); err != nil || !check.Good() {
			t.Errorf("stored is %+v, %v", check, err)
		}
	}
	frames := 200
	if testing.Short() {
		frames = 20
	}
	all(fleet("plain", nil, frames), frames)
	all(fleet("tls", trust, frames), frames)
	if _, err := in.CLI(ctx, "set", "provider1", "--require-tls"); err != nil {
		t.Fatal(err)
	}
	refused := fleet("refused", nil, 1)
	within, stop := context.WithCancel(ctx)
	var run sync.WaitGroup
	run.Go(func() { refused.Run(within) })
	soon(t, "plain connections are refused", func() bool { return refused.Stats().Reconnects >= int64(len(overTLS())) })
	stop()
	run.Wait()
	if s := refused.Stats(); s.Acked != 0 {
		t.Errorf("of plain connections: %+v", s)
	}
	all(fleet("required", trust, frames), frames)
}

// TestARenewedCertificateNeedsNoRestart gives the ports a certificate by files, and replaces them as ACME clients do, while a
// connection is open: the next one is shown the new certificate, by the same ingest. A proxy before its pages is named, and
// believed.
func TestARenewedCertificateNeedsNoRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	authority, cert, key, renew := certificateFiles(t, dir)
	renew("first")
	in := newInstallOn(t, dir, filepath.Join(dir, "var"), "", "--tls-cert", cert, "--tls-key", key, "--web-proxy", "127.0.0.1")
	ctx, cancel := context.WithTimeout(t.Context(), 2*recovery)
	defer cancel()
	provider, err := in.Add(ctx, "provider1")
	if err != nil {
		t.Fatal(err)
	}
	trust, err := gateways.Trust(authority.CA())
	if err != nil {
		t.Fatal(err)
	}
	shown := func() (string, *tls.Conn) {
		t.Helper()
		c, err := (&tls.Dialer{Config: trust}).DialContext(ctx, "tcp", provider.Address())
		if err != nil {
			t.Fatal(err)
		}
		conn, ok := c.(*tls.Conn)
		if !ok {
			t.Fatalf("a %T", c)
		}
		return conn.ConnectionState().PeerCertificates[0].Subject.CommonName, conn
	}
	name, open := shown()
	defer open.Close()
	if name != "first" {
		t.Fatalf("the port shows %q", name)
	}
	pid, err := in.InstancePID(ctx, "provider1", "ingest")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := open.Write([]byte("HELLO g " + provider.EnrolmentKey + "\n")); err != nil {
		t.Fatal(err)
	}
	renew("second")
	soon(t, "the port shows the other one", func() bool {
		name, next := shown()
		_ = next.Close()
		return name == "second"
	})
	if _, err := open.Write([]byte("PUT 1 line 5\nm v=1")); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, len("OK\nACK 1\n"))
	_ = open.SetReadDeadline(time.Now().Add(recovery))
	for n := 0; n < len(answer); {
		k, err := open.Read(answer[n:])
		if err != nil {
			t.Fatalf("the open connection is answered %q, %v", answer[:n], err)
		}
		n += k
	}
	if string(answer) != "OK\nACK 1\n" {
		t.Errorf("the open connection is answered %q", answer)
	}
	if !believed(t, in) {
		t.Error("the proxy before the pages is named, and not believed")
	}
	if again, err := in.InstancePID(ctx, "provider1", "ingest"); err != nil || again != pid {
		t.Errorf("ingest was process %d and is %d, %v", pid, again, err)
	}
	if curl, err := exec.LookPath("curl"); err == nil {
		path := filepath.Join(dir, "ca.pem")
		if err := os.WriteFile(path, authority.CA(), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(ctx, curl, "-sS", "-o", os.DevNull, "-w", "%{http_code}", "--cacert", path, "https://"+provider.Address()+"/ping").CombinedOutput()
		if err != nil || string(out) != "204" {
			t.Errorf("curl: %v, %s", err, out)
		}
	}
}

// believed reports whether the pages believe somebody on this machine who says that a browser came by TLS.
func believed(t *testing.T, in *install.Install) bool {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+in.Web+"/sign-in", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-Forwarded-Proto", "https")
	answer, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Fatalf("the page to sign in is %d", answer.StatusCode)
	}
	return answer.Header.Get("Strict-Transport-Security") != ""
}

// overTLS returns the protocols that are spoken within TLS: CoAP is not.
func overTLS() []string {
	return slices.DeleteFunc(gateways.Protocols(), func(name string) bool { return strings.HasPrefix(name, "coap") })
}

// certificateFiles returns an authority, where a certificate for this machine and its key are to be found, and what writes
// them as ACME clients do, for a name.
func certificateFiles(t *testing.T, dir string) (authority *certs.Authority, cert, key string, renew func(name string)) {
	t.Helper()
	authority, err := certs.Open(filepath.Join(dir, "authority.json"), "promises")
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	return authority, cert, key, func(name string) {
		t.Helper()
		c, k, err := authority.Sign(&certs.Wish{Name: name, Hosts: []string{"127.0.0.1"}, Usages: []certs.Usage{certs.Server}, Until: time.Now().Add(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		for path, text := range map[string][]byte{cert: c, key: k} {
			if err := os.WriteFile(path+".new", text, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(path+".new", path); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestTheFrontDoorByTLS serves the pages below a path of a site, by TLS with a certificate of files, and replaces those: the
// new one is shown, nobody is signed out, and the provisioner is content throughout.
func TestTheFrontDoorByTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	authority, cert, key, renew := certificateFiles(t, dir)
	renew("first")
	in := newStopped(t, dir, filepath.Join(dir, "var"))
	site := "https://" + in.Web + "/berth"
	in.Flags = []string{"--web-cert", cert, "--web-key", key, "--web-url", site}
	link := begin(t, in)
	ctx, cancel := context.WithTimeout(t.Context(), recovery)
	defer cancel()
	secret, ok := strings.CutPrefix(link, site+"/sign-in?link=")
	if !ok {
		t.Fatalf("the link is %s", link)
	}
	trust, err := gateways.Trust(authority.CA())
	if err != nil {
		t.Fatal(err)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Jar: jar, Transport: &http.Transport{TLSClientConfig: trust, DisableKeepAlives: true}}
	page := func(answer *http.Response, err error) (shown string) {
		t.Helper()
		if err != nil {
			return ""
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err != nil || answer.StatusCode != http.StatusOK || !strings.Contains(string(text), `action="/berth/sign-out"`) {
			t.Fatalf("%s: status %d, %v: %s", answer.Request.URL, answer.StatusCode, err, text)
		}
		return answer.TLS.PeerCertificates[0].Subject.CommonName
	}
	if shown := page(client.PostForm(site+"/sign-in", url.Values{"link": {secret}})); shown != "first" { //nolint:bodyclose // page closes it
		t.Fatalf("the pages show %q", shown)
	}
	renew("second")
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for shown := ""; shown != "second"; {
		select {
		case <-tick.C:
			shown = page(client.Get(site + "/")) //nolint:bodyclose // page closes it
		case <-ctx.Done():
			t.Fatalf("the pages show %q on", shown)
		}
	}
	if out, err := in.CLI(ctx, "doctor"); err != nil {
		t.Errorf("doctor: %v: %s", err, out)
	}
}
