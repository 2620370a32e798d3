package httpserver

import (
	"fmt"
	"net/http"
	"testing"

	"berth/schema"
)

// TestForwardedHeadersAreBelievedOfNamedProxiesAlone asks as the chain of proxies that each case says would.
func TestForwardedHeadersAreBelievedOfNamedProxiesAlone(t *testing.T) {
	proxies, err := ParseProxies([]string{"10.0.0.7", "10.1.0.0/16", "2001:db8::/32"})
	if err != nil {
		t.Fatal(err)
	}
	front := &Front{Proxies: proxies}
	for _, c := range []struct {
		from, sender, proto, host string // what comes
		want                      string // who asks, how, and for which host
	}{
		{"192.0.2.9:4711", "203.0.113.5", "https", "evil.example", "192.0.2.9:4711 false berth.example"},
		{"10.0.0.7:4711", "203.0.113.5", "https", "pages.example", "203.0.113.5:0 true pages.example"},
		{"[::ffff:10.0.0.7]:4711", "203.0.113.5", "http", "", "203.0.113.5:0 false berth.example"},
		{"[2001:db8::1]:4711", "2001:db8:f::1, 203.0.113.5", "http, https", "a.example, b.example", "203.0.113.5:0 true b.example"},
		{"10.0.0.7:4711", "1.1.1.1, 203.0.113.5, 10.1.2.3", "https", "pages.example", "203.0.113.5:0 true pages.example"},
		{"10.0.0.7:4711", "10.1.2.3", "https", "pages.example", "10.1.2.3:0 true pages.example"},
		{"10.0.0.7:4711", "nonsense", "https", "pages.example", "10.0.0.7:4711 true pages.example"},
		{"10.0.0.7:4711", "", "", "x.example/<script>", "10.0.0.7:4711 false berth.example"},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://berth.example/", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.RemoteAddr = c.from
		for name, value := range map[string]string{"X-Forwarded-For": c.sender, "X-Forwarded-Proto": c.proto, "X-Forwarded-Host": c.host} {
			if value != "" {
				r.Header.Set(name, value)
			}
		}
		front.behind(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if got := fmt.Sprint(r.RemoteAddr, " ", IsHTTPS(r), " ", r.Host); got != c.want {
				t.Errorf("of %+v: %s", c, got)
			}
		})).ServeHTTP(nil, r)
	}
	for _, text := range []string{"", "proxy.example", "10.0.0.0/33"} {
		if _, err := ParseProxies([]string{text}); !schema.Is(err, schema.Invalid) {
			t.Errorf("%q is taken for a proxy: %v", text, err)
		}
	}
	for base, ok := range map[string]bool{"": true, "/berth": true, "/a/b-c": true, "berth": false, "/": false, "/berth/": false, "//x": false, "/a b": false, `/"`: false, "/?q": false} {
		if err := CheckBase(base); (err == nil) != ok {
			t.Errorf("the base %q: %v", base, err)
		}
	}
}

// TestACertificateThatCannotBeUsedIsSaid gives a key that does not belong to it.
func TestACertificateThatCannotBeUsedIsSaid(t *testing.T) {
	s := New(Options{Front: Front{Cert: []byte("no certificate"), Key: []byte("no key")}})
	if err := s.Start(t.Context(), "127.0.0.1:0"); !schema.Is(err, schema.Invalid) {
		t.Errorf("it is answered by %v", err)
	}
}
