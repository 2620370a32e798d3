package docker

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"berth/provisioner/runtime"
)

// options are of a runtime of the simulated engine.
func (s *simulated) options(logs string) Options {
	return Options{
		Host: "tcp://" + s.server.Listener.Addr().String(), Install: "i1", Logs: logs, User: "1:1", Logger: slog.New(slog.DiscardHandler),
	}
}

// wish is what should run, by name.
type wish map[string]runtime.Spec

// want adds an instance: of provider n, of a role, of a spec, with memory in MiB.
func (w wish) want(n int, role, hash string, memory int64) {
	provider := fmt.Sprintf("provider%d", n)
	s := runtime.Spec{
		Name: provider + "-" + role, Provider: provider, Role: role, ID: "one", Hash: hash, Version: "v1",
		Resources: runtime.Resources{Memory: memory << 20}, Files: map[string][]byte{"BERTH_CREDENTIALS": []byte("secret of " + provider + " " + hash)},
	}
	if role == "ingest" {
		s.Ports = []runtime.Port{{Host: "127.0.0.1", Number: 6000 + n, UDP: true}}
	}
	w[s.Name] = s
}

// provisioner is as much of a provisioner as acts on a runtime: it looks, does what is missing, and is started again when it
// was killed.
type provisioner struct {
	engine *simulated
	logs   string
	r      *Runtime
}

// reach makes what is wanted so, however often something goes wrong.
func (p *provisioner) reach(w wish) error {
	var err error
	for range 60 {
		if done, e := p.round(w); done && e == nil {
			return nil
		} else if e != nil {
			err = e
		}
		p.engine.mu.Lock()
		dead := p.engine.dead
		p.engine.mu.Unlock()
		if dead {
			p.end()
			p.engine.mu.Lock()
			p.engine.dead = false
			p.engine.mu.Unlock()
		}
	}
	return fmt.Errorf("it is never so: %w", err)
}

func (p *provisioner) end() {
	if p.r != nil {
		_ = p.r.Close(context.Background())
		p.r = nil
	}
}

// round looks once and does what the plan would have it do. It reports whether all was as wanted.
func (p *provisioner) round(w wish) (done bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if p.r == nil {
		if p.r, err = New(ctx, p.engine.options(p.logs)); err != nil {
			p.r = nil
			return false, err
		}
	}
	all, err := p.r.Instances(ctx)
	if err != nil {
		return false, err
	}
	has := map[string]runtime.Instance{}
	for _, i := range all {
		has[i.Name] = i
		if _, ok := w[i.Name]; !ok {
			return false, p.r.Stop(ctx, i.Name, runtime.StopOptions{Purge: true})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(w)) {
		s := w[name]
		switch i, ok := has[name]; {
		case !ok, i.State != runtime.Running:
			return false, p.r.Start(ctx, s)
		case i.Hash != s.Hash:
			return false, p.r.Stop(ctx, name, runtime.StopOptions{})
		case i.Resources.Memory != s.Resources.Memory:
			return false, p.r.Update(ctx, name, s.Resources)
		}
	}
	return true, nil
}

// differs returns how what the engine has differs from what is wanted: containers with their secrets, networks, and a
// stranger's container, which stays.
func (s *simulated) differs(w wish) string {
	wantContainers, wantNetworks := []string{"stranger created 0 MiB [] []"}, []string{"berth-i1-control"}
	for _, spec := range w {
		own := "berth-i1-net-" + spec.Provider
		wantContainers = append(wantContainers, fmt.Sprintf("berth-i1-%s-%s running %d MiB [berth-i1-control %s] [%s]", spec.Name, spec.Hash,
			spec.Resources.Memory>>20, own, spec.Files["BERTH_CREDENTIALS"]))
		if !slices.Contains(wantNetworks, own) {
			wantNetworks = append(wantNetworks, own)
		}
	}
	slices.Sort(wantContainers)
	slices.Sort(wantNetworks)
	containers, networks := s.names()
	return cmp.Diff(wantContainers, containers) + cmp.Diff(wantNetworks, networks)
}

// withStranger puts a container into the engine that is not ours.
func (s *simulated) withStranger() *simulated {
	s.containers["s"] = &simContainer{id: "s", name: "stranger", status: container.StateCreated, networks: map[string]bool{}}
	return s
}

// story is what is wanted one after the other: a provider is added, gets more memory, is upgraded, a second one comes, the
// first one goes, and all.
func story() []wish {
	stages := make([]wish, 6)
	for n := range stages {
		stages[n] = wish{}
	}
	for n, memory := range []int64{100, 200} {
		stages[n].want(1, "ingest", "aaa", memory)
		stages[n].want(1, "reports", "aaa", 100)
	}
	for _, n := range []int{2, 3} {
		stages[n].want(1, "ingest", "bbb", 200)
		stages[n].want(1, "reports", "bbb", 100)
	}
	for _, n := range []int{3, 4} {
		stages[n].want(2, "ingest", "ccc", 100)
		stages[n].want(2, "reports", "ccc", 100)
	}
	return stages
}

// TestEveryCallMayGoWrong has each call of the story go wrong in each way, one at a time: what is wanted is reached all the
// same, and nothing is left over.
func TestEveryCallMayGoWrong(t *testing.T) {
	for _, f := range []fault{before, after, cut, killed} {
		t.Run(strings.ReplaceAll(f.String(), " ", "_"), func(t *testing.T) {
			step := 1
			if testing.Short() {
				step = 7
			}
			at := 1
			for tell(t, f, at) {
				at += step
			}
			if at < 60 {
				t.Errorf("the story has %d calls only", at)
			}
			t.Logf("%d calls, each %s once", at/step, f)
		})
	}
}

// tell tells the story with the given call going wrong, and reports whether there was such a call.
func tell(t *testing.T, f fault, at int) (met bool) {
	t.Helper()
	s := newSimulated(t).withStranger()
	s.wrong = func(call int) fault {
		if call == at {
			met = true
			return f
		}
		return none
	}
	p := &provisioner{engine: s, logs: t.TempDir()}
	defer p.end()
	for n, w := range story() {
		if err := p.reach(w); err != nil {
			t.Fatalf("call %d %s, stage %d: %v", at, f, n, err)
		}
		if d := s.differs(w); d != "" {
			t.Fatalf("call %d %s, stage %d (-want +got):\n%s", at, f, n, d)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return met
}

// TestManyCallsMayGoWrong has random calls go wrong while random things are wanted.
func TestManyCallsMayGoWrong(t *testing.T) {
	logs := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		s := newSimulated(t).withStranger()
		faults := rapid.SliceOfN(rapid.SampledFrom([]fault{none, none, none, before, after, cut, killed}), 1, 200).Draw(t, "faults")
		s.wrong = func(call int) fault {
			if call < len(faults) {
				return faults[call]
			}
			return none
		}
		p := &provisioner{engine: s, logs: logs}
		defer p.end()
		for n := range rapid.IntRange(1, 5).Draw(t, "stages") {
			w := wish{}
			for provider := 1; provider <= 2; provider++ {
				for _, role := range []string{"ingest", "reports"} {
					if hash := rapid.SampledFrom([]string{"", "aaa", "bbb"}).Draw(t, "spec"); hash != "" {
						w.want(provider, role, hash, rapid.SampledFrom([]int64{100, 200}).Draw(t, "memory"))
					}
				}
			}
			if err := p.reach(w); err != nil {
				t.Fatalf("stage %d: %v", n, err)
			}
			if d := s.differs(w); d != "" {
				t.Fatalf("stage %d (-want +got):\n%s", n, d)
			}
		}
	})
}
