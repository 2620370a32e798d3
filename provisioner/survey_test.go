package provisioner_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"berth/internal/houseapi"
	"berth/internal/testport"
)

// TestWebIsToldHowTheInstallationIs: with web's own credentials the daemon is asked for what ls and doctor show.
func TestWebIsToldHowTheInstallationIs(t *testing.T) {
	t.Parallel()
	data, base := t.TempDir(), testport.Base(t, 5)
	d := start(t, data, base)
	added := d.add(t)
	conn := d.web(t, data)
	ask := func() (s houseapi.Survey) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := conn.Ask(ctx, houseapi.SurveySubject, []byte("{}"), func(chunk []byte) error { return json.Unmarshal(chunk, &s) }); err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := ask()
	if len(s.Providers) != 1 || s.Providers[0].Provider != name || s.Providers[0].Port != added.Port || s.Providers[0].State != "ready" || len(s.Providers[0].Instances) != 2 {
		t.Errorf("it is told %+v", s)
	}
	// The instances are simulated and answer nothing: that is said, and nothing is made up.
	if p := s.Providers[0]; p.Rate != nil || p.Log != nil || p.Instances[0].Memory != nil {
		t.Errorf("of instances that answer nothing it is told %+v", p)
	}
	if len(s.Checks) == 0 || s.Passed == 0 || len(s.Disks) != 2 || s.Disks[0].Free == 0 || time.Since(s.At) > time.Minute {
		t.Errorf("it is told %+v", s)
	}
	// That a look is shown again for a while is tried in overview_test.go, where time is the test's own.
}
