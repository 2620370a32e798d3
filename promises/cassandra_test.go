package promises

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/internal/api"
	"berth/internal/headapi"
	"berth/internal/keyspace/cassandra/cassandratest"
	"berth/internal/metrics"
)

var (
	nodeKills = flag.Int("node-kills", 10, "how often the Cassandra node is killed")
	nodeAway  = flag.Duration("node-away", 30*time.Second, "how long the Cassandra node is away")
)

// TestOnCassandra is the newcomer's path over a real node that asks for passwords and TLS: add, send, another password while
// gateways send, query, doctor, restart, remove with its data. Nothing that an instance is told says the administrator's
// password, nor its own.
func TestOnCassandra(t *testing.T) {
	certificates := cassandratest.Certify(t)
	node := cassandratest.Started(t, "SYNC=1000ms", "AUTHENTICATOR=PasswordAuthenticator", "AUTHORIZER=CassandraAuthorizer", "TLS="+certificates)
	password := filepath.Join(certificates, "administrator")
	if err := os.WriteFile(password, []byte("cassandra"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := sendingOnCassandra(t, node, 5, "?user=cassandra&password_file="+password+"&ca="+filepath.Join(certificates, "ca.pem"))
	s.run(func() {
		s.waitForAcks(5000)
		if out, err := s.install.CLI(t.Context(), "restart", "provider1", "--new-password"); err != nil {
			t.Errorf("restart: %v\n%s", err, out)
		}
		s.waitForAcks(5000)
	})
	s.checkAll()
	for _, role := range []string{"ingest", "reports"} {
		pid, err := s.install.InstancePID(t.Context(), "provider1", role)
		if err != nil {
			t.Fatal(err)
		}
		told, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err != nil {
			t.Fatal(err)
		}
		if text := string(told); !strings.Contains(text, "user=berth_provider1") || strings.Contains(text, "user=cassandra") || strings.Contains(text, password) {
			t.Errorf("%s is told %s", role, strings.ReplaceAll(text, "\x00", "\n"))
		}
	}
	if out, err := s.install.CLI(t.Context(), "doctor"); err != nil {
		t.Errorf("doctor: %v\n%s", err, out)
	}
	s.waitForEmptyLog()
	s.install.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), recovery)
	defer cancel()
	if _, err := s.install.Start(ctx); err != nil {
		t.Fatal(err)
	}
	s.until("all is found after a restart", func(ctx context.Context) error {
		_, err := s.fleet.Check(ctx, s.api)
		return err
	})
	s.checkAll()
	s.checkBooks()
	if out, err := s.install.CLI(ctx, "rm", "provider1", "--purge-data", "--yes"); err != nil {
		t.Errorf("rm: %v\n%s", err, out)
	}
}

// TestAckedIsStoredThroughKillsOfCassandra kills the node by SIGKILL at random moments while gateways send: what it had
// acknowledged and not synced is written again, so that nothing acknowledged to a gateway is lost.
func TestAckedIsStoredThroughKillsOfCassandra(t *testing.T) {
	node := cassandratest.Started(t, "SYNC=1000ms")
	t.Logf("%d kills, -seed=%d", *nodeKills, *seed)
	random := rand.New(rand.NewPCG(*seed, 0))
	s := sendingOnCassandra(t, node, 20)
	s.run(func() {
		for n := range *nodeKills {
			s.waitForAcks(1000)
			s.pause(time.Duration(2+random.IntN(6)) * time.Second)
			node.Kill()
			before := s.fleet.Stats().Acked
			s.waitForAcks(1000) // acknowledgements go on without it
			if err := node.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			took := s.recover()
			number := random.IntN(s.gateways)
			result := s.check(number)
			t.Logf("kill %d: answering again after %v; %d frames acknowledged meanwhile; %d readings of gateway %d acknowledged and found",
				n+1, took.Round(time.Millisecond), s.fleet.Stats().Acked-before, result.Acked, number)
		}
	})
	s.checkAll()
	s.waitForEmptyLog() // so that what is compared is what Cassandra has
	s.checkAll()
	s.checkBooks()
}

// TestCassandraAway takes the node away for half a minute: acknowledgements go on all the while, and all of it drains.
func TestCassandraAway(t *testing.T) {
	node := cassandratest.Started(t, "SYNC=1000ms")
	gateways := 20
	if testing.Short() {
		gateways = 5
	}
	s := sendingOnCassandra(t, node, gateways)
	s.run(func() {
		s.waitForAcks(1000)
		node.Stop()
		begun, longest, last := time.Now(), time.Duration(0), time.Now()
		for time.Since(begun) < *nodeAway {
			s.waitForAcks(1)
			longest = max(longest, time.Since(last))
			last = time.Now()
		}
		t.Logf("away for %v; the longest without an acknowledgement was %v", *nodeAway, longest.Round(time.Millisecond))
		if err := node.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.recover()
	})
	if testing.Short() {
		s.install.Stop() // what a stop stores is not waited for, so some of it comes from the log
		ctx, cancel := context.WithTimeout(t.Context(), recovery)
		defer cancel()
		if _, err := s.install.Start(ctx); err != nil {
			t.Fatal(err)
		}
		for number := range s.gateways {
			s.check(number)
		}
		return
	}
	begun := time.Now()
	s.waitForEmptyLog()
	t.Logf("all of it is durably in Cassandra %v after the last was sent", time.Since(begun).Round(time.Second))
	s.checkAll()
	s.checkBooks()
}

