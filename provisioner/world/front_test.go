package world

import (
	"testing"

	"berth/provisioner/runtime"
)

// TestWebIsToldHowBrowsersReachIt, and is another when that changes: then it is started anew.
func TestWebIsToldHowBrowsersReachIt(t *testing.T) {
	f := Front{Base: "/berth", Proxies: []string{"10.0.0.7", "10.1.0.0/16"}}
	spec := runtime.Spec{Env: map[string]string{}, Files: map[string][]byte{}}
	if err := f.tell(&spec); err != nil || spec.Env["BERTH_BASE"] != "/berth" || spec.Env["BERTH_PROXIES"] != "10.0.0.7,10.1.0.0/16" || len(spec.Files) > 0 {
		t.Errorf("%v, it is told %+v", err, spec)
	}
	prints := map[string]bool{}
	for _, f := range []Front{{}, f, {Base: f.Base}, {Proxies: f.Proxies}, {Base: f.Base, Proxies: f.Proxies[:1]}} {
		prints[f.fingerprint()] = true
	}
	if len(prints) != 5 || !prints[""] {
		t.Errorf("%d of 5 are told apart: %v", len(prints), prints)
	}
}
