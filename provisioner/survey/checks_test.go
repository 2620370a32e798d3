package survey

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/internal/headapi"
	"berth/internal/metrics"
	"berth/provisioner/doctor"
	"berth/provisioner/plan"
	"berth/provisioner/runtime"
	"berth/schema/record"
)

// wellSurvey returns a survey of two providers that are well.
func wellSurvey() *Survey {
	v := &Survey{World: plan.World{Providers: map[string]plan.State{}, House: plan.State{Instances: map[string]runtime.Instance{}}}}
	add := func(provider, role string) {
		r := runtime.Instance{Name: provider + "-" + role, Provider: provider, Role: role, ID: "i", State: runtime.Running}
		at := Instance{Provider: provider, Role: role, Runtime: r, Starts: 1, Up: true, Answer: metrics.Answer{Provider: provider, Role: role}}
		if role == record.RoleIngest {
			var sink metrics.Sink
			sink.Put(metrics.LogBytes, 1<<20)
			sink.Put(metrics.LogQuota, 1<<30)
			sink.Put(metrics.LogAge, 3)
			sink.Put(metrics.RejectsBytes, 1<<10)
			sink.Put(metrics.RejectsQuota, 1<<24)
			sink.Put(metrics.AsideBytes, 0)
			sink.Put(metrics.AsideQuota, 1<<24)
			sink.Put(metrics.Limit, 20_000, "connections")
			sink.Put(metrics.LimitUsed, 10, "connections")
			sink.Put(metrics.Limit, 0, "readings_per_second") // none
			sink.Put(metrics.LimitUsed, 1e6, "readings_per_second")
			sink.Put(metrics.Readings, 1_000, "accepted")
			sink.Put(metrics.Rejected, 5, "syntax")
			sink.Put(metrics.Rejected, 7, "time_window")
			at.Answer.Samples = sink.Samples()
		}
		v.Instances = append(v.Instances, at)
		if provider != "" {
			v.World.Providers[provider].Instances[role] = r
			v.World.Providers[provider].Services[role] = record.Service{Role: role, Instance: "i", State: "ready"}
		}
	}
	for _, name := range []string{"north", "south"} {
		v.Providers = append(v.Providers, record.Provider{Name: name, Wanted: record.Active, Settings: record.DefaultSettings()})
		v.World.Providers[name] = plan.State{
			Announced: true, Instances: map[string]runtime.Instance{}, Services: map[string]record.Service{}, Silent: map[string]plan.Silence{},
		}
		add(name, record.RoleIngest)
		add(name, record.RoleReports)
	}
	add("", record.RoleWeb)
	return v
}

// put sets a metric of north's ingest.
func (v *Survey) put(m *metrics.Metric, value float64, labels ...string) {
	a := &v.Instances[0].Answer
	for i := range a.Samples {
		if s := &a.Samples[i]; s.Name == m.Name && strings.Join(s.Labels, ",") == strings.Join(labels, ",") {
			s.Value = value
			return
		}
	}
	a.Samples = append(a.Samples, metrics.Sample{Name: m.Name, Labels: labels, Value: value})
}

// ends makes north's ingest one that has ended so often in a row.
func (v *Survey) ends(failures int, reason string) {
	r := &v.Instances[0].Runtime
	r.State, r.Failures, r.Reason = runtime.Ended, failures, reason
	v.Instances[0].Up = false
	v.Instances[0].Answer.Samples = nil
}

// says has north's ingest say that something is out of the ordinary.
func (v *Survey) says(state, detail string) {
	s := v.World.Providers["north"].Services[record.RoleIngest]
	from := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	s.State, s.Since = state, from
	s.Episodes = append(s.Episodes, record.Episode{State: state, Detail: detail, From: from})
	v.World.Providers["north"].Services[record.RoleIngest] = s
}

