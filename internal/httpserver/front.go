package httpserver

import (
	"bytes"
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"berth/schema"
)

// Front is how clients reach a server: by TLS of its own, or by way of proxies, and under which path of a site.
type Front struct {
	Cert, Key []byte         // PEM of the certificate that the server shows and of its key; empty: it speaks plain HTTP
	Proxies   []netip.Prefix // whose X-Forwarded-For, X-Forwarded-Proto and X-Forwarded-Host are believed; nobody else's are
	Base      string         // path of the site that the routes are below, such as /berth; empty: they have the site to themselves
}

// tls returns how the server speaks TLS, nil if it does not; the error is Invalid.
func (f *Front) tls() (*tls.Config, error) {
	if len(f.Cert) == 0 && len(f.Key) == 0 {
		return nil, nil
	}
	pair, err := tls.X509KeyPair(f.Cert, f.Key)
	if err != nil {
		return nil, schema.Errorf(schema.Invalid, "the certificate of the pages and its key cannot be used").
			WithNext("give --web-cert and --web-key files of PEM that belong together").WithCause(err)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}, nil
}

// ParseProxies reads the addresses and networks of proxies, such as 10.0.0.7 and 10.1.0.0/16; the error is Invalid.
func ParseProxies(texts []string) (networks []netip.Prefix, err error) {
	for _, text := range texts {
		network, err := netip.ParsePrefix(text)
		if err != nil {
			var at netip.Addr
			if at, err = netip.ParseAddr(text); err == nil {
				network = netip.PrefixFrom(at, at.BitLen())
			}
		}
		if err != nil {
			return nil, schema.Errorf(schema.Invalid, "%q is no address and no network of a proxy", text).
				WithNext("give --web-proxy what the proxy connects from, such as 127.0.0.1 or 10.1.0.0/16")
		}
		networks = append(networks, network.Masked())
	}
	return networks, nil
}

// CheckBase returns an Invalid error unless the path can stand before those of pages.
func CheckBase(base string) error {
	u, err := url.Parse(base)
	if base == "" || err == nil && u.Path == base && u.EscapedPath() == base && base[0] == '/' && base[len(base)-1] != '/' &&
		!strings.Contains(base, "//") && !strings.ContainsAny(base, `"'<>&`) {
		return nil
	}
	return schema.Errorf(schema.Invalid, "%q is no path that pages can be below", base).
		WithNext("give --web-url one such as https://berth.example.com/berth")
}

type schemeKey struct{}

// IsHTTPS reports whether the client speaks TLS, with this server or with a named proxy before it.
func IsHTTPS(r *http.Request) bool {
	return r.TLS != nil || r.Context().Value(schemeKey{}) == "https"
}

// behind gives every request to next as the browser sent it: what a named proxy says of it holds, and the base is no part
// of its path. A path without the base is taken too: there are proxies that take it off.
func (f *Front) behind(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if f.named(HostOf(r.RemoteAddr)) {
			r = f.forwarded(r)
		}
		if f.Base == "" {
			next.ServeHTTP(rw, r)
			return
		}
		r, rw = f.below(r), &baseWriter{ResponseWriter: rw, base: f.Base}
		next.ServeHTTP(rw, r)
	})
}

func (f *Front) named(address string) bool {
	at, err := netip.ParseAddr(address)
	for _, network := range f.Proxies {
		if err == nil && network.Contains(at.Unmap().WithZone("")) {
			return true
		}
	}
	return false
}

// forwarded returns the request as the proxy got it. Of a chain of proxies the last sender that is not named is who asks:
// what stands before it, they may have made up.
func (f *Front) forwarded(r *http.Request) *http.Request {
	ctx := r.Context()
	if strings.EqualFold(last(r.Header, "X-Forwarded-Proto"), "https") {
		ctx = context.WithValue(ctx, schemeKey{}, "https")
	}
	r = r.WithContext(ctx)
	if host := last(r.Header, "X-Forwarded-Host"); PlainHost(host) {
		r.Host = host
	}
	senders := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, sender := range slices.Backward(senders) {
		at, err := netip.ParseAddr(strings.TrimSpace(sender))
		if err != nil {
			break
		}
		r.RemoteAddr = net.JoinHostPort(at.Unmap().String(), "0")
		if !f.named(at.String()) {
			break
		}
	}
	return r
}

// last returns the last value of a header that lists some: the nearest proxy's.
func last(h http.Header, name string) string {
	values := strings.Split(strings.Join(h.Values(name), ","), ",")
	return strings.TrimSpace(values[len(values)-1])
}

// below returns the request without the base in its path.
func (f *Front) below(r *http.Request) *http.Request {
	path, ok := strings.CutPrefix(r.URL.Path, f.Base)
	if !ok || path != "" && path[0] != '/' {
		return r
	}
	u := *r.URL
	u.Path = "/" + strings.TrimPrefix(path, "/")
	if raw, ok := strings.CutPrefix(u.RawPath, f.Base); ok {
		u.RawPath = "/" + strings.TrimPrefix(raw, "/")
	}
	r = r.WithContext(r.Context()) // a copy
	r.URL = &u
	return r
}

// Based puts the base before all paths in a page. Between a quote after an equals sign and a slash stands nothing but an
// attribute's path: the templates escape the quotes of all that they fill in.
func (f *Front) Based(page []byte) []byte {
	if f.Base == "" {
		return page
	}
	return bytes.ReplaceAll(page, []byte(`="/`), []byte(`="`+f.Base+`/`))
}

// baseWriter puts the base before the paths to which an answer sends the browser.
type baseWriter struct {
	http.ResponseWriter
	base string
}

// WriteHeader sends the head.
func (w *baseWriter) WriteHeader(status int) {
	for _, name := range []string{"Location", "Hx-Redirect"} {
		if to := w.Header().Get(name); strings.HasPrefix(to, "/") {
			w.Header().Set(name, w.base+to)
		}
	}
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (w *baseWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// PlainHost reports whether host can stand in a shell's command as it is: it comes from the request.
func PlainHost(host string) bool {
	for _, c := range []byte(host) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '.' && c != '-' && c != ':' {
			return false
		}
	}
	return host != "" && host[0] != '-'
}

// HostOf returns an address without its port.
func HostOf(remote string) string {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return remote
	}
	return host
}
