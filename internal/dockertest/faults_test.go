package dockertest_test

import (
	"context"
	"fmt"
	"strconv"
	"syscall"
	"testing"
	"time"

	"berth/internal/gateways"
)

// faults are what happens to the stack while gateways send. Each ends when the next may begin.
var faults = []struct {
	name string
	do   func(t *testing.T, s *stack)
}{
	{"ingest is killed", func(t *testing.T, s *stack) { s.kill(t, "label=berth.name=provider1-ingest") }},
	{"the provisioner is killed", func(t *testing.T, s *stack) { s.kill(t, "label=com.docker.compose.service=provisioner") }},
	{"ingest is killed right after", func(t *testing.T, s *stack) { s.kill(t, "label=berth.name=provider1-ingest") }},
	{"NATS is killed", func(t *testing.T, s *stack) { s.kill(t, "label=com.docker.compose.service=nats") }},
	{"Cassandra is killed", func(t *testing.T, s *stack) { s.kill(t, "label=com.docker.compose.service=cassandra") }},
	{"the engine is killed and starts", func(t *testing.T, s *stack) {
		s.Kill()
		if err := s.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}},
}

// kill kills a container's process by SIGKILL, behind the engine's back: it is for the engine to start it again.
func (s *stack) kill(t *testing.T, filter string) {
	t.Helper()
	var pid int
	eventually(t, func() bool { // it may be what was killed just now
		id := s.Must(t, "ps", "-q", "--filter", filter, "--filter", "status=running")
		if id == "" {
			return false
		}
		said, err := s.Do(t.Context(), "inspect", "--format", "{{.State.Pid}}", id)
		if err != nil {
			return false
		}
		pid, err = strconv.Atoi(said)
		return err == nil && pid > 1
	}, func() string { return "nothing runs that is " + filter })
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// keepsWhatItAcknowledged: everything is killed once under load; gateways go on being acknowledged after each, and what was
// acknowledged is there, once, with its value.
func keepsWhatItAcknowledged(t *testing.T, s *stack, address, key, token string) {
	t.Helper()
	fleet, err := gateways.New(gateways.Options{Address: address, Key: key, Gateways: 20, Sensors: 8, PerFrame: 10, Rate: 20, Window: 64, Step: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		fleet.Run(ctx)
	}()
	for _, fault := range faults {
		fault.do(t, s)
		begun := time.Now()
		before := fleet.Stats().Acked
		eventually(t, func() bool { return fleet.Stats().Acked >= before+2000 }, func() string {
			return fmt.Sprintf("%s, and gateways are not acknowledged: %+v", fault.name, fleet.Stats())
		})
		t.Logf("%s: 2000 more frames were acknowledged after %s", fault.name, time.Since(begun).Round(100*time.Millisecond))
	}
	cancel()
	<-done
	api := gateways.API{Base: fmt.Sprint("http://127.0.0.1:", stackBase), Provider: "provider1", Token: token}
	var result gateways.Result
	var last error
	eventually(t, func() bool { // what was killed last comes back, and reads the log
		result, last = fleet.Check(t.Context(), api)
		return last == nil && result.Incomplete == 0
	}, func() string { return fmt.Sprintf("the answers are not complete: %+v, %v", result, last) })
	if !result.Good() {
		t.Errorf("after %d faults: %+v", len(faults), result)
	}
	t.Logf("%d readings acknowledged; %+v", fleet.Stats().Readings, result)
}

// eventually asks again until fn says true, two minutes at most.
func eventually(t *testing.T, fn func() bool, state func() string) {
	t.Helper()
	limit := time.NewTimer(2 * time.Minute)
	defer limit.Stop()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !fn() {
		select {
		case <-tick.C:
		case <-limit.C:
			t.Fatal("after two minutes " + state())
		}
	}
}
