package gate

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pion/dtls/v3"
	"github.com/plgd-dev/go-coap/v3/message"
	"github.com/plgd-dev/go-coap/v3/udp/coder"

	"berth/internal/lossytest"
)

// secured is a client within DTLS, of pion.
type secured struct {
	*coapClient
	*dtls.Conn
}

// psk is how a gateway connects that shows a key.
func psk(identity, key string, suite dtls.CipherSuiteID, more ...dtls.ClientOption) []dtls.ClientOption {
	return append([]dtls.ClientOption{
		dtls.WithPSK(func([]byte) ([]byte, error) { return []byte(key), nil }), dtls.WithPSKIdentityHint([]byte(identity)),
		dtls.WithCipherSuites(suite),
	}, more...)
}

// dialDTLS connects; udp is what it sends by.
func (f *fixture) dialDTLS(t testing.TB, udp net.PacketConn, options []dtls.ClientOption) (*secured, error) {
	t.Helper()
	to, err := net.ResolveUDPAddr("udp", f.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c, err := dtls.ClientWithOptions(udp, to, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(); _ = udp.Close() })
	ctx, cancel := contextFor(t, time.Minute)
	defer cancel()
	return &secured{&coapClient{t: t, next: 100}, c}, c.HandshakeContext(ctx)
}

