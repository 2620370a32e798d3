package web

import (
	"encoding/json"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"berth/internal/bus"
	"berth/schema/record"
)

// TestAQuestionWaitsUntilWhatWasAnnouncedIsHeard: a provider that was just added, or is started again, is asked once its reports
// are known, which is a moment after somebody was told that it is ready; others are not waited for.
func TestAQuestionWaitsUntilWhatWasAnnouncedIsHeard(t *testing.T) {
	entry := func(v any) bus.Entry {
		data, err := json.Marshal(v)
		check(t, err)
		return bus.Entry{Value: data}
	}
	provider := func(wanted record.Wanted) map[string]bus.Entry {
		return map[string]bus.Entry{"p": entry(record.Provider{Name: "p", Wanted: wanted})}
	}
	services := map[string]bus.Entry{"p.reports.1": entry(record.Service{Provider: "p", Role: record.RoleReports, Instance: "1", Address: "127.0.0.1:1", State: "ready"})}
	synctest.Test(t, func(t *testing.T) {
		d := newDirectory(slog.New(slog.DiscardHandler))
		asks := func() (took chan time.Duration) {
			took = make(chan time.Duration, 1)
			begun := time.Now()
			go func() {
				d.hear(t.Context(), "p")
				took <- time.Since(begun)
			}()
			synctest.Wait()
			return took
		}
		waits := func(what string, want time.Duration, act func()) {
			t.Helper()
			took := asks()
			if act != nil {
				<-time.After(want)
				act()
			}
			if got := <-took; got != want {
				t.Errorf("%s: it waits %v, want %v", what, got, want)
			}
		}
		waits("nobody knows it", 0, nil)
		d.setProviders(provider(record.Active))
		waits("it was added", time.Second, func() { d.setServices(services) })
		d.setServices(nil)
		waits("its reports went away", 0, nil)
		d.setProviders(provider(record.Stopped))
		waits("it is stopped", 0, nil)
		d.setProviders(provider(record.Active))
		waits("it is started and does not come", hearLimit, nil)
		waits("others were told something", hearLimit, func() { d.setServices(nil) })
		<-time.After(lately)
		waits("it has not come for long", 0, nil)
		d.setProviders(provider(record.Removed))
		d.setServices(services)
		d.setProviders(provider(record.Active))
		waits("it is known already", 0, nil)
	})
}
