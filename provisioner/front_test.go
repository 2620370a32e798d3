package provisioner

import (
	"testing"

	"berth/schema"
)

// TestHowBrowsersReachThePagesIsChecked before anything is started.
func TestHowBrowsersReachThePagesIsChecked(t *testing.T) {
	for _, o := range []Options{
		{}, {WebURL: "https://berth.example.com"}, {WebURL: "http://berth.example.com:8080/a/b/"}, {Proxies: []string{"10.0.0.7", "10.1.0.0/16"}},
	} {
		if err := o.validateFront(); err != nil {
			t.Errorf("%q, %q: %v", o.WebURL, o.Proxies, err)
		}
	}
	for _, o := range []Options{
		{Proxies: []string{"proxy.example"}},
		{WebURL: "berth.example.com"},
		{WebURL: "ftp://berth.example.com"},
		{WebURL: "https://berth.example.com/?q"},
		{WebURL: "https://berth.example.com/#f"},
		{WebURL: "https://$(id)/"},
		{WebURL: `https://berth.example.com/a"b`},
		{WebURL: "https://berth.example.com//a"},
		{WebURL: "https://"},
	} {
		if err := o.validateFront(); !schema.Is(err, schema.Invalid) {
			t.Errorf("%q, %q is taken: %v", o.WebURL, o.Proxies, err)
		}
	}
	if o := (Options{WebURL: "https://berth.example.com/berth/"}); o.base() != "/berth" || o.publicURL() != "https://berth.example.com/berth" {
		t.Errorf("the base is %q of %q", o.base(), o.publicURL())
	}
}
