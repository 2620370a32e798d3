package bus

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"time"

	"berth/internal/certs"
	"berth/schema"
)

// Trust says how a connection by TLS knows the server, and how the server knows it. The zero value trusts whom the machine
// trusts, and shows nothing of its own: credentials say who it is.
type Trust struct {
	CA        []byte // PEM of whom to trust instead of the machine's own authorities
	Cert, Key []byte // PEM of a certificate of one's own, where the server asks for one
}

// ReadTrust reads a trust from PEM files, of which each may be left out.
func ReadTrust(ca, cert, key string) (t Trust, err error) {
	for _, f := range []struct {
		flag, path string
		to         *[]byte
	}{{"--nats-ca", ca, &t.CA}, {"--nats-cert", cert, &t.Cert}, {"--nats-key", key, &t.Key}} {
		if f.path == "" {
			continue
		}
		if *f.to, err = os.ReadFile(f.path); err != nil {
			return Trust{}, schema.Errorf(schema.Invalid, "%s cannot be read", f.path).
				WithNext("give %s a file of PEM", f.flag).WithCause(err)
		}
	}
	_, err = t.config()
	return t, err
}

// config returns the trust as a configuration.
func (t Trust) config() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if len(t.CA) > 0 {
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(t.CA) {
			return nil, schema.Errorf(schema.Invalid, "there is no certificate in what NATS's authority is said to be").
				WithNext("give --nats-ca a file of PEM certificates")
		}
	}
	if len(t.Cert) > 0 || len(t.Key) > 0 {
		own, err := tls.X509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, schema.Errorf(schema.Invalid, "the certificate for NATS and its key cannot be used").
				WithNext("give --nats-cert and --nats-key PEM files that belong together").WithCause(err)
		}
		c.Certificates = []tls.Certificate{own}
	}
	return c, nil
}

// certify reads what signs the certificates of the installation's own NATS servers, or makes it.
func (a *Authority) certify() (*certs.Authority, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return certs.Open(filepath.Join(a.dir, "tls.json"), "berth "+a.root.Operator.Public[:8])
}

// CA returns the PEM of the certificate that all certificates of [Authority.Certificate] are signed with.
func (a *Authority) CA() ([]byte, error) {
	c, err := a.certify()
	if err != nil {
		return nil, err
	}
	return c.CA(), nil
}

// Certificate makes a certificate for a server, and its key, as PEM. It holds for the given names and addresses, towards
// clients and towards other servers.
func (a *Authority) Certificate(hosts ...string) (cert, key []byte, err error) {
	c, err := a.certify()
	if err != nil {
		return nil, nil, err
	}
	return c.Sign(&certs.Wish{
		Name: "berth nats", Hosts: hosts, Usages: []certs.Usage{certs.Server, certs.Client}, Until: time.Now().Add(certs.Life),
	})
}
