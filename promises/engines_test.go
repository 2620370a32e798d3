package promises

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/internal/bus/natstest"
	"berth/internal/dockertest"
	"berth/internal/keyspace/cassandra/cassandratest"
	"berth/promises/install"
)

var engineFaultCount = flag.Int("engine-faults", 21, "how many faults production's engines are put through")

// enginesRecovery bounds how long all engines together may take to answer again after a fault: a node of Cassandra starts
// within a quarter of a minute where nothing else runs.
const enginesRecovery = 3 * time.Minute

// engines are what production stands on: a Docker engine, a Cassandra node, and a NATS server of its own, each of the
// test's own. The provisioner is a process beside them.
type engines struct {
	docker    *dockertest.Engine
	cassandra *cassandratest.Node
	nats      *natstest.Node
	subnet    string // of the engine; <subnet>.0.1 is this machine, in containers as well as outside
}

// TestAckedIsStoredThroughFaultsOfTheEngines is the newcomer's path and the kill test on what production uses: pipelines as
// containers, keyspaces in Cassandra, a NATS server of its own. Twenty gateways send while the ingest container, reports,
// Cassandra, NATS and the provisioner are killed by SIGKILL and the Docker engine is restarted, each as often as the others.
func TestAckedIsStoredThroughFaultsOfTheEngines(t *testing.T) {
	dockertest.Wanted(t)
	cassandratest.Wanted(t)
	t.Logf("%d faults, -seed=%d", *engineFaultCount, *seed)
	random := rand.New(rand.NewPCG(*seed, 0))
	e, s := sendingOnEngines(t, 20)
	var order []int
	s.run(func() {
		s.waitForAcks(1000)
		for n := range *engineFaultCount {
			if len(order) == 0 {
				order = random.Perm(len(engineFaults))
			}
			fault := engineFaults[order[0]]
			order = order[1:]
			s.waitForAcks(200 + random.Int64N(2000))
			begun := time.Now()
			fault.cause(e, s)
			away := time.Since(begun)
			goal := s.fleet.Stats().Acked + 1
			s.patient(enginesRecovery, "acknowledgements go on after a fault of "+fault.name, func(context.Context) error { return s.reached(goal) })
			acking := time.Since(begun) - away
			s.patient(enginesRecovery, "the API answers after a fault of "+fault.name, s.answers)
			number := random.IntN(s.gateways)
			result := s.check(number)
			t.Logf("fault %d: %s, back after %v; acknowledging %v later, answering %v later; %d readings of gateway %d acknowledged and found", n+1, fault.name,
				away.Round(time.Millisecond), acking.Round(time.Millisecond), (time.Since(begun) - away).Round(time.Millisecond), result.Acked, number)
		}
	})
	s.checkAll()
	s.waitForEmptyLog() // so that what is compared is what Cassandra has
	s.checkAll()
	s.checkBooks()
}

// engineFaults are what goes wrong; each leaves its engine at work again.
var engineFaults = []struct {
	name  string
	cause func(e *engines, s *sending)
}{
	{"the ingest container (SIGKILL)", func(e *engines, s *sending) { e.killContainer(s, "ingest") }},
	{"the reports container (SIGKILL)", func(e *engines, s *sending) { e.killContainer(s, "reports") }},
	{"Cassandra (SIGKILL)", func(e *engines, s *sending) {
		e.cassandra.Kill()
		if err := e.cassandra.Start(s.t.Context()); err != nil {
			s.t.Fatal(err)
		}
	}},
	{"NATS (SIGKILL)", func(e *engines, _ *sending) { e.nats.Kill(); e.nats.Run() }},
	{"the provisioner (SIGKILL)", func(_ *engines, s *sending) {
		s.install.Kill()
		s.startAgain()
	}},
	{"Docker (restarted)", func(e *engines, s *sending) { e.docker.Stop(); e.startDocker(s) }},
	{"Docker (SIGKILL)", func(e *engines, s *sending) { e.docker.Kill(); e.startDocker(s) }},
}

func (e *engines) startDocker(s *sending) {
	s.t.Helper()
	if err := e.docker.Start(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

// killContainer kills a container of provider1's.
func (e *engines) killContainer(s *sending, role string) {
	s.t.Helper()
	var name string
	s.until("the container of "+role+" runs", func(ctx context.Context) (err error) {
		name, err = e.docker.Do(ctx, "ps", "--format", "{{.Names}}", "--filter", "name=provider1-"+role)
		if err == nil && name == "" {
			err = fmt.Errorf("the engine has none")
		}
		return err
	})
	e.docker.Must(s.t, "kill", "-s", "KILL", strings.Fields(name)[0])
}

// sendingOnEngines starts the engines and an installation on them whose gateways are ready to send.
func sendingOnEngines(t *testing.T, gateways int) (*engines, *sending) {
	t.Helper()
	e := &engines{docker: dockertest.Started(t)}
	net, err := os.ReadFile(filepath.Join(e.docker.Dir, "net"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(net), "subnet=")
	e.subnet = strings.TrimSpace(rest)
	bin := build(t)
	e.docker.Images(t, bin, "dev")
	host := e.subnet + ".0.1"
	e.cassandra = cassandratest.Started(t, "SYNC=1000ms", "LISTEN="+host)

	dir := t.TempDir()
	data := filepath.Join(dir, "var")
	_, port, _ := strings.Cut(natstest.Ports(t, 1)[0], ":")
	nats := host + ":" + port
	config, err := (&install.Install{Bin: bin, Data: data}).CLI(t.Context(), "nats-config", "--listen", nats, "--store", filepath.Join(dir, "nats"))
	if err != nil {
		t.Fatal(err)
	}
	e.nats = natstest.New(t, dir, "nats", nats, string(config))
	e.nats.Run()
	in := newInstallOn(t, dir, data, "cassandra://"+e.cassandra.Address, "--nats", "nats://"+nats, "--runtime", "docker", "--docker-host", e.docker.Address)
	return e, newSending(t, in, dir, gateways)
}
