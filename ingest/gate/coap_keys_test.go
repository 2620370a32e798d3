package gate

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/dtls/v3"

	"berth/internal/credentials"
	"berth/schema/record"
)

// rotatedPSK are the keys after "psk" was given a new one.
func rotatedPSK(until time.Time, untilUsed bool) map[string]record.GatewayKey {
	keys := ownKeys()
	keys["gateway."+credentials.Hash("psk")] = record.GatewayKey{
		Gateway: "psk", Hash: credentials.Hash("gk_new"), Sealed: []byte("gk_new"),
		Previous: &record.PreviousKey{Hash: credentials.Hash("gk_psk"), Sealed: []byte("gk_psk"), Until: until, UntilUsed: untilUsed},
	}
	return keys
}

// knock connects by DTLS with a key of "psk".
func (f *fixture) knock(t *testing.T, key string) (*secured, error) {
	t.Helper()
	return f.dialDTLS(t, listenUDP(t), psk("psk", key, dtls.TLS_PSK_WITH_AES_128_CCM_8))
}

// letIn is knock of who must be let in.
func (f *fixture) letIn(t *testing.T, key string) *secured {
	t.Helper()
	c, err := f.knock(t, key)
	if err != nil {
		t.Fatalf("with %s: %v", key, err)
	}
	return c
}

// expectAlert waits for five seconds at most until the session is ended by the other side.
func (c *secured) expectAlert() {
	c.t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	if n, err := c.Read(make([]byte, 100)); err == nil || strings.Contains(err.Error(), "timeout") {
		c.t.Errorf("read %d bytes, %v, want an alert", n, err)
	}
}

// TestCoAPKeyIsReplacedWithinDTLS: sessions by the key before go on and are begun until it ends; then they end.
func TestCoAPKeyIsReplacedWithinDTLS(t *testing.T) {
	var at atomic.Int64
	f := start(t, clockOf(&at))
	old := f.letIn(t, "gk_psk")
	old.askWithin(within("psk", "m a=1"), "2.04")
	f.Set(f.pipeline, rotatedPSK(time.Unix(0, at.Load()).Add(time.Hour), false))
	old.askWithin(within("psk", "m a=2"), "2.04")
	next := f.letIn(t, "gk_new")
	next.askWithin(within("psk", "m a=3"), "2.04")
	f.letIn(t, "gk_psk").askWithin(within("psk", "m a=4"), "2.04")
	at.Add(int64(time.Hour))
	if _, err := f.knock(t, "gk_psk"); err == nil {
		t.Error("a key that has ended is let in")
	}
	old.expectAlert()
	next.askWithin(within("psk", "m a=5"), "2.04")
}

// TestCoAPKeyEndsWithTheFirstUseOfTheNewOne: within DTLS too.
func TestCoAPKeyEndsWithTheFirstUseOfTheNewOne(t *testing.T) {
	f := start(t, nil)
	old := f.letIn(t, "gk_psk")
	f.Set(f.pipeline, rotatedPSK(time.Now().Add(time.Hour), true))
	old.askWithin(within("psk", "m a=1"), "2.04")
	next := f.letIn(t, "gk_new")
	next.askWithin(within("psk", "m a=2"), "2.04")
	old.expectAlert()
	if _, err := f.knock(t, "gk_psk"); err == nil {
		t.Error("a key that has ended is let in")
	}
	next.askWithin(within("psk", "m a=3"), "2.04")
}
