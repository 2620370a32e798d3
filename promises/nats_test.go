package promises

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"berth/internal/bus/natstest"
)

var serverKills = flag.Int("server-kills", 0, "how often a NATS server of its own is killed; 0: a few times, and no cluster")

// elections bounds how long nothing may be acknowledged after one server of a cluster was killed: two elections, of the
// stream and of those who place streams, take up to nine seconds each, and a batch is given five before it is sent again.
const elections = 30 * time.Second

// TestAckedIsStoredThroughKillsOfANATSOfItsOwn kills a NATS server of its own by SIGKILL under load, and starts it again.
func TestAckedIsStoredThroughKillsOfANATSOfItsOwn(t *testing.T) {
	t.Parallel()
	servers, _, s := sendingOnNATS(t, 1)
	kills := cmp.Or(*serverKills, 2)
	if testing.Short() {
		kills = 1
	}
	s.run(func() {
		for n := range kills {
			s.waitForAcks(500)
			servers[0].Kill()
			servers[0].Run()
			t.Logf("kill %d: answering again after %v", n+1, s.recover().Round(time.Millisecond))
			s.check(n % s.gateways)
		}
	})
	s.checkAll()
	s.checkBooks()
}

// TestAckedIsStoredThroughKillsOfAClusterOfNATS kills one NATS server of three at a time by SIGKILL under load, the one that
// leads the log and another by turns: acknowledgements go on without it within seconds.
func TestAckedIsStoredThroughKillsOfAClusterOfNATS(t *testing.T) {
	if *serverKills == 0 {
		t.Skip("a cluster elects for some seconds after each kill: give -server-kills")
	}
	t.Logf("%d kills, -seed=%d", *serverKills, *seed)
	random := rand.New(rand.NewPCG(*seed, 0))
	servers, monitors, s := sendingOnNATS(t, 3)
	s.run(func() {
		for n := range *serverKills {
			s.waitForAcks(500)
			victim, what := s.leaderOfLog(monitors), "which led the log"
			if n%2 == 1 {
				victim, what = (victim+1+random.IntN(2))%3, "which followed"
			}
			before := s.fleet.Stats().Acked
			servers[victim].Kill()
			longest := s.longestPause(3 * time.Second)
			if longest > elections {
				t.Errorf("kill %d, of server %d: nothing was acknowledged for %v", n+1, victim+1, longest)
			}
			took := s.recover()
			t.Logf("kill %d, of server %d, %s: the longest without an acknowledgement was %v, all answers again %v later; %d frames acknowledged without it",
				n+1, victim+1, what, longest.Round(time.Millisecond), took.Round(time.Millisecond), s.fleet.Stats().Acked-before)
			servers[victim].Run()
			s.until("all servers are well", s.natsIsWell)
			s.check(n % s.gateways)
		}
	})
	s.checkAll()
	s.checkBooks()
}