func listenUDP(t testing.TB) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// askWithin sends a request and expects the answer in the acknowledgement.
func (c *secured) askWithin(a ask, code string) {
	c.t.Helper()
	if _, err := c.Write(c.bytes(&a)); err != nil {
		c.t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	buf := make([]byte, 2000)
	n, err := c.Read(buf)
	if err != nil {
		c.t.Fatal(err)
	}
	m := message.Message{Options: make(message.Options, 0, 16)}
	if _, err := coder.DefaultCoder.Decode(buf[:n], &m); err != nil || dotted(m.Code) != code || m.MessageID != a.id {
		c.t.Fatalf("answered %v, %v, want %s", m.String(), err, code)
	}
}

// within is a request that shows no key.
func within(gateway, body string) ask {
	return ask{path: []string{"readings", gateway}, format: -1, token: "t", body: body}
}

// TestCoAPWithinDTLS: each suite, who is who, and that TLS may be required.
func TestCoAPWithinDTLS(t *testing.T) {
	f := start(t, func(f *fixture, _ *Options) { f.pipeline.Settings.RequireTLS = true })
	var want []string
	for i, suite := range []dtls.CipherSuiteID{dtls.TLS_PSK_WITH_AES_128_CCM_8, dtls.TLS_PSK_WITH_AES_128_GCM_SHA256} {
		for j, ems := range []dtls.ExtendedMasterSecretType{dtls.RequestExtendedMasterSecret, dtls.DisableExtendedMasterSecret} {
			c, err := f.dialDTLS(t, listenUDP(t), psk("psk", "gk_psk", suite, dtls.WithExtendedMasterSecret(ems)))
			if err != nil {
				t.Fatal(err)
			}
			c.askWithin(within("psk", fmt.Sprintf("m a=%d", 2*i+j)), "2.04")
			c.askWithin(within("own", "m a=9"), "4.03")
			want = append(want, fmt.Sprintf("psk m.a %d", 2*i+j))
		}
	}
	for identity, key := range map[string]string{"psk": "wrong", "own": "gk_own", "gone": "gk_gone", "nobody": "x"} {
		if _, err := f.dialDTLS(t, listenUDP(t), psk(identity, key, dtls.TLS_PSK_WITH_AES_128_CCM_8)); err == nil {
			t.Errorf("%s is let in with %s", identity, key)
		}
	}
	if _, err := f.dialDTLS(t, listenUDP(t), psk("psk", "gk_psk", dtls.TLS_PSK_WITH_AES_128_CBC_SHA256)); err == nil {
		t.Error("a suite is taken that is not")
	}
	if diff := cmp.Diff(want, f.readings(t)); diff != "" {
		t.Error(diff)
	}
}

// TestCoAPConnectionIdentifiers: a gateway whose address changes is known still (RFC 9146), and one without an identifier is not.
func TestCoAPConnectionIdentifiers(t *testing.T) {
	f := start(t, nil)
	for _, generate := range []func() []byte{dtls.RandomCIDGenerator(4), dtls.OnlySendCIDGenerator()} {
		relay := lossytest.Start(t, f.Addr(), 0)
		through := &throughRelay{UDPConn: listenUDP(t), relay: relay}
		c, err := f.dialDTLS(t, through, psk("psk", "gk_psk", dtls.TLS_PSK_WITH_AES_128_CCM_8, dtls.WithConnectionIDGenerator(generate)))
		if err != nil {
			t.Fatal(err)
		}
		c.askWithin(within("psk", "m a=1"), "2.04")
		relay.Move()
		c.askWithin(within("psk", "m a=2"), "2.04")
	}
	if want := []string{"psk m.a 1", "psk m.a 2", "psk m.a 1", "psk m.a 2"}; !slices.Equal(f.readings(t), want) {
		t.Errorf("got %q", f.readings(t))
	}
}

// throughRelay sends everything to a relay, as one behind an address translator does.
type throughRelay struct {
	*net.UDPConn
	relay *lossytest.Proxy
}

// WriteTo writes to the relay.
func (r *throughRelay) WriteTo(p []byte, _ net.Addr) (int, error) {
	return r.UDPConn.WriteTo(p, r.relay.LocalAddr())
}

// TestCoAPRevokedWithinDTLS: the session of a key that is revoked ends within five seconds.
func TestCoAPRevokedWithinDTLS(t *testing.T) {
	f := start(t, nil)
	c, err := f.dialDTLS(t, listenUDP(t), psk("psk", "gk_psk", dtls.TLS_PSK_WITH_AES_128_CCM_8))
	if err != nil {
		t.Fatal(err)
	}
	c.askWithin(within("psk", "m a=1"), "2.04")
	keys := ownKeys()
	for name, k := range keys {
		k.Revoked = time.Unix(1_700_000_000, 0)
		keys[name] = k
	}
	f.Set(f.pipeline, keys)
	c.expectAlert()
	if _, err := f.dialDTLS(t, listenUDP(t), psk("psk", "gk_psk", dtls.TLS_PSK_WITH_AES_128_CCM_8)); err == nil {
		t.Error("it is let in again")
	}
}

// TestCoAPClientWithinDTLS is libcoap's client, by OpenSSL and by GnuTLS.
func TestCoAPClientWithinDTLS(t *testing.T) {
	f := start(t, nil)
	var want []string
	for i, program := range []string{"coap-client-openssl", "coap-client-gnutls"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(program + " is not installed: apt install libcoap3-bin")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		said, err := exec.CommandContext(ctx, program, "-u", "psk", "-k", "gk_psk", "-m", "post", "-e", fmt.Sprintf("m a=%d", i),
			fmt.Sprintf("coaps://%s/readings/psk", f.Addr())).CombinedOutput()
		cancel()
		if err != nil || len(said) > 0 {
			t.Errorf("%s: %v, %s", program, err, said)
		}
		want = append(want, fmt.Sprintf("psk m.a %d", i))
	}
	if diff := cmp.Diff(want, f.readings(t)); diff != "" {
		t.Error(diff)
	}
}

// TestCoAPFloodOfHandshakes: a ClientHello whose address is not verified leaves nothing behind, and one that is verified but not
// gone on with is bounded.
func TestCoAPFloodOfHandshakes(t *testing.T) {
	if !alone(t) {
		return
	}
	f := start(t, nil)
	hello := captureHello(t)
	to, err := net.ResolveUDPAddr("udp", f.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c := f.dialCoAP(t)
	before := 0.0
	for i := range 2200 {
		if i == 200 { // what is made once
			c.ping()
			before = inUse()
		}
		s, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 2, byte(i>>8), byte(i))})
		if err != nil {
			t.Fatal(err)
		}
		_, _ = s.WriteTo(hello, to)
		if i%100 == 0 {
			_ = s.SetReadDeadline(time.Now().Add(time.Minute))
			buf := make([]byte, 500)
			if n, err := s.Read(buf); err != nil || n > len(hello) || buf[13] != 3 {
				t.Errorf("a ClientHello of %d bytes is answered by %d, %v", len(hello), n, err)
			}
		}
		_ = s.Close()
		if i%16 == 0 {
			c.ping()
		}
	}
	c.ping()
	if grown := inUse() - before; grown > 512<<10 {
		t.Errorf("2000 addresses left %.0f bytes", grown)
	}
	runtime.KeepAlive(f)
}

// captureHello returns the first ClientHello of a client.
func captureHello(t *testing.T) []byte {
	t.Helper()
	server := listenUDP(t)
	defer server.Close()
	udp := listenUDP(t)
	defer udp.Close()
	c, err := dtls.ClientWithOptions(udp, server.LocalAddr(), psk("psk", "gk_psk", dtls.TLS_PSK_WITH_AES_128_CCM_8)...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = c.HandshakeContext(ctx)
	}()
	buf := make([]byte, 2000)
	n, _, err := server.ReadFrom(buf)
	cancel()
	<-ended
	_ = c.Close()
	if err != nil {
		t.Fatal(err)
	}
	return buf[:n]
}
