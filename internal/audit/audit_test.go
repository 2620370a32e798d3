package audit_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"berth/internal/audit"
	"berth/internal/bus/bustest"
	"berth/schema/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestChangesAreKeptInOrderAndApart(t *testing.T) {
	h := bustest.New(t)
	log := audit.New(h.Connect(h.Authority.Web())) // who may add and read, and nothing more
	if got, err := log.Newest(t.Context(), "north", time.Time{}, 3); err != nil || len(got) != 0 {
		t.Fatalf("before anything was changed: %v, %v", got, err)
	}
	var want []record.Change
	for i := range 5 {
		for _, provider := range []string{"north", "south", ""} {
			c := record.Change{Time: time.Unix(int64(i), 0).UTC(), Provider: provider, Who: "jane", By: record.ByPerson, Does: "token.create", What: fmt.Sprint(i)}
			if err := log.Record(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			if c.Version = record.Version; provider == "north" && i > 1 {
				want = append([]record.Change{c}, want...)
			}
		}
	}
	got, err := log.Newest(t.Context(), "north", time.Time{}, 3)
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
	if got, err := log.Newest(t.Context(), "", time.Time{}, 100); err != nil || len(got) != 15 || got[0].Provider != "" || got[2].Provider != "north" {
		t.Errorf("of all: %d, %v: %v", len(got), err, got)
	}
	stop := fmt.Errorf("enough")
	if err := log.Each(t.Context(), "south", time.Time{}, func(record.Change) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("the error of who reads came back as %v", err)
	}
}
