package mail

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/url"
	"strings"

	"berth/schema"
)

// schemes are how the first line of a file of settings begins, with the security and the port that it means.
var schemes = map[string]struct{ security, port string }{
	"smtp": {StartTLS, "587"}, "smtps": {TLS, "465"}, "smtp+clear": {InClear, "25"},
}

// Parse reads the settings of a mail server as operators write them into a file. Its first line is a URL,
//
//	smtp://user:password@mail.example.com:587?from=reports@example.com
//
// smtp begins in clear and goes on in TLS or not at all, smtps is TLS from the beginning, smtp+clear has none. What follows
// the line, if anything, are certificates of whom to trust, as PEM; else the machine's own. Nothing at all is no server.
func Parse(text []byte) (Options, error) {
	line, certificates, _ := bytes.Cut(bytes.TrimSpace(text), []byte("\n"))
	if len(line) == 0 {
		return Options{}, nil
	}
	wrong := schema.Errorf(schema.Invalid, "the settings of mail cannot be read").
		WithNext("write them as smtp://user:password@mail.example.com:587?from=reports@example.com (or smtps://, smtp+clear://)")
	u, err := url.Parse(strings.TrimSpace(string(line)))
	if err != nil {
		return Options{}, wrong // not with its cause, which has the password
	}
	how, known := schemes[u.Scheme]
	if !known || u.Hostname() == "" || strings.Trim(u.Path, "/") != "" {
		return Options{}, wrong
	}
	port := u.Port()
	if port == "" {
		port = how.port
	}
	o := Options{Server: net.JoinHostPort(u.Hostname(), port), Security: how.security, User: u.User.Username(), From: u.Query().Get("from")}
	o.Password, _ = u.User.Password()
	if certificates = bytes.TrimSpace(certificates); len(certificates) > 0 {
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(certificates) {
			return Options{}, schema.Errorf(schema.Invalid, "what follows the first line of the settings of mail is no certificate").WithNext("put PEM there, or nothing")
		}
		o.Trust = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	return o, o.Validate()
}