// TestAClusterThatStartsIsWaitedFor starts the provisioner while one NATS server of three runs, which has nobody to elect a
// leader with.
func TestAClusterThatStartsIsWaitedFor(t *testing.T) {
	if *serverKills == 0 {
		t.Skip("a cluster elects for some seconds: give -server-kills")
	}
	dir := t.TempDir()
	servers, _, flags := configureNATS(t, dir, 3)
	servers[0].Run()
	in := newStopped(t, dir, filepath.Join(dir, "var"))
	in.Flags = flags
	ctx, cancel := context.WithTimeout(t.Context(), recovery)
	defer cancel()
	started := make(chan error, 1)
	go func() {
		_, err := in.Start(ctx)
		started <- err
	}()
	if err := eventually(func() error {
		if text := said(in); !strings.Contains(text, "waiting for nats") {
			return fmt.Errorf("it does not say that it waits: %s", text)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	servers[1].Start()
	servers[2].Start()
	if err := <-started; err != nil {
		t.Fatalf("%v; it said\n%s", err, said(in))
	}
	in.Stop()
}

// sendingOnNATS is a sending over NATS servers of their own, by TLS, set up as an operator sets them up.
func sendingOnNATS(t *testing.T, count int) (servers []*natstest.Node, monitors []string, s *sending) {
	t.Helper()
	dir := t.TempDir()
	servers, monitors, flags := configureNATS(t, dir, count)
	for _, n := range servers {
		n.Start()
	}
	for _, n := range servers {
		n.Ready()
	}
	in := newInstallOn(t, dir, filepath.Join(dir, "var"), "", flags...)
	return servers, monitors, newSendingAt(t, in, dir, "provider1", 20, 100)
}

// configureNATS returns NATS servers that are not started, where each tells how it is, and the provisioner's flags for them.
func configureNATS(t *testing.T, dir string, count int) (servers []*natstest.Node, monitors, flags []string) {
	t.Helper()
	data := filepath.Join(dir, "var")
	addresses := natstest.Ports(t, 3*count)
	for i := range count {
		name := fmt.Sprint("n", i+1)
		etc := filepath.Join(dir, name, "etc")
		args := []string{
			"nats-config", "--data", data, "--name", name, "--listen", addresses[i], "--store", filepath.Join(dir, name, "store"),
			"--out", etc, "--tls-host", "127.0.0.1", "--monitor", addresses[2*count+i],
		}
		if count > 1 {
			args = append(args, "--cluster", addresses[count+i], "--routes", strings.Join(addresses[count:2*count], ","))
		}
		if out, err := exec.CommandContext(t.Context(), filepath.Join(build(t), "provisioner"), args...).CombinedOutput(); err != nil {
			t.Fatalf("configure a server: %v\n%s", err, out)
		}
		config, err := os.ReadFile(filepath.Join(etc, "nats-server.conf"))
		if err != nil {
			t.Fatal(err)
		}
		servers = append(servers, natstest.New(t, dir, name, addresses[i], string(config)))
	}
	return servers, addresses[2*count:], []string{
		"--nats", "tls://" + strings.Join(addresses[:count], ","), "--nats-replicas", strconv.Itoa(count),
		"--nats-ca", filepath.Join(dir, "n1", "etc", "ca.pem"),
	}
}

// leaderOfLog asks the servers which of them leads the provider's log.
func (s *sending) leaderOfLog(monitors []string) (server int) {
	s.t.Helper()
	s.until("a server leads the log", func(ctx context.Context) error {
		for _, m := range monitors {
			leader, err := leaderOfLog(ctx, m)
			if err != nil {
				return err
			}
			if _, err := fmt.Sscanf(leader, "n%d", &server); err == nil {
				server--
				return nil
			}
		}
		return errors.New("no server says")
	})
	return server
}

func leaderOfLog(ctx context.Context, monitor string) (name string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+monitor+"/jsz?accounts=true&streams=true", nil)
	if err != nil {
		return "", err
	}
	client := http.Client{}
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var jsz struct {
		Accounts []struct {
			Streams []struct {
				Name    string `json:"name"`
				Cluster struct {
					Leader string `json:"leader"`
				} `json:"cluster"`
			} `json:"stream_detail"`
		} `json:"account_details"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&jsz); err != nil {
		return "", err
	}
	for _, a := range jsz.Accounts {
		for _, stream := range a.Streams {
			if stream.Name == "LOG" && stream.Cluster.Leader != "" {
				return stream.Cluster.Leader, nil
			}
		}
	}
	return "", nil
}

// longestPause watches acknowledgements until they have gone on for so long, and returns the longest time without one.
func (s *sending) longestPause(on time.Duration) (longest time.Duration) {
	s.t.Helper()
	last, changed, begun := s.fleet.Stats().Acked, time.Now(), time.Now()
	s.until("acknowledgements go on", func(context.Context) error {
		now := time.Now()
		longest = max(longest, now.Sub(changed))
		if acked := s.fleet.Stats().Acked; acked != last {
			if now.Sub(changed) > time.Second {
				begun = now
			}
			last, changed = acked, now
		}
		if now.Sub(begun) < on || now.Sub(changed) > time.Second {
			return errors.New("not for long enough")
		}
		return nil
	})
	return longest
}

// natsIsWell asks the doctor.
func (s *sending) natsIsWell(ctx context.Context) error {
	out, _ := s.install.CLI(ctx, "doctor", "-o", "json") // its exit code counts other things too
	var checks []struct{ Name, State, Text string }
	if err := json.Unmarshal(out, &checks); err != nil {
		return fmt.Errorf("read what the doctor says: %w: %s", err, out)
	}
	seen := 0
	for _, c := range checks {
		if strings.HasPrefix(c.Name, "nats") {
			seen++
			if c.State != "ok" {
				return errors.New(c.Text)
			}
		}
	}
	if seen < 2 {
		return errors.New("the doctor says nothing of NATS")
	}
	return nil
}
