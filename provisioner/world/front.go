package world

import (
	"fmt"
	"strings"

	"berth/provisioner/plan"
	"berth/provisioner/runtime"
)

// Front is how browsers reach web.
type Front struct {
	Base         string       // path of the site that the pages are below; empty: none
	Proxies      []string     // addresses and networks of proxies before web
	Certificates Certificates // of the pages; nil: they speak plain HTTP
}

// fingerprint changes with what web is told of it: it is started anew then, which ends no session.
func (f *Front) fingerprint() string {
	certificate := ""
	if f.Certificates != nil {
		certificate = f.Certificates.Wanted()
	}
	return plan.FrontFingerprint(f.Base, strings.Join(f.Proxies, ","), certificate)
}

// tell tells web.
func (f *Front) tell(spec *runtime.Spec) error {
	if f.Base != "" {
		spec.Env["BERTH_BASE"] = f.Base
	}
	if len(f.Proxies) > 0 {
		spec.Env["BERTH_PROXIES"] = strings.Join(f.Proxies, ",")
	}
	if f.Certificates == nil {
		return nil
	}
	c, err := f.Certificates.Make("web")
	if err != nil {
		return fmt.Errorf("read the pages' certificate: %w", err)
	}
	spec.Files["BERTH_TLS_CERT"], spec.Files["BERTH_TLS_KEY"] = []byte(c.Certificate), []byte(c.Key)
	return nil
}
