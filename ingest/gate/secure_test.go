package gate

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/ingest/gate/intake"
	"berth/ingest/gate/secure"
	"berth/internal/certs"
	"berth/schema/record"
)

// trusted is an authority, and where clients find its certificate.
type trusted struct {
	*certs.Authority
	path string
}

func newTrusted(t testing.TB) trusted {
	t.Helper()
	dir := t.TempDir()
	a, err := certs.Open(filepath.Join(dir, "ports.json"), "berth test")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(path, a.CA(), 0o600); err != nil {
		t.Fatal(err)
	}
	return trusted{a, path}
}

// certificate makes one for this machine's loopback.
func (a trusted) certificate(t testing.TB) *tls.Certificate {
	t.Helper()
	cert, key, err := a.Sign(&certs.Wish{
		Name: "p1", Hosts: []string{"localhost", "127.0.0.1"}, Usages: []certs.Usage{certs.Server}, Until: time.Now().Add(time.Hour),
	})
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return &pair
}

// config is a client's that trusts the authority.
func (a trusted) config() *tls.Config {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(a.CA())
	return &tls.Config{RootCAs: roots, ServerName: "localhost"}
}

// startTLS starts a gate with a certificate.
func startTLS(t testing.TB, change func(f *fixture, o *Options)) (*fixture, trusted) {
	t.Helper()
	a := newTrusted(t)
	return start(t, func(f *fixture, o *Options) {
		o.Certificate = a.certificate(t)
		if change != nil {
			change(f, o)
		}
	}), a
}

// requireTLS has the gate take connections by TLS alone.
func (f *fixture) requireTLS(yes bool) {
	p := *f.pipeline
	p.Settings.RequireTLS = yes
	f.Set(&p, ownKeys())
}

// secureClient is a client of Berth frames within TLS.
type secureClient struct {
	*tls.Conn
	t  testing.TB
	in *bufio.Reader
}

func (f *fixture) dialTLS(t testing.TB, config *tls.Config) *secureClient {
	t.Helper()
	c := tls.Client(f.dial(t).TCPConn, config)
	if err := c.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	return &secureClient{c, t, bufio.NewReader(c)}
}

func (c *secureClient) say(text, want string) {
	c.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		c.t.Fatal(err)
	}
	if line, err := c.in.ReadString('\n'); err != nil || !strings.HasPrefix(line, want) {
		c.t.Fatalf("%q is answered %q, %v, want %q", text, line, err, want)
	}
}