// TestAPipelineStartsWhileCassandraIsAway starts the whole installation while the node is down, as after a power cut of
// the site: readings are taken and acknowledged all the same, what is wrong is shown with since when, and all of it drains
// once the node is back.
func TestAPipelineStartsWhileCassandraIsAway(t *testing.T) {
	node := cassandratest.Started(t, "SYNC=1000ms")
	s := sendingOnCassandra(t, node, 20)
	s.run(func() { s.waitForAcks(1000) })
	s.install.Stop()
	node.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), recovery)
	defer cancel()
	begun := time.Now()
	if _, err := s.install.Start(ctx); err != nil {
		t.Fatal(err)
	}
	s.run(func() {
		s.waitForAcks(1000)
		t.Logf("with the node down 1000 frames are acknowledged %v after the installation's start", time.Since(begun).Round(time.Millisecond))
		s.until("the state says that the keyspace is away", func(ctx context.Context) error {
			out, err := s.install.CLI(ctx, "ls")
			if err == nil && !strings.Contains(string(out), "Cassandra does not answer") {
				err = fmt.Errorf("ls says %s", out)
			}
			return err
		})
		s.until("it is shown since when", func(ctx context.Context) error {
			var books api.Books
			if err := s.api.Books(ctx, &books); err != nil {
				return err
			}
			for _, e := range books.Episodes {
				if e.State == headapi.StateSlow && e.To == nil && !e.From.Before(begun) && strings.Contains(e.Detail, "Cassandra does not answer") {
					return nil
				}
			}
			return fmt.Errorf("the books have %+v", books.Episodes)
		})
		s.pause(5 * time.Second)
		s.killAll()
		if _, err := s.install.Start(ctx); err != nil {
			t.Fatal(err)
		}
		s.waitForAcks(1000) // and once more
		if err := node.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.waitForAcks(1000)
	})
	s.waitForEmptyLog()
	s.checkAll()
	s.checkBooks()
}

// TestProvidersShareAKeyspaceOfCassandra has two providers in one keyspace, whose gateways have the same names: each finds its
// own readings, and one that is removed with its data takes nothing of the other, also when it is added again.
func TestProvidersShareAKeyspaceOfCassandra(t *testing.T) {
	node := cassandratest.Started(t, "SYNC=batch")
	dir := t.TempDir()
	in := newInstallOn(t, dir, filepath.Join(dir, "var"), "cassandra://"+node.Address)
	share := func(name string) {
		out, err := in.CLI(t.Context(), "add", name, "--placement", "shared")
		if err != nil || !strings.Contains(string(out), "shared/"+name+"/") {
			t.Fatalf("add %s: %v\n%s", name, err, out)
		}
	}
	share("provider1")
	share("provider2")
	first := newSending(t, in, dir, 5)
	second := newSendingOf(t, in, dir, "provider2", 5)
	first.run(func() {
		second.run(func() {
			first.waitForAcks(5000)
			second.waitForAcks(5000)
		})
	})
	restart := func() {
		in.Stop() // so that all is stored
		ctx, cancel := context.WithTimeout(t.Context(), recovery)
		defer cancel()
		if _, err := in.Start(ctx); err != nil {
			t.Fatal(err)
		}
	}
	restart()
	for number := range first.gateways {
		first.check(number)
		second.check(number)
	}
	if out, err := in.CLI(t.Context(), "rm", "provider1", "--purge-data", "--yes"); err != nil {
		t.Fatalf("rm: %v\n%s", err, out)
	}
	second.checkAll()
	second.until("it is added again", func(ctx context.Context) error {
		_, err := in.CLI(ctx, "add", "provider1", "--placement", "shared")
		return err
	})
	again := newSending(t, in, dir, 5)
	again.until("web knows its reports", again.answers)
	var page api.Gateways
	if again.get("/gateways", &page); len(page.Gateways) != 0 {
		t.Errorf("the provider that is added again has gateways of the one before: %+v", page.Gateways)
	}
	again.run(func() { again.waitForAcks(1000) })
	again.checkAll()
	second.checkBooks()
}

// get asks the provider's API.
func (s *sending) get(path string, v any) {
	s.t.Helper()
	request, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.api.Base+"/api/v1/providers/"+s.api.Provider+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+s.api.Token)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	defer answer.Body.Close()
	if err := json.NewDecoder(answer.Body).Decode(v); err != nil || answer.StatusCode != http.StatusOK {
		s.t.Fatalf("%s is answered by %s: %v", path, answer.Status, err)
	}
}

// killAll kills the whole installation by SIGKILL.
func (s *sending) killAll() {
	s.t.Helper()
	if err := s.install.KillAll(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

// sendingOnCassandra is a sending whose keyspaces are on the node.
func sendingOnCassandra(t *testing.T, node *cassandratest.Node, gateways int, parameters ...string) *sending {
	t.Helper()
	dir := t.TempDir()
	return newSending(t, newInstallOn(t, dir, filepath.Join(dir, "var"), "cassandra://"+node.Address+strings.Join(parameters, "")), dir, gateways)
}

// pause lets time pass: when something is killed is left to chance.
func (s *sending) pause(d time.Duration) {
	s.t.Helper()
	select {
	case <-time.After(d):
	case <-s.t.Context().Done():
		s.t.Fatal(s.t.Context().Err())
	}
}

// waitForEmptyLog waits until everything is safely in the keyspace, which takes until the next round of tails.
func (s *sending) waitForEmptyLog() {
	s.t.Helper()
	s.patient(3*time.Minute, "the log is drained", func(context.Context) error {
		series := scrape(s.t, s.install).find(metrics.LogAge, "provider", "provider1")
		if series == nil {
			return fmt.Errorf("there is no %s", metrics.LogAge.Name)
		}
		if age := series.GetGauge().GetValue(); age > 0 {
			return fmt.Errorf("its oldest message came %.0f s ago", age)
		}
		return nil
	})
}
