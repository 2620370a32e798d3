package promises

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/internal/certs"
	"berth/internal/gateways"
	"berth/internal/houseapi"
	"berth/promises/install"
)

// senders is an installation with one provider, of whose gateways a test says who may send.
type senders struct {
	*testing.T
	ctx      context.Context //nolint:containedctx // of the test
	in       *install.Install
	provider install.Provider
}

func newSenders(t *testing.T) *senders {
	t.Helper()
	in, _ := newInstall(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*recovery)
	t.Cleanup(cancel)
	provider, err := in.Add(ctx, "provider1")
	if err != nil {
		t.Fatal(err)
	}
	return &senders{t, ctx, in, provider}
}

// run runs the command line and returns what it printed.
func (s *senders) run(args ...string) string {
	s.Helper()
	out, err := s.in.CLI(s.ctx, args...)
	if err != nil {
		s.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// gateway returns what the list of keys says of a gateway, once it says what is wanted.
func (s *senders) gateway(name string, want func(g *houseapi.Gateway) bool) houseapi.Gateway {
	s.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	var last string
	for {
		var all []houseapi.Gateway
		last = s.run("gateway", "ls", "provider1", "-o", "json")
		if err := json.Unmarshal([]byte(last), &all); err != nil {
			s.Fatal(err)
		}
		for _, g := range all {
			if g.Gateway == name && want(&g) {
				return g
			}
		}
		select {
		case <-tick.C:
		case <-s.ctx.Done():
			s.Fatalf("the list of keys says of %s: %s", name, last)
		}
	}
}

// hello opens a session, and sends a frame; it returns the connection and the first answers.
func (s *senders) hello(gateway, key string) (net.Conn, string) {
	s.Helper()
	c, err := (&net.Dialer{}).DialContext(s.ctx, "tcp", s.provider.Address())
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(recovery))
	_, _ = fmt.Fprintf(c, "HELLO %s %s\nPUT 1 line 5\nm v=1", gateway, key)
	in := bufio.NewReader(c)
	said, _ := in.ReadString('\n')
	if said == "OK\n" {
		said, _ = in.ReadString('\n')
	}
	return c, strings.TrimSpace(said)
}

// expect sends a frame, and compares the beginning of its answer.
func (s *senders) expect(gateway, key, want string) {
	s.Helper()
	if _, said := s.hello(gateway, key); !strings.HasPrefix(said, want) {
		s.Errorf("gateway %s is answered %q, want %q", gateway, said, want)
	}
}

// TestNewGatewaysWaitForApproval lets new gateways wait, across the death of ingest, and approves and refuses them, by the
// real command line; who sent before goes on.
func TestNewGatewaysWaitForApproval(t *testing.T) {
	t.Parallel()
	s := newSenders(t)
	enrolment := s.provider.EnrolmentKey
	s.expect("before", enrolment, "ACK 1")
	s.run("set", "provider1", "--approve-gateways")
	s.expect("before", enrolment, "ACK 1")
	s.expect("new", enrolment, `ERR pending gateway "new" waits for approval`)
	s.expect("bad", enrolment, `ERR pending gateway "bad" waits for approval`)
	waits := func(g *houseapi.Gateway) bool { return g.State == houseapi.GatewayWaiting }
	first := s.gateway("new", waits)
	if !strings.HasPrefix(first.Address, "127.0.0.1") || first.Last == nil {
		t.Errorf("of a gateway that waits is known %+v", first)
	}
	if err := s.in.KillInstance(s.ctx, "provider1", "ingest"); err != nil {
		t.Fatal(err)
	}
	if again := s.gateway("new", waits); !again.Created.Equal(first.Created) {
		t.Errorf("it waited since %v, and after a restart since %v", first.Created, again.Created)
	}
	s.answersAgain("before", enrolment) // what is approved before waits for ingest, as the command says
	s.run("gateway", "approve", "provider1", "new")
	s.run("gateway", "refuse", "provider1", "bad")
	s.expect("new", enrolment, "ACK 1")
	s.expect("bad", enrolment, `ERR unauthorized gateway "bad" was revoked`)
	s.gateway("new", func(g *houseapi.Gateway) bool { return g.State == houseapi.GatewayApproved })
	s.gateway("bad", func(g *houseapi.Gateway) bool { return g.State == houseapi.GatewayRevoked })
}

// answersAgain waits until the port takes frames.
func (s *senders) answersAgain(gateway, key string) {
	s.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		c, err := (&net.Dialer{}).DialContext(s.ctx, "tcp", s.provider.Address())
		if err == nil {
			_ = c.Close()
			if _, said := s.hello(gateway, key); said == "ACK 1" {
				return
			}
		}
		select {
		case <-tick.C:
		case <-s.ctx.Done():
			s.Fatalf("the port takes nothing of %s: %v", gateway, err)
		}
	}
}

