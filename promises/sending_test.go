package promises

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/internal/api"
	"berth/internal/gateways"
	"berth/promises/install"
	"berth/schema"
)

// sending is an installation with a provider whose gateways send, and remember what was acknowledged to them.
type sending struct {
	t        *testing.T
	install  *install.Install
	provider install.Provider
	fleet    *gateways.Fleet
	api      gateways.API
	gateways int
}

// pskRelay is the relay whose pre-shared key gateways show that speak CoAP within DTLS.
const pskRelay = "field"

// preShared makes the relay's pre-shared key.
func (s *sending) preShared() string {
	s.t.Helper()
	key, err := s.install.GatewayKey(s.t.Context(), s.provider.Name, pskRelay, "--relay", "--psk")
	if err != nil {
		s.t.Fatal(err)
	}
	return key
}

// recovery bounds how long an installation may take to answer again after a kill: seconds, and more on a machine that is busy
// with others. Tests go on as soon as it does.
const recovery = 2 * time.Minute

// newSending adds the provider and its gateways. They send while run's function runs; the installation ends with the
// test, and what it leaves in dir is kept when the test fails.
func newSending(t *testing.T, in *install.Install, dir string, count int) *sending {
	t.Helper()
	return newSendingOf(t, in, dir, "provider1", count)
}

// newSendingOf is newSending with a provider of a name.
func newSendingOf(t *testing.T, in *install.Install, dir, name string, count int) *sending {
	t.Helper()
	return newSendingAt(t, in, dir, name, count, 0)
}

// newSendingAt is newSendingOf with so many frames a second of each gateway; 0 is as fast as they are acknowledged.
func newSendingAt(t *testing.T, in *install.Install, dir, name string, count int, rate float64) *sending {
	t.Helper()
	return newSendingBy(t, in, dir, name, count, rate, "berth")
}

// newSendingBy is newSendingAt with the protocols that the gateways speak, in turn.
func newSendingBy(t *testing.T, in *install.Install, dir, name string, count int, rate float64, protocols string) *sending {
	t.Helper()
	s := &sending{t: t, install: in, gateways: count}
	ctx, cancel := context.WithTimeout(t.Context(), recovery)
	defer cancel()
	t.Cleanup(func() {
		in.Stop()
		if t.Failed() {
			s.keep(dir)
		}
	})
	provider, err := in.Add(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	token, err := in.Token(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	s.provider = provider
	s.api = gateways.API{Base: "http://" + in.Web, Provider: name, Token: token}
	psk := ""
	if strings.Contains(protocols, "coaps") {
		psk = s.preShared()
	}
	s.fleet, err = gateways.New(gateways.Options{
		Address: provider.Address(), Key: provider.EnrolmentKey, PSK: psk, Identity: pskRelay, Gateways: s.gateways, Sensors: 4, Window: 16, Protocol: protocols,
		Start: time.Now().Add(-30 * time.Hour).Truncate(time.Second), Step: 50 * time.Millisecond,
		Rate: rate,
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// run lets the gateways send while fn runs.
func (s *sending) run(fn func()) {
	ctx, cancel := context.WithCancel(s.t.Context())
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		s.fleet.Run(ctx)
	}()
	defer func() { cancel(); <-sent }()
	fn()
}

// keep saves what a failed run left, to look at.
func (s *sending) keep(dir string) {
	out := filepath.Join("out", fmt.Sprintf("%s-%d", s.t.Name(), *seed))
	_ = os.Remove(filepath.Join(s.install.Data, "provisioner.sock")) // a socket cannot be copied
	if err := os.CopyFS(out, os.DirFS(dir)); err != nil {
		s.t.Logf("keep %s: %v", out, err)
		return
	}
	s.t.Logf("what the run left is in promises/%s", out)
}

// waitForAcks waits until so many more frames are acknowledged.
func (s *sending) waitForAcks(more int64) {
	s.t.Helper()
	goal := s.fleet.Stats().Acked + more
	s.until("frames are acknowledged", func(context.Context) error { return s.reached(goal) })
}

// reached returns nil once so many frames are acknowledged.
func (s *sending) reached(goal int64) error {
	if acked := s.fleet.Stats().Acked; acked < goal {
		return fmt.Errorf("%d of %d", acked, goal)
	}
	return nil
}

// answers returns nil when the API answers.
func (s *sending) answers(ctx context.Context) error {
	var books api.Books
	return s.api.Books(ctx, &books)
}

// until asks again and again until fn succeeds.
func (s *sending) until(what string, fn func(ctx context.Context) error) {
	s.t.Helper()
	s.patient(recovery, what, fn)
}

// patient asks again and again until fn succeeds, for so long.
func (s *sending) patient(limit time.Duration, what string, fn func(ctx context.Context) error) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), limit)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := fn(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			s.t.Fatalf("after %v still not: %s: %v", limit, what, err)
		case <-tick.C:
		}
	}
}

