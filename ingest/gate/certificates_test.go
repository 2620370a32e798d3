package gate

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	packets5 "github.com/eclipse/paho.golang/packets"

	"berth/internal/certs"
	"berth/internal/credentials"
	"berth/schema/record"
)

// certified is a gate that takes the certificates of the installation's authority and of one of the provider's own.
type certified struct {
	*fixture
	port trusted // whom clients trust
	ours *certs.Authority
	own  *certs.Authority // the provider's
}

func startCertified(t testing.TB) *certified {
	t.Helper()
	c := &certified{}
	for name, a := range map[string]**certs.Authority{"ours": &c.ours, "own": &c.own} {
		var err error
		if *a, err = certs.New(name); err != nil {
			t.Fatal(err)
		}
	}
	c.fixture, c.port = startTLS(t, func(f *fixture, _ *Options) {
		f.pipeline.GatewayCA, f.pipeline.Settings.ClientCA = string(c.ours.CA()), string(c.own.CA())
	})
	return c
}

// signed is a client's certificate.
type signed struct {
	tls.Certificate
	serial string
	path   string // of a file of PEM with the key in it
}

func (c *certified) sign(t testing.TB, a *certs.Authority, gateway string, life time.Duration) signed {
	t.Helper()
	cert, key, err := a.Sign(&certs.Wish{Name: gateway, Usages: []certs.Usage{certs.Client}, Until: time.Now().Add(life)})
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	s := signed{pair, pair.Leaf.SerialNumber.Text(16), filepath.Join(t.TempDir(), "gateway.pem")}
	if err := os.WriteFile(s.path, append(key, cert...), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

// config is a client's that shows the certificate.
func (c *certified) config(s signed) *tls.Config {
	config := c.port.config()
	config.Certificates = []tls.Certificate{s.Certificate}
	return config
}

// records has the gate know these beside the keys that it has.
func (c *certified) records(more ...record.GatewayKey) {
	keys := ownKeys()
	for _, k := range more {
		keys["gateway."+credentials.Hash(k.Gateway)] = k
	}
	c.Set(c.pipeline, keys)
}

func certOf(gateway string, s signed) record.GatewayKey {
	return record.GatewayKey{Gateway: gateway, Cert: &record.GatewayCert{Serial: s.serial, Until: s.Leaf.NotAfter}}
}

// TestACertificateNamesItsGateway shows certificates over TLS 1.2 and 1.3, by every protocol.
func TestACertificateNamesItsGateway(t *testing.T) {
	c := startCertified(t)
	ours, own, relay := c.sign(t, c.ours, "boiler 7", time.Hour), c.sign(t, c.own, "pump", time.Hour), c.sign(t, c.ours, "broker", time.Hour)
	broker := certOf("broker", relay)
	broker.Relay = true
	c.records(certOf("boiler 7", ours), broker)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for gateway, s := range map[string]signed{"boiler 7": ours, "pump": own} {
			config := c.config(s)
			config.MaxVersion = version
			f := c.dialTLS(t, config)
			f.say("HELLO "+gateway+" -\n", "OK\n")
			f.say(frame(1, "m a=1"), "ACK 1\n")
			c.dialTLS(t, config).say("HELLO other -\n", fmt.Sprintf("ERR forbidden the certificate is of gateway %q and not of %q", gateway, "other"))
			c.dialTLS(t, config).say("HELLO own gk_own\n", "OK\n") // a key counts more
			transport := &http.Transport{TLSClientConfig: config.Clone()}
			answer, err := (&http.Client{Transport: transport}).Post("https://"+c.Addr().String()+"/write", "", strings.NewReader("m a=1"))
			if err != nil {
				t.Fatal(err)
			}
			if _ = answer.Body.Close(); answer.StatusCode != http.StatusNoContent {
				t.Errorf("HTTP is answered %s", answer.Status)
			}
			transport.CloseIdleConnections()
			c.certifiedMQTT(t, config, gateway)
		}
	}
	c.dialTLS(t, c.config(relay)).say("HELLO anybody -\n", "OK\n")
	c.dialTLS(t, c.port.config()).say("HELLO pump -\n", "ERR unauthorized there is no key, and no certificate")
	c.dialTLS(t, c.port.config()).say("HELLO own gk_own\n", "OK\n")
	plain := c.dial(t)
	plain.send("HELLO pump -\n")
	plain.expect("ERR unauthorized there is no key, and no certificate")
	plain = c.dial(t)
	plain.send("HELLO boiler 7 " + enrolmentKey + "\n")
	plain.expect(`ERR unauthorized gateway "boiler 7" has a certificate of its own and must use it`)
	for _, line := range c.readings(t) {
		if !strings.HasPrefix(line, "boiler 7 ") && !strings.HasPrefix(line, "pump ") {
			t.Errorf("stored %s", line)
		}
	}
}

// certifiedMQTT connects with MQTT 5, with the gateway's name and without.
func (c *certified) certifiedMQTT(t *testing.T, config *tls.Config, gateway string) {
	t.Helper()
	for _, user := range []string{"", gateway} {
		conn := c.dialTLS(t, config)
		p := &packets5.Connect{
			ProtocolName: "MQTT", ProtocolVersion: 5, ClientID: "c", CleanStart: true, KeepAlive: 60, Properties: &packets5.Properties{},
			UsernameFlag: user != "", Username: user,
		}
		if _, err := p.WriteTo(conn); err != nil {
			t.Fatal(err)
		}
		got, err := packets5.ReadPacket(conn.in)
		if err != nil {
			t.Fatal(err)
		}
		if ack, ok := got.Content.(*packets5.Connack); !ok || ack.ReasonCode != 0 {
			t.Errorf("MQTT of user %q is answered %s", user, got)
		}
		_ = conn.Close()
	}
}

// TestACertificateThatIsGoodNoMore revokes, replaces and ends certificates, under open connections too.
func TestACertificateThatIsGoodNoMore(t *testing.T) {
	c := startCertified(t)
	ours, next, own := c.sign(t, c.ours, "boiler", time.Hour), c.sign(t, c.ours, "boiler", time.Hour), c.sign(t, c.own, "pump", time.Hour)
	refused := func(s signed, gateway, want string) {
		t.Helper()
		c.dialTLS(t, c.config(s)).say("HELLO "+gateway+" -\n", "ERR unauthorized "+want)
	}
	refused(ours, "boiler", "the certificate was revoked, or replaced by a new one") // it is on no record
	c.records(certOf("boiler", ours))
	first := c.dialTLS(t, c.config(ours))
	first.say("HELLO boiler -\n", "OK\n")
	pump := c.dialTLS(t, c.config(own))
	pump.say("HELLO pump -\n", "OK\n")

	replaced := certOf("boiler", next)
	replaced.Previous = &record.PreviousKey{Hash: record.CertHash(ours.serial), Until: time.Now().Add(time.Hour)}
	c.records(replaced)
	first.say(frame(1, "m a=1"), "ACK 1\n") // the overlap
	c.dialTLS(t, c.config(next)).say("HELLO boiler -\n", "OK\n")
	c.records(certOf("boiler", next), record.GatewayKey{Gateway: "pump", Serials: []string{own.serial}})
	first.say("", "ERR unauthorized the certificate was revoked, or replaced by a new one")
	pump.say("", "ERR unauthorized the certificate was revoked")
	refused(own, "pump", "the certificate was revoked")
	c.dialTLS(t, c.config(c.sign(t, c.own, "pump", time.Hour))).say("HELLO pump -\n", "OK\n")

	other := c.dialTLS(t, c.config(c.sign(t, c.own, "other", time.Hour)))
	other.say("HELLO other -\n", "OK\n")
	p := *c.pipeline
	p.Settings.ClientCA = ""
	c.Set(&p, ownKeys())
	other.say("", "ERR unauthorized whoever signed the certificate is trusted no more")

	// What nobody trusted has signed, what has ended, and what is no client's, is refused by the handshake.
	c.records()
	stranger, err := certs.New("ours")
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]signed{
		"of a stranger": c.sign(t, stranger, "boiler", time.Hour), "that has ended": c.sign(t, c.own, "pump", -time.Hour),
		"of a port": {Certificate: *trusted{Authority: c.own}.certificate(t)},
	} {
		config := c.config(s)
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &s.Certificate, nil }
		conn := tls.Client(c.dial(t).TCPConn, config)
		_, err := conn.Write([]byte("HELLO pump -\n"))
		if err == nil {
			_, err = conn.Read(make([]byte, 1))
		}
		if err == nil {
			t.Errorf("a certificate %s is taken", name)
		}
	}
}

