package provisioner

import (
	"net/url"
	"strings"

	"berth/internal/httpserver"
	"berth/provisioner/portcert"
	"berth/provisioner/world"
	"berth/schema"
)

// validateFront returns an Invalid error that names the first thing said of how browsers reach web which cannot be.
func (o *Options) validateFront() error {
	if _, err := httpserver.ParseProxies(o.Proxies); err != nil {
		return err
	}
	u, err := url.Parse(o.publicURL())
	if o.WebURL != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || !httpserver.PlainHost(u.Host) || u.RawQuery != "" || u.Fragment != "") {
		return schema.Errorf(schema.Invalid, "%q is no address that browsers can open", o.WebURL).
			WithNext("give --web-url one such as https://berth.example.com, or https://example.com/berth")
	}
	return httpserver.CheckBase(o.base())
}

// publicURL returns how browsers reach the pages, empty if that was not said.
func (o *Options) publicURL() string { return strings.TrimRight(o.WebURL, "/") }

// base returns the path that the pages are below.
func (o *Options) base() string {
	u, err := url.Parse(o.publicURL())
	if err != nil {
		return ""
	}
	return u.EscapedPath()
}

// openFront reads what web is told of how browsers reach it.
func (p *Provisioner) openFront() (world.Front, error) {
	f := world.Front{Base: p.o.base(), Proxies: p.o.Proxies}
	if p.o.WebCert == "" && p.o.WebKey == "" {
		return f, nil
	}
	source, err := portcert.Open(portcert.Options{Cert: p.o.WebCert, Key: p.o.WebKey, Flags: "--web-cert and --web-key", Logger: p.o.Logger})
	if err != nil {
		return f, err
	}
	f.Certificates = source
	return f, nil
}