// recover waits until acknowledgements go on and the API answers, and returns how long that took.
func (s *sending) recover() time.Duration {
	s.t.Helper()
	begun := time.Now()
	s.waitForAcks(1)
	s.until("the API answers", s.answers)
	return time.Since(begun)
}

// check compares one gateway, as soon as its answer is complete; nothing may be lost, duplicated or wrong.
func (s *sending) check(number int) gateways.Result {
	s.t.Helper()
	result := s.ask(number)
	s.mustBeGood(result)
	return result
}

// ask compares one gateway, as soon as its answer is complete.
func (s *sending) ask(number int) gateways.Result {
	s.t.Helper()
	var result gateways.Result
	s.until("a complete answer comes", func(ctx context.Context) error {
		result = gateways.Result{}
		if err := s.fleet.CheckGateway(ctx, s.api, number, &result); err != nil {
			return err
		}
		if result.Incomplete > 0 {
			return schema.Errorf(schema.Unavailable, "not complete: %v", result.Examples)
		}
		return nil
	})
	return result
}

func (s *sending) mustBeGood(r gateways.Result) {
	s.t.Helper()
	if !r.Good() {
		s.t.Fatalf("acknowledged readings: lost %d, duplicated %d, wrong %d of %d: %v", r.Lost, r.Duplicated, r.Wrong, r.Acked, r.Examples)
	}
}

// checkAll compares every gateway.
func (s *sending) checkAll() {
	s.t.Helper()
	begun := time.Now()
	var result gateways.Result
	s.patient(3*recovery, "everything is answered", func(ctx context.Context) (err error) {
		result, err = s.fleet.Check(ctx, s.api)
		return err
	})
	s.mustBeGood(result)
	stats := s.fleet.Stats()
	s.t.Logf("%d readings acknowledged, %d found, %d of them in doubt; lost 0, duplicated 0, wrong 0; %d frames sent again over %d reconnects; compared in %v",
		result.Acked, result.Found, result.Doubt, stats.Again, stats.Reconnects, time.Since(begun).Round(time.Millisecond))
}

// checkBooks compares the books with each other, after all the kills, and has them recounted.
func (s *sending) checkBooks() {
	s.t.Helper()
	s.until("the books balance", func(ctx context.Context) error {
		var b api.Books
		if err := s.api.Books(ctx, &b); err != nil {
			return err
		}
		if sum := b.Frames.Committed + b.Frames.Rejected + b.Frames.GivenUp + b.Frames.InHand; sum != b.Frames.Received {
			return fmt.Errorf("received %d frames, accounted for %d: %+v", b.Frames.Received, sum, b.Frames)
		}
		if acked := uint64(s.fleet.Stats().Readings); b.Readings.Accepted < acked {
			return fmt.Errorf("%d readings accepted, %d acknowledged", b.Readings.Accepted, acked)
		}
		return nil
	})
	s.until("the books are recounted", func(ctx context.Context) error {
		r, err := audit(ctx, s.install, s.api.Provider)
		if err != nil {
			return err
		}
		if !r.Balanced {
			s.t.Fatalf("the audit found %d things: %+v", r.Found, r.Findings)
		}
		s.t.Logf("the books balance: %d readings accepted, %d of %d messages looked up, %d stored in %d blocks, %d rollups compared, in %v",
			r.Books.Readings.Accepted, r.Log.Readings, r.Log.Messages, r.Keyspace.Identities, r.Keyspace.Blocks, r.Keyspace.Rollups,
			r.Ended.Sub(r.Begun).Round(time.Millisecond))
		return nil
	})
}