// TestClientsShowCertificates sends by the programs that people have.
func TestClientsShowCertificates(t *testing.T) {
	c := startCertified(t)
	s := c.sign(t, c.ours, "boiler", time.Hour)
	c.records(certOf("boiler", s))
	host, port := "127.0.0.1", c.Addr().String()[strings.LastIndexByte(c.Addr().String(), ':')+1:]
	at := c.Addr().String()
	for name, test := range map[string]func(t *testing.T){
		"curl": func(t *testing.T) {
			for _, version := range []string{"1.2", "1.3"} {
				out, err := run(t, "", "curl", "-sS", "-f", "--tls-max", version, "--cacert", c.port.path, "--cert", s.path, "--data-binary", "curl a=1", "https://"+at+"/write")
				if err != nil {
					t.Errorf("TLS %s: %v, %s", version, err, out)
				}
			}
		},
		"mosquitto": func(t *testing.T) {
			for _, version := range []string{"tlsv1.2", "tlsv1.3"} {
				out, err := run(t, "", "mosquitto_pub", "--cafile", c.port.path, "--cert", s.path, "--key", s.path, "--tls-version", version,
					"-h", host, "-p", port, "-q", "1", "-t", "readings/boiler/mosquitto", "-m", "21.5")
				if err != nil {
					t.Errorf("%s: %v, %s", version, err, out)
				}
			}
		},
		"openssl": func(t *testing.T) {
			for _, version := range []string{"-tls1_2", "-tls1_3"} {
				talk(t, "HELLO boiler -\n"+frame(1, "openssl a=1"), "OK\nACK 1\n", "openssl", "s_client", "-quiet", "-no_ign_eof", version,
					"-CAfile", c.port.path, "-cert", s.path, "-key", s.path, "-connect", at)
			}
		},
	} {
		t.Run(name, func(t *testing.T) { test(t) })
	}
	if got := c.readings(t); !t.Skipped() && len(got) == 0 {
		t.Error("nothing is stored")
	}
}