// TestTheDoctorFindsEachState simulates each state of an installation that an operator must hear of: the doctor names it,
// says how bad it is, and what to do.
func TestTheDoctorFindsEachState(t *testing.T) {
	for name, c := range map[string]struct {
		make  func(v *Survey)
		check string
		state doctor.State
		text  string // within the text
		next  string // within what to do
	}{
		"log half full": {
			func(v *Survey) { v.put(metrics.LogBytes, 600<<20); v.put(metrics.LogAge, 4000) },
			"log", doctor.Warn, "59 % full (600 MiB of 1.0 GiB), the oldest not yet stored came 1h6m40s ago", "provisioner logs north --role ingest",
		},
		"log full": {
			func(v *Survey) {
				v.says(headapi.StateFull, "the log is full: gateways wait until it is trimmed")
				v.put(metrics.LogBytes, 1<<30)
			},
			"log", doctor.Fail, "full since 2026-01-02 03:04:05 UTC: the log is full", "nothing acknowledged is lost",
		},
		"log confirms nothing": {
			func(v *Survey) { v.says(headapi.StateStalled, "NATS did not answer in time") },
			"log", doctor.Fail, "NATS did not answer in time", "see the line nats",
		},
		"head behind": {
			func(v *Survey) { v.says(headapi.StateReplaying, "the log is being read after a start") },
			"head", doctor.Warn, "the log is being read after a start", "wait",
		},
		"keyspace away": {
			func(v *Survey) {
				v.says(headapi.StateSlow, "the keyspace does not take what the head has: read-only file system")
			},
			"keyspace", doctor.Fail, "read-only file system", "until the log is full",
		},
		"disk nearly full": {
			func(v *Survey) { v.says(headapi.StateDisk, "gateways wait until there is room") },
			"disk", doctor.Fail, "gateways wait", "provisioner set north --retention",
		},
		"a broker away": {
			func(v *Survey) { v.says(headapi.StateSource, "the source plant is not connected: connection refused") },
			"sources", doctor.Warn, "plant is not connected", "provisioner source ls north",
		},
		"set aside": {
			func(v *Survey) { v.says(headapi.StateAside, "2 pieces") },
			"set aside", doctor.Warn, "2 pieces", "provisioner aside ls north",
		},
		"set aside, and its store nearly full": {
			func(v *Survey) { v.put(metrics.AsideBytes, 15<<20) },
			"set aside", doctor.Fail, "94 %", "provisioner aside ls north",
		},
		"a state of a newer program": {
			func(v *Survey) { v.says("odd", "something new") },
			"state", doctor.Warn, "odd since 2026-01-02 03:04:05 UTC: something new", "provisioner show north",
		},
		"rejects rise": {
			func(v *Survey) {
				v.put(metrics.Rejected, 107, "time_window")
				v.put(metrics.Readings, 1_200, "accepted")
			},
			"rejects", doctor.Warn, "100 readings or frames were refused in the last seconds, and 200 taken; mostly for time_window", "provisioner rejects ls north",
		},
		"rejects store full": {
			func(v *Survey) { v.put(metrics.RejectsBytes, 15<<20) },
			"rejects", doctor.Warn, "the store of rejects is 94 % full", "provisioner rejects ls north",
		},
		"limit of connections": {
			func(v *Survey) { v.put(metrics.LimitUsed, 19_000, "connections") },
			"limits", doctor.Warn, "19000 of at most 20000 connections", "provisioner set north --connections",
		},
		"keyspace as large as it may be": {
			func(v *Survey) { v.says(headapi.StateQuota, "the provider's keyspace holds 11 bytes, its limit is 10") },
			"limits", doctor.Fail, "its limit is 10", "provisioner set north --keyspace-bytes",
		},
		"port held": {
			func(v *Survey) {
				s := v.World.Providers["north"]
				s.Held = "java(812)"
				v.World.Providers["north"] = s
			},
			"ports", doctor.Fail, "java(812)", "stop who holds it",
		},
		"crash-looping": {
			func(v *Survey) { v.ends(plan.LoopAfter, "exit status 1") },
			"instances", doctor.Fail, "ingest is crash-looping since", "provisioner restart north",
		},
		"halted": {
			func(v *Survey) {
				r := v.Instances[0].Runtime
				r.Failures, r.Reason = 12, "exit status 1"
				v.Instances[0].Runtime, v.Instances[0].Up = runtime.Instance{}, false
				s := v.World.Providers["north"]
				s.Halted = map[string]plan.Halted{record.RoleIngest: {Instance: r}}
				v.World.Providers["north"] = s
			},
			"instances", doctor.Fail, "it ended 12 times soon after its start (exit status 1)", "provisioner restart north",
		},
		"its own health check fails": {
			func(v *Survey) { v.Instances[0].Runtime.Unhealthy = "it does not answer" },
			"instances", doctor.Fail, "ingest runs and is not healthy: it does not answer", "replaced by itself",
		},
		"an image that came back": {
			func(v *Survey) {
				w := record.Wish{Image: "i:1"}.Try("i:2", time.Time{}).Revert("it ended", time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
				v.Providers[0].SetRole(record.RoleIngest, w)
			},
			"instances", doctor.Warn, "i:2, tried until 2026-01-02 03:04:05 UTC, did not get healthy: it ended", "provisioner update north --role ingest --image i:1",
		},
		"an orphan": {
			func(v *Survey) {
				v.Orphans = []plan.Orphan{{Instance: runtime.Instance{Name: "north-oracle", Provider: "north", State: runtime.Running}, Why: "a pipeline has no such role"}}
			},
			"orphans", doctor.Warn, "north-oracle is running and no record wants it: a pipeline has no such role", "provisioner gc --apply",
		},
		"ends again and again": {
			func(v *Survey) {
				v.ends(4, "exit status 1")
				v.Instances[0].LastError = "open keyspace north: the file is damaged"
			},
			"instances", doctor.Fail, "ends again and again, 4 times (exit status 1): open keyspace north: the file is damaged", "provisioner logs north --role ingest",
		},
		"taken over": {
			func(v *Survey) { v.ends(1, "exit status 3") },
			"instances", doctor.Fail, "taken over by another instance", "second provisioner",
		},
		"does not run": {
			func(v *Survey) { v.ends(1, "signal: killed") },
			"instances", doctor.Fail, "ingest does not run", "provisioner plan",
		},
		"silent": {
			func(v *Survey) {
				v.Instances[0].Up = false
				v.World.Providers["north"].Silent[record.RoleIngest] = plan.Silence{Since: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
			},
			"instances", doctor.Fail, "ingest runs and has not answered since 03:04:05", "replaced by itself",
		},
		"slow to answer": {
			func(v *Survey) { v.Instances[0].Up = false },
			"instances", doctor.Warn, "did not answer within a second", "look again",
		},
		"web gone": {
			func(v *Survey) { v.Instances[4].Runtime.State, v.Instances[4].Up = runtime.Ended, false },
			"instances", doctor.Fail, "web does not run", "provisioner plan",
		},
		"waiting": {
			func(v *Survey) {
				v.Steps = append(v.Steps, plan.Step{Provider: "north", Kind: plan.Wait, Why: plan.InWords("for something")})
			},
			"instances", doctor.Warn, "for something", "provisioner plan",
		},
	} {
		t.Run(name, func(t *testing.T) {
			v := wellSurvey()
			c.make(v)
			bad := 0
			for _, got := range v.Checks(wellSurvey()) {
				if got.State == doctor.OK {
					continue
				}
				bad++
				if got.Name != c.check || got.State != c.state || !strings.Contains(got.Text, c.text) || !strings.Contains(got.Next, c.next) || got.Next == "" {
					t.Errorf("found %+v", got)
				}
				if want := "north"; got.Provider != want && name != "web gone" {
					t.Errorf("it is the trouble of %q", got.Provider)
				}
			}
			if bad != 1 {
				t.Errorf("%d things are wrong, want one", bad)
			}
		})
	}
}

func TestTheDoctorFindsNothingWhereNothingIs(t *testing.T) {
	for _, before := range []*Survey{nil, wellSurvey()} {
		v := wellSurvey()
		v.Providers = append(v.Providers, record.Provider{Name: "east", Wanted: record.Stopped})
		v.World.Providers["east"] = plan.State{Held: "java(812)"} // what is not to run misses no port
		all := v.Checks(before)
		for _, c := range all {
			if c.State != doctor.OK || c.Next != "" || c.Provider != "" {
				t.Errorf("found %+v", c)
			}
		}
		if len(all) != 12 {
			t.Errorf("%d checks, want one line for each", len(all))
		}
	}
}

func TestLastError(t *testing.T) {
	log := "panic: x\n" + `{"level":"ERROR","error":"first"}` + "\n" + `{"level":"ERROR","error":"last"}` + "\n" + `{"level":"INFO","error":"other"}` + "\n"
	if got := lastError([]byte(log)); got != "last" {
		t.Errorf("the last error is %q", got)
	}
	if got := lastError(nil); got != "" {
		t.Errorf("no log has the error %q", got)
	}
}

// TestMetricsOfASurvey: who does not answer is down, and has no other metrics.
func TestMetricsOfASurvey(t *testing.T) {
	v := wellSurvey()
	v.ends(3, "exit status 1")
	up := map[string]float64{}
	for _, a := range v.Answers() {
		if value, ok := a.Value(metrics.Up); ok {
			up[a.Provider+"-"+a.Role] = value
		}
		if value, ok := a.Value(metrics.InstanceFailed); ok && a.Provider == "north" && a.Role == "ingest" && value != 3 {
			t.Errorf("%v ends in a row, want 3", value)
		}
	}
	for name, want := range map[string]float64{"north-ingest": 0, "north-reports": 1, "south-ingest": 1, "south-reports": 1, "-web": 1} {
		if got, ok := up[name]; !ok || got != want {
			t.Errorf("%s is %v %v, want %v", name, got, ok, want)
		}
	}
}

// TestEveryStateIsKnownToTheDoctorAndTheOperator: a state that ingest can announce has a line of its own, and each check
// and state is told of in the document for operators.
func TestEveryStateIsKnownToTheDoctorAndTheOperator(t *testing.T) {
	document, err := os.ReadFile(filepath.Join("..", "..", "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(document)
	for _, state := range headapi.States() {
		if state == headapi.StateReady {
			continue
		}
		if _, ok := episodes[state]; !ok {
			t.Errorf("the doctor does not know what to say of %q", state)
		}
		if !strings.Contains(text, `state="`+state+`"`) && !strings.Contains(text, `"`+state+`"`) {
			t.Errorf("docs/operations.md does not tell of the state %q", state)
		}
	}
	for _, c := range wellSurvey().Checks(nil) {
		if c.Name != "state" && !strings.Contains(text, "\n`"+c.Name+"` ") && !strings.Contains(text, "`"+c.Name+"` fail") && !strings.Contains(text, "`"+c.Name+"` warn") {
			t.Errorf("docs/operations.md does not tell of the check %q", c.Name)
		}
	}
}