// TestAKeyIsReplacedWithoutAPause gives a gateway a new key while it sends by the old one; what was seen of the keys is shown,
// also after ingest was killed. Then the key is revoked: the connections that are open end within seconds.
func TestAKeyIsReplacedWithoutAPause(t *testing.T) {
	t.Parallel()
	s := newSenders(t)
	old := s.run("gateway", "add", "provider1", "g")
	open, said := s.hello("g", old)
	if said != "ACK 1" {
		t.Fatalf("answered %q", said)
	}
	s.gateway("g", func(g *houseapi.Gateway) bool { return g.Used != nil && g.Clear != nil })
	next := s.run("gateway", "rotate", "provider1", "g")
	rotated := s.gateway("g", func(g *houseapi.Gateway) bool { return g.Previous != nil })
	if left := time.Until(rotated.Previous.Until); left < 23*time.Hour || left > 24*time.Hour || rotated.Used != nil || rotated.Clear != nil {
		t.Errorf("a key that was rotated is shown as %+v", rotated)
	}
	for _, key := range []string{old, next} {
		s.expect("g", key, "ACK 1")
	}
	used := s.gateway("g", func(g *houseapi.Gateway) bool { return g.Used != nil && g.Clear != nil })
	if err := s.in.KillInstance(s.ctx, "provider1", "ingest"); err != nil {
		t.Fatal(err)
	}
	s.answersAgain("g", next)
	if again := s.gateway("g", func(g *houseapi.Gateway) bool { return g.Clear != nil }); !again.Used.Equal(*used.Used) {
		t.Errorf("the key was used first at %v, and after a restart at %v", used.Used, again.Used)
	}
	_ = open.Close()
	open, _ = s.hello("g", old)
	last := s.run("gateway", "rotate", "provider1", "g", "--until-used")
	s.expect("g", last, "ACK 1")
	s.ends(open, "of a key that was replaced until the next was used")
	open, _ = s.hello("g", last)
	s.run("gateway", "revoke", "provider1", "g")
	s.ends(open, "of a key that was revoked")
}

// ended is within how many seconds connections end of whom may not send any more; on a busy machine they may take longer.
const ended = 20 * time.Second

// ends waits until a connection ends.
func (s *senders) ends(c net.Conn, which string) {
	s.Helper()
	began := time.Now()
	_ = c.SetDeadline(began.Add(ended))
	if _, err := io.Copy(io.Discard, c); err != nil {
		s.Errorf("the connection %s goes on after %v: %v", which, time.Since(began), err)
	}
}

// TestAGatewayShowsACertificate gives a gateway a certificate by the command line, and takes another that an authority of the
// provider's own has signed; both send by the one file that was printed. Then each is revoked, under an open connection.
func TestAGatewayShowsACertificate(t *testing.T) {
	t.Parallel()
	s := newSenders(t)
	dir := t.TempDir()
	own, err := certs.New("the provider's own")
	if err != nil {
		t.Fatal(err)
	}
	clientCA := filepath.Join(dir, "client-ca.pem")
	write := func(path string, parts ...[]byte) string {
		t.Helper()
		if err := os.WriteFile(path, bytes.Join(parts, nil), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write(clientCA, own.CA())
	s.run("set", "provider1", "--client-ca", clientCA)
	cert, key, err := own.Sign(&certs.Wish{Name: "pump", Usages: []certs.Usage{certs.Client}, Until: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	read, err := certs.Parse(cert)
	if err != nil {
		t.Fatal(err)
	}
	ca := []byte(s.run("ca"))
	boiler := []byte(s.run("gateway", "add", "provider1", "boiler 7", "--cert"))
	for gateway, file := range map[string][]byte{"boiler 7": boiler, "pump": bytes.Join([][]byte{key, cert}, nil)} {
		c, said := s.helloByTLS(gateway, file, ca)
		if said != "OK ACK 1" {
			t.Errorf("%s is answered %q", gateway, said)
		}
		if curl, err := exec.LookPath("curl"); err == nil {
			path := write(filepath.Join(dir, gateway+".pem"), file)
			out, err := exec.CommandContext(s.ctx, curl, "-sS", "-o", os.DevNull, "-w", "%{http_code}", "--cacert", write(filepath.Join(dir, "ca.pem"), ca),
				"--cert", path, "--data-binary", "m v=1", "https://"+s.provider.Address()+"/write").CombinedOutput()
			if err != nil || string(out) != "204" {
				t.Errorf("curl of %s: %v, %s", gateway, err, out)
			}
		}
		if gateway == "pump" {
			s.run("gateway", "revoke", "provider1", gateway, "--serial", read.SerialNumber.Text(16))
		} else {
			s.gateway(gateway, func(g *houseapi.Gateway) bool { return g.State == houseapi.GatewayCertified && g.Used != nil })
			s.run("gateway", "revoke", "provider1", gateway)
		}
		s.ends(c, "of "+gateway)
		if _, said := s.helloByTLS(gateway, file, ca); !strings.HasPrefix(said, "ERR unauthorized") {
			t.Errorf("%s, which was revoked, is answered %q", gateway, said)
		}
	}
}

// helloByTLS opens a session with a certificate and its key, and sends a frame; it returns what was answered.
func (s *senders) helloByTLS(gateway string, file, ca []byte) (net.Conn, string) {
	s.Helper()
	pair, err := tls.X509KeyPair(file, file)
	if err != nil {
		s.Fatal(err)
	}
	config, err := gateways.Trust(ca)
	if err != nil {
		s.Fatal(err)
	}
	config.Certificates = []tls.Certificate{pair}
	c, err := (&tls.Dialer{Config: config}).DialContext(s.ctx, "tcp", s.provider.Address())
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(recovery))
	_, _ = fmt.Fprintf(c, "HELLO %s -\nPUT 1 line 5\nm v=1", gateway)
	in := bufio.NewReader(c)
	said, _ := in.ReadString('\n')
	if said != "OK\n" {
		return c, strings.TrimSpace(said)
	}
	ack, _ := in.ReadString('\n')
	return c, "OK " + strings.TrimSpace(ack)
}
