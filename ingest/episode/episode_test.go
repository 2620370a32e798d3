package episode

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"berth/schema/record"
)

var t0 = time.Date(2026, 11, 26, 10, 32, 0, 0, time.UTC)

func at(minutes float64) time.Time { return t0.Add(time.Duration(minutes * float64(time.Minute))) }

func say(states ...string) (all []Condition) {
	for _, s := range states {
		all = append(all, Condition{State: s, Detail: "why " + s})
	}
	return all
}

func want(t *testing.T, k *Keeper, all ...record.Episode) {
	t.Helper()
	for i := range all {
		if all[i].Detail == "" {
			all[i].Detail = "why " + all[i].State
		}
	}
	if diff := cmp.Diff(all, k.All()); diff != "" {
		t.Errorf("episodes (-want +got):\n%s", diff)
	}
}

func TestEpisodesHaveABeginningAndAnEnd(t *testing.T) {
	var k Keeper
	k.Tell(at(0), say("slow"))
	k.Tell(at(1), say("full", "slow"))
	want(t, &k, record.Episode{State: "full", From: at(1)}, record.Episode{State: "slow", From: at(0)})
	k.Tell(at(2), say("slow"))
	k.Tell(at(3), nil)
	want(t, &k, record.Episode{State: "slow", From: at(0), To: at(3)}, record.Episode{State: "full", From: at(1), To: at(2)})
	if now := k.Lasting(); len(now) != 0 {
		t.Errorf("these last: %v", now)
	}
}

func TestWhatBeginsAgainAtOnceIsTheSame(t *testing.T) {
	var k Keeper
	for i := range 6 {
		k.Tell(at(float64(i)/4), say([][]string{{"full"}, nil}[i%2]...))
	}
	want(t, &k, record.Episode{State: "full", From: at(0), To: at(1.25), Times: 2})
	k.Tell(at(2.25), say("full"))
	want(t, &k, record.Episode{State: "full", From: at(2.25)}, record.Episode{State: "full", From: at(0), To: at(1.25), Times: 2})
}

func TestWhatIsBriefIsNotKept(t *testing.T) {
	var k Keeper
	k.Tell(at(0), []Condition{{State: "replaying", Brief: 10 * time.Second}})
	k.Tell(at(0.1), nil)
	want(t, &k)
}

func TestARestartGoesOnWithWhatLasts(t *testing.T) {
	for _, loadFirst := range []bool{true, false} {
		var before, after Keeper
		before.Tell(at(0), say("slow", "disk"))
		before.Tell(at(1), say("slow"))
		data, changed, err := before.Encode()
		if err != nil || !changed {
			t.Fatalf("changed %v, error %v", changed, err)
		}
		if _, changed, _ := before.Encode(); changed {
			t.Error("it has changed since it was encoded")
		}
		load := func() {
			if err := after.Load(data); err != nil {
				t.Fatal(err)
			}
		}
		if loadFirst {
			load()
		}
		after.Tell(at(5), say("slow"))
		if !loadFirst {
			load()
		}
		want(t, &after, record.Episode{State: "slow", From: at(0)}, record.Episode{State: "disk", From: at(0), To: at(1)})
		after.Tell(at(6), nil)
		want(t, &after, record.Episode{State: "slow", From: at(0), To: at(6)}, record.Episode{State: "disk", From: at(0), To: at(1)})
	}
}

func TestEpisodesAreBounded(t *testing.T) {
	var k Keeper
	k.Tell(at(0), say("disk"))
	for i := range 50 {
		k.Tell(at(float64(10*i+1)), say("disk", "full"))
		k.Tell(at(float64(10*i+2)), say("disk"))
	}
	all := k.All()
	if len(all) != most || all[0].State != "disk" || !all[0].From.Equal(at(0)) || !all[1].To.Equal(at(492)) {
		t.Errorf("%d episodes are kept: %v", len(all), all[:2])
	}
}