// run runs a client's program and returns what it said.
func run(t testing.TB, stdin string, args ...string) (said string, err error) {
	t.Helper()
	program, err := exec.LookPath(args[0])
	if err != nil {
		t.Skipf("%s is not installed", args[0])
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c := exec.CommandContext(ctx, program, args[1:]...)
	c.Stdin = strings.NewReader(stdin)
	out, err := c.CombinedOutput()
	return string(out), err
}

// talk runs a client's program, which is given text and ends when it was answered.
func talk(t testing.TB, text, answer string, args ...string) {
	t.Helper()
	program, err := exec.LookPath(args[0])
	if err != nil {
		t.Skipf("%s is not installed", args[0])
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c := exec.CommandContext(ctx, program, args[1:]...)
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(in, text)
	got := make([]byte, len(answer))
	if _, err := io.ReadFull(out, got); err != nil || string(got) != answer {
		t.Errorf("%q is answered %q, %v, want %q", args, got, err, answer)
	}
	_ = in.Close()
	if err := c.Wait(); err != nil {
		t.Errorf("%q: %v", args, err)
	}
}

// TestEveryProtocolComesByTLSToo sends by clients that everybody has, to one port, on which plain connections come too.
func TestEveryProtocolComesByTLSToo(t *testing.T) {
	f, a := startTLS(t, nil)
	address := f.Addr().String()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	plain := f.hello(t, "plain", enrolmentKey)
	for _, version := range []string{"-tls1_2", "-tls1_3"} {
		talk(t, "HELLO openssl "+enrolmentKey+"\n"+frame(1, "m v="+version[6:]), "OK\nACK 1\n",
			"openssl", "s_client", "-quiet", "-no_ign_eof", "-verify_return_error", version, "-CAfile", a.path, "-connect", "localhost:"+port)
	}
	said, err := run(t, "", "curl", "-sS", "-w", "%{http_code} %{http_version}", "--cacert", a.path, "-H", "Authorization: Bearer "+enrolmentKey,
		"--data-binary", "m,gateway=curl v=5", "https://"+address+"/api/v2/write")
	if err != nil || said != "204 1.1" {
		t.Errorf("curl: %v, %s", err, said)
	}
	if said, err := run(t, "", "curl", "-sS", "https://"+address+"/ping"); err == nil || !strings.Contains(said, "certificate") {
		t.Errorf("curl that does not trust the authority: %v, %s", err, said)
	}
	for _, version := range []string{"mqttv311", "mqttv5"} {
		said, err := run(t, "", "mosquitto_pub", "-V", version, "-q", "2", "--cafile", a.path, "-h", "localhost", "-p", port,
			"-u", "mosquitto", "-P", enrolmentKey, "-t", "readings/mosquitto/v", "-m", version)
		if err != nil {
			t.Errorf("mosquitto_pub: %v, %s", err, said)
		}
	}
	plain.send(frame(1, "m v=6"))
	plain.expect("ACK 1")
	want := []string{"curl m.v 5", "mosquitto v mqttv311", "mosquitto v mqttv5", "openssl m.v 2", "openssl m.v 3", "plain m.v 6"}
	got := f.readings(t)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("stored are %q, want %q", got, want)
	}
	f.books(t)
}

// TestTLSIsNewEnoughAndOnce refuses old versions, TLS within TLS, and to renegotiate.
func TestTLSIsNewEnoughAndOnce(t *testing.T) {
	f, a := startTLS(t, nil)
	old := a.config()
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	if err := tls.Client(f.dial(t).TCPConn, old).HandshakeContext(t.Context()); err == nil || !strings.Contains(err.Error(), "protocol version") {
		t.Errorf("TLS 1.1: %v", err)
	}
	c := f.dialTLS(t, a.config())
	inner := tls.Client(c, a.config())
	if err := inner.HandshakeContext(t.Context()); err == nil {
		t.Error("TLS within TLS is taken")
	}
	_, port, _ := net.SplitHostPort(f.Addr().String())
	said, _ := run(t, "R\nHELLO g "+enrolmentKey+"\n", "openssl", "s_client", "-tls1_2", "-CAfile", a.path, "-connect", "localhost:"+port)
	if !strings.Contains(said, "RENEGOTIATING") || !strings.Contains(said, "SSL alert number") {
		t.Errorf("a client that renegotiates: %s", said)
	}
	again := a.config()
	again.ClientSessionCache, again.MaxVersion = tls.NewLRUClientSessionCache(1), tls.VersionTLS12
	for range 2 {
		if f.dialTLS(t, again).ConnectionState().DidResume {
			t.Error("a session was resumed")
		}
	}
	f.eventually(t, "all are counted", func() bool { return f.books(t).Strangers >= 3 })
}

// TestARenewedCertificateIsShownToTheNext replaces the certificate under a connection that goes on.
func TestARenewedCertificateIsShownToTheNext(t *testing.T) {
	f, a := startTLS(t, func(_ *fixture, o *Options) { o.Certificate = nil })
	if err := tls.Client(f.dial(t).TCPConn, a.config()).HandshakeContext(t.Context()); err == nil {
		t.Fatal("a handshake without a certificate")
	}
	f.SetCertificate(a.certificate(t))
	before := f.dialTLS(t, a.config())
	before.say("HELLO g "+enrolmentKey+"\n", "OK")
	other := newTrusted(t)
	f.SetCertificate(other.certificate(t))
	if err := tls.Client(f.dial(t).TCPConn, a.config()).HandshakeContext(t.Context()); err == nil {
		t.Error("the old certificate is still shown")
	}
	f.dialTLS(t, other.config()).say("HELLO g "+enrolmentKey+"\n", "OK")
	before.say(frame(1, "m v=1"), "ACK 1")
}

// TestPlainConnectionsAreRefusedWhereTLSIsRequired asks each protocol how it says so, before anything of a key is looked at.
func TestPlainConnectionsAreRefusedWhereTLSIsRequired(t *testing.T) {
	f, a := startTLS(t, nil)
	early := f.hello(t, "early", enrolmentKey)
	kept := f.dialTLS(t, a.config())
	kept.say("HELLO kept "+enrolmentKey+"\n", "OK")
	web := http.Client{Transport: &http.Transport{}}
	defer web.CloseIdleConnections()
	post := func() int {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+f.Addr().String()+"/write", strings.NewReader("m,gateway=g v=1"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Token "+enrolmentKey)
		answer, err := web.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, answer.Body)
		_ = answer.Body.Close()
		return answer.StatusCode
	}
	if got := post(); got != http.StatusNoContent {
		t.Fatalf("HTTP is answered %d", got)
	}
	f.requireTLS(true)
	early.expect("ERR forbidden this provider takes connections by TLS alone")
	early.expectEnd()
	for range 2 { // on the connection that is there, then on a new one
		if got := post(); got != http.StatusForbidden {
			t.Errorf("plain HTTP is answered %d", got)
		}
		web.CloseIdleConnections()
	}
	c := f.dial(t)
	c.send("HELLO ") // the key need not even come
	c.expect("ERR forbidden this provider takes connections by TLS alone")
	c.expectEnd()
	_, port, _ := net.SplitHostPort(f.Addr().String())
	for _, version := range []string{"mqttv311", "mqttv5"} {
		mqtt := []string{"mosquitto_pub", "-V", version, "-q", "1", "-h", "localhost", "-p", port, "-u", "m", "-P", enrolmentKey, "-t", "readings/m/v", "-m", "1"}
		if said, err := run(t, "", mqtt...); err == nil || !strings.Contains(strings.ToLower(said), "not authori") {
			t.Errorf("plain %s: %v, %s", version, err, said)
		}
		if said, err := run(t, "", append(mqtt, "--cafile", a.path)...); err != nil {
			t.Errorf("%s by TLS: %v, %s", version, err, said)
		}
	}
	kept.say(frame(1, "m v=1"), "ACK 1")
	f.requireTLS(false)
	f.hello(t, "late", enrolmentKey)
	if n := f.books(t).Reasons[intake.ReasonPlain]; n < 4 {
		t.Errorf("%d plain connections are counted", n)
	}
}

// aHello returns a ClientHello.
func aHello(t testing.TB, a trusted) []byte {
	t.Helper()
	near, far := net.Pipe()
	defer far.Close()
	go func() { _ = tls.Client(near, a.config()).HandshakeContext(t.Context()) }()
	hello := make([]byte, 16<<10)
	n, err := far.Read(hello)
	if err != nil {
		t.Fatal(err)
	}
	return hello[:n]
}

// TestAHelloThatIsNoneIsRefused sends what a stranger may try instead of a ClientHello.
func TestAHelloThatIsNoneIsRefused(t *testing.T) {
	f, a := startTLS(t, firstFrameIn(2*time.Second))
	cases := map[string]struct{ sent, want string }{
		"too long":    {"\x16\x03\x01\x40\x00", "\x15\x03\x01\x00\x02\x02\x16"},
		"empty":       {"\x16\x03\x01\x00\x00", "\x15\x03\x01\x00\x02\x02\x32"},
		"no version":  {"\x16\x02\x01\x00\x10", "\x15\x03\x01\x00\x02\x02\x32"},
		"garbage":     {"\x16\x03\x01\x00\x04abcd", "\x15\x03\x01\x00\x02\x02"},
		"one byte":    {"\x16", ""},
		"half of one": {string(aHello(t, a)[:100]), ""},
		"one":         {string(aHello(t, a)), "\x16\x03\x03"}, // and nothing after it
	}
	var all sync.WaitGroup
	for name, c := range cases {
		conn := f.dial(t)
		all.Go(func() {
			conn.send(c.sent)
			got, err := io.ReadAll(conn.in)
			if err != nil || !strings.HasPrefix(string(got), c.want) || c.want == "" && len(got) > 0 {
				t.Errorf("%s is answered %q, %v, want %q", name, got, err, c.want)
			}
		})
	}
	all.Wait()
	f.eventually(t, "all are counted", func() bool { return f.books(t).Strangers == 7 })
}

// fillHandshakes begins so many handshakes that do not go on.
func fillHandshakes(t testing.TB, f *fixture, a trusted, n int) []*client {
	t.Helper()
	hello := string(aHello(t, a))
	clients := make([]*client, n)
	for i := range clients {
		clients[i] = f.dial(t)
		clients[i].in = nil
		clients[i].send(hello)
	}
	f.eventually(t, "they are begun", func() bool { return f.door.Handshakes() == min(n, secure.MostOfAddress) })
	return clients
}

// TestHandshakesOfOneAddressHoldUpNoOther begins more handshakes than one address may have.
func TestHandshakesOfOneAddressHoldUpNoOther(t *testing.T) {
	f, a := startTLS(t, nil)
	silent := fillHandshakes(t, f, a, secure.MostOfAddress+20)
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	other, err := dialer.DialContext(t.Context(), "tcp", f.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	_ = other.SetDeadline(time.Now().Add(time.Minute))
	if err := tls.Client(other, a.config()).HandshakeContext(t.Context()); err != nil {
		t.Errorf("another address: %v", err)
	}
	waiting := f.dial(t).TCPConn
	_ = waiting.SetDeadline(time.Now().Add(200 * time.Millisecond))
	if err := tls.Client(waiting, a.config()).HandshakeContext(t.Context()); err == nil {
		t.Error("one more of the same address is not held up")
	}
	_ = waiting.Close()
	for _, c := range silent {
		_ = c.Close()
	}
	f.dialTLS(t, a.config()).say("HELLO g "+enrolmentKey+"\n", "OK")
	f.eventually(t, "all places are free", func() bool { return f.door.Handshakes() == 0 })
}

// TestARevokedKeyEndsConnectionsWithinTLS revokes the key of a gateway that is connected.
func TestARevokedKeyEndsConnectionsWithinTLS(t *testing.T) {
	f, a := startTLS(t, nil)
	c := f.dialTLS(t, a.config())
	c.say("HELLO own gk_own\n", "OK")
	keys := ownKeys()
	for name, k := range keys {
		if k.Gateway == "own" {
			k.Revoked = time.Now()
			keys[name] = k
		}
	}
	f.Set(&record.Pipeline{Name: "p1", EnrolmentHash: f.pipeline.EnrolmentHash, Settings: f.pipeline.Settings}, keys)
	if rest, err := io.ReadAll(c.in); err != nil || !strings.HasPrefix(string(rest), "ERR unauthorized") {
		t.Errorf("told %q, %v", rest, err)
	}
}
