package promises

import (
	"context"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"berth/internal/api"
	"berth/internal/gateways"
	"berth/promises/install"
)

// snippetPrograms are what the snippets run that a machine may not have, and where that comes from.
var snippetPrograms = map[string]struct{ name, from string }{
	"nc": {"nc", "netcat-openbsd"}, "openssl": {"openssl", "openssl"}, "curl_line": {"curl", "curl"}, "curl_json": {"curl", "curl"},
	"mqtt": {"mosquitto_pub", "mosquitto-clients"}, "coap": {"coap-client-openssl", "libcoap3-bin"}, "python": {"python3", "python3"},
	"telegraf": {"telegraf", "`make bin/telegraf`, or InfluxData"},
}

// TestEverySnippetSendsAReading pastes what the page for connecting a gateway shows into a shell, as it stands, where TLS may
// be spoken and where it must be: each stores one reading.
func TestEverySnippetSendsAReading(t *testing.T) {
	t.Parallel()
	in, dir := newInstall(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*recovery)
	defer cancel()
	if _, err := in.Add(ctx, "provider1"); err != nil {
		t.Fatal(err)
	}
	token, err := in.Token(ctx, "provider1")
	if err != nil {
		t.Fatal(err)
	}
	source := gateways.API{Base: "http://" + in.Web, Provider: "provider1", Token: token}
	accepted := func() uint64 {
		var books api.Books
		if err := source.Books(ctx, &books); err != nil {
			t.Fatal(err)
		}
		return books.Readings.Accepted
	}
	programs, err := filepath.Abs("../bin")
	if err != nil {
		t.Fatal(err)
	}
	shell := func(text string) ([]byte, error) {
		cmd := exec.CommandContext(ctx, "bash", "-c", `PATH=$0:$1:$PATH; export BERTH_DATA=$2; eval "$3"`, in.Bin, programs, in.Data, text)
		cmd.Dir = dir
		return cmd.CombinedOutput()
	}
	paste := func(t *testing.T, id, text string) {
		if p, ok := snippetPrograms[id]; ok {
			if _, err := shell("command -v " + p.name); err != nil {
				t.Skipf("%s is not installed: it comes from %s", p.name, p.from)
			}
		}
		before := accepted()
		out, err := shell(text)
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		want := before + 1
		if id == "ca" {
			want = before
		}
		got := before
		soon(t, "a reading is stored", func() bool { got = accepted(); return got >= want }) // some programs wait for no answer
		if got != want {
			t.Errorf("%d readings were stored, want %d; it said %s", got, want, out)
		}
	}
	page := connectPage(ctx, t, in)
	for _, s := range page("nc") {
		t.Run(s[0], func(t *testing.T) { paste(t, s[0], s[1]) })
	}
	if _, err := in.CLI(ctx, "set", "provider1", "--require-tls"); err != nil {
		t.Fatal(err)
	}
	for _, s := range page("openssl") {
		t.Run("tls/"+s[0], func(t *testing.T) { paste(t, s[0], s[1]) })
	}
}

var snippetShown = regexp.MustCompile(`(?s)<code id="snippet-([a-z_]+)">(.*?)</code>`)

// connectPage signs in and returns what loads the page with the snippets, until one of them is there, and returns them all:
// id and text.
func connectPage(ctx context.Context, t *testing.T, in *install.Install) func(until string) [][2]string {
	t.Helper()
	link, err := in.CLI(ctx, "link")
	if err != nil {
		t.Fatal(err)
	}
	_, secret, ok := strings.Cut(string(link), "link=")
	if !ok {
		t.Fatalf("the link is %s", link)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Jar: jar, Timeout: recovery}
	signed, err := client.PostForm("http://"+in.Web+"/sign-in", url.Values{"link": {strings.Fields(secret)[0]}})
	if err != nil {
		t.Fatal(err)
	}
	_ = signed.Body.Close()
	return func(until string) (all [][2]string) {
		t.Helper()
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			answer, err := client.Get("http://" + in.Web + "/providers/provider1/connect")
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(answer.Body)
			_ = answer.Body.Close()
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range snippetShown.FindAllStringSubmatch(string(text), -1) {
				all = append(all, [2]string{m[1], html.UnescapeString(m[2])})
			}
			if strings.Contains(string(text), `id="snippet-`+until+`"`) {
				return all
			}
			select {
			case <-tick.C:
				all = nil
			case <-ctx.Done():
				t.Fatalf("no snippet %s comes: %s", until, text)
			}
		}
	}
}
