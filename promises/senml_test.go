package promises

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"berth/internal/gateways"
)

// TestAckedSenMLIsStoredThroughKills: gateways send SenML, in JSON and in CBOR, over HTTP, CoAP, plain and within DTLS, and as Berth frames, beside
// gateways that send lines; ingest, reports and the provisioner are killed by SIGKILL. What was acknowledged is stored as it
// was sent: names with their units, times to the nanosecond, values.
func TestAckedSenMLIsStoredThroughKills(t *testing.T) {
	count := min(*kills, 4)
	if testing.Short() {
		count = 1
	}
	t.Logf("%d kills, -seed=%d", count, *seed)
	random := rand.New(rand.NewPCG(*seed, 1))

	in, dir := newInstall(t)
	s := newSending(t, in, dir, 2)
	psk := s.preShared()
	var fleets []*gateways.Fleet
	for _, protocol := range []string{"berth", "http", "coap", "coaps"} {
		for _, format := range []string{"senml+json", "senml+cbor"} {
			f, err := gateways.New(gateways.Options{
				Address: s.provider.Address(), Key: s.provider.EnrolmentKey, PSK: psk, Identity: pskRelay, Protocol: protocol, Format: format, Prefix: protocol + "-" + format + "-",
				Gateways: 2, Sensors: 8, PerFrame: 5, Rate: 30, Start: time.Now().Add(-30 * time.Hour), Step: 1_234_567_891,
			})
			if err != nil {
				t.Fatal(err)
			}
			fleets = append(fleets, f)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	var sent sync.WaitGroup
	for _, f := range fleets {
		sent.Go(func() { f.Run(ctx) })
	}
	defer func() { cancel(); sent.Wait() }()
	s.run(func() {
		for n := range count {
			s.waitForAll(fleets, 20+random.Int64N(40))
			victim := "ingest"
			if n%2 == 1 {
				victim = s.kill(random)
			} else if err := in.KillInstance(t.Context(), "provider1", victim); err != nil {
				t.Fatal(err)
			}
			t.Logf("kill %d: %s; answering again after %v", n+1, victim, s.recover().Round(time.Millisecond))
		}
		s.waitForAll(fleets, 20)
	})
	cancel()
	sent.Wait()
	for _, f := range append(fleets, s.fleet) {
		s.fleet = f
		s.checkAll()
	}
}

// waitForAll waits until each of the fleets has so many more frames acknowledged.
func (s *sending) waitForAll(fleets []*gateways.Fleet, more int64) {
	s.t.Helper()
	goals := make([]int64, len(fleets))
	for i, f := range fleets {
		goals[i] = f.Stats().Acked + more
	}
	s.until("every fleet's frames are acknowledged", func(context.Context) error {
		for i, f := range fleets {
			if acked := f.Stats().Acked; acked < goals[i] {
				return fmt.Errorf("fleet %d: %d of %d", i, acked, goals[i])
			}
		}
		return nil
	})
}
