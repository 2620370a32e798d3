package promises

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/internal/gateways"
	"berth/internal/headapi"
	"berth/internal/mosquittotest"
)

// fromBroker is a provider whose gateways publish to a broker of its own.
type fromBroker struct {
	*sending
	broker *mosquittotest.Broker
}

// publish returns a fleet of gateways that publish to the broker: what they hold for acknowledged the broker has.
func (s *fromBroker) publish(prefix string, rate float64, frames int) *gateways.Fleet {
	s.t.Helper()
	f, err := gateways.New(gateways.Options{
		Address: s.broker.Host + ":" + s.broker.Port, Key: "none", Protocol: "mqtt,mqtt5", Prefix: prefix, Gateways: 8, Sensors: 4,
		Rate: rate, Frames: frames, Start: time.Now().Add(-30 * time.Hour).Truncate(time.Second), Step: 50 * time.Millisecond,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return f
}

// source returns how the source does, by the command line.
func (s *fromBroker) source(ctx context.Context) (headapi.Source, error) {
	out, err := s.install.CLI(ctx, "source", "ls", "provider1", "-o", "json")
	if err != nil {
		return headapi.Source{}, err
	}
	var all []headapi.Source
	if err := json.Unmarshal(out, &all); err != nil {
		return headapi.Source{}, err
	}
	for _, each := range all {
		if each.Name == "plant" {
			return each, nil
		}
	}
	return headapi.Source{}, errors.New("there is no such source")
}

// connected waits until the source is.
func (s *fromBroker) connected() {
	s.t.Helper()
	s.until("the source is connected", func(ctx context.Context) error {
		each, err := s.source(ctx)
		if err == nil && each.State != headapi.SourceConnected {
			err = fmt.Errorf("it is %s: %s", each.State, each.Detail)
		}
		return err
	})
}

// takesSome waits until some of what the broker holds is taken.
func (s *fromBroker) takesSome() {
	s.t.Helper()
	s.until("some of what was held is taken", func(ctx context.Context) error {
		each, err := s.source(ctx)
		if err == nil && each.Taken == 0 {
			err = fmt.Errorf("it is %s: %s", each.State, each.Detail)
		}
		return err
	})
}

// stored waits until all that the broker acknowledged to a fleet is stored, once and as it was published.
func (s *fromBroker) stored(f *gateways.Fleet) {
	s.t.Helper()
	s.fleet = f
	s.until("all that the broker has taken is stored", func(ctx context.Context) error {
		r, err := f.Check(ctx, s.api)
		if err == nil && r.Lost+r.Incomplete > 0 {
			err = fmt.Errorf("%d are missing: %v", r.Lost, r.Examples)
		}
		return err
	})
	s.checkAll()
}

// cli runs a command that must do.
func (s *fromBroker) cli(args ...string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), recovery)
	defer cancel()
	if _, err := s.install.CLI(ctx, args...); err != nil {
		s.t.Fatal(err)
	}
}

// doctor waits until the doctor says something of a source, or nothing any more.
func (s *fromBroker) doctor(wrong string) {
	s.t.Helper()
	s.until("the doctor says of the source: "+wrong, func(ctx context.Context) error {
		said, err := s.install.CLI(ctx, "doctor") // its exit code is for other things too
		named := strings.Contains(string(said), "source plant")
		if named != (wrong != "") || !strings.Contains(string(said), wrong) {
			return fmt.Errorf("it says %s, %w", said, err)
		}
		return nil
	})
}

// killedWhileItTakes kills ingest while it takes what the broker has held.
func (s *fromBroker) killedWhileItTakes(frames int) {
	s.t.Helper()
	s.cli("stop", "provider1")
	held := s.publish("held", 0, frames)
	held.Run(s.t.Context())
	s.cli("start", "provider1")
	s.takesSome()
	if err := s.install.KillInstance(s.t.Context(), "provider1", "ingest"); err != nil {
		s.t.Fatal(err)
	}
	s.stored(held)
}

// TestWhatABrokerHoldsIsNotLost: gateways publish at QoS 1 to a mosquitto, of which ingest is a client. Ingest and the
// provisioner are killed by SIGKILL while they do, and ingest while it takes what was published when the pipeline was stopped; the
// broker is killed while it holds such, and again while that is taken: nothing of what it holds is lost, duplicated or wrong.
func TestWhatABrokerHoldsIsNotLost(t *testing.T) {
	broker := mosquittotest.Start(t, mosquittotest.Options{InFlight: 100})
	in, dir := newInstall(t)
	s := &fromBroker{sending: newSending(t, in, dir, 1), broker: broker}
	s.cli("source", "add", "provider1", "mqtt", broker.URL, "--name", "plant", "--topic", "readings/#")
	s.connected()
	broker.Save() // the session is on its disk

	victims, frames := []string{"ingest", "provisioner", "ingest"}, 1000
	if testing.Short() {
		victims, frames = victims[:1], 300
	}
	live := s.publish("live", 100, 0)
	ctx, cancel := context.WithCancel(t.Context())
	var published sync.WaitGroup
	published.Go(func() { live.Run(ctx) })
	defer func() { cancel(); published.Wait() }()
	for _, victim := range victims {
		s.fleet = live
		s.waitForAcks(400)
		if victim == "provisioner" {
			in.Kill()
			s.startAgain()
		} else if err := in.KillInstance(t.Context(), "provider1", victim); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		s.connected()
		t.Logf("%s was killed; the source is connected again after %v", victim, time.Since(begun).Round(time.Millisecond))
	}
	cancel()
	published.Wait()
	s.stored(live)

	if !testing.Short() {
		s.killedWhileItTakes(frames)
	}

	// The broker is killed before, and meanwhile, with what it had saved before any of it was taken.
	s.cli("stop", "provider1")
	held := s.publish("saved", 0, frames)
	held.Run(t.Context())
	broker.Save()
	broker.Kill()
	broker.Run()
	s.cli("start", "provider1")
	s.takesSome()
	broker.Kill()
	s.doctor("is not connected")
	broker.Run()
	s.stored(held)
	s.doctor("")
	s.checkBooks()
}

// TestABrokersPasswordIsNowhereInClear: neither the house's records nor those of the pipeline, nor what the programs say, have
// it; and ingest, for which it is sealed, can open it, also when its credentials are others.
func TestABrokersPasswordIsNowhereInClear(t *testing.T) {
	t.Parallel()
	const password = "a-password-that-nothing-else-has"
	broker := mosquittotest.Start(t, mosquittotest.Options{Users: map[string]string{"berth": password}})
	in, dir := newInstall(t)
	s := &fromBroker{sending: newSending(t, in, dir, 1), broker: broker}
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.cli("source", "add", "provider1", "mqtt", broker.URL, "--name", "plant", "--topic", "plant/{gateway}/{sensor}", "--user", "berth", "--password-file", file)
	s.connected()
	s.cli("restart", "provider1", "--new-password")
	s.connected()
	s.cli("stop", "provider1")
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil //nolint:nilerr // it has gone meanwhile
		}
		text, err := os.ReadFile(path)
		if err == nil && bytes.Contains(text, []byte(password)) {
			t.Errorf("%s has the password", path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	s.cli("source", "rm", "provider1", "plant")
}
