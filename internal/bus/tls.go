package bus

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

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

// How long what the authority signs holds. It begins long ago, so that a machine whose clock is behind accepts it.
const certificateLife = 20 * 365 * 24 * time.Hour

var certificateBegins = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

// certifier signs the certificates of the installation's own NATS servers.
//
//	<dir>/tls.json   its certificate and its key, made when they are first needed
type certifier struct {
	Version int    `json:"version"`
	Cert    string `json:"cert"` // PEM
	Key     string `json:"key"`  // PEM; secret
}

// certify reads the authority's certifier, or makes it.
func (a *Authority) certify() (*certifier, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	path := filepath.Join(a.dir, "tls.json")
	c := &certifier{}
	switch err := readJSON(path, c); {
	case err == nil && c.Version != authorityVersion:
		return nil, schema.Errorf(schema.Invalid, "%s has version %d, not %d", path, c.Version, authorityVersion).
			WithNext("run the release that wrote it")
	case err == nil:
		return c, nil
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("read the authority's certificate: %w", err)
	}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "berth " + a.root.Operator.Public[:8]}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign,
	}
	cert, key, err := sign(template, template, nil)
	if err != nil {
		return nil, fmt.Errorf("make the authority's certificate: %w", err)
	}
	c.Version, c.Cert, c.Key = authorityVersion, string(cert), string(key)
	if err := writeJSON(path, c); err != nil {
		return nil, fmt.Errorf("keep the authority's certificate: %w", err)
	}
	return c, nil
}

// CA returns the PEM of the certificate that all certificates of [Authority.Certificate] are signed with.
func (a *Authority) CA() ([]byte, error) {
	c, err := a.certify()
	if err != nil {
		return nil, err
	}
	return []byte(c.Cert), nil
}

// Certificate makes a certificate for a server, and its key, as PEM. It holds for the given names and addresses, towards
// clients and towards other servers.
func (a *Authority) Certificate(hosts ...string) (cert, key []byte, err error) {
	c, err := a.certify()
	if err != nil {
		return nil, nil, err
	}
	pair, err := tls.X509KeyPair([]byte(c.Cert), []byte(c.Key))
	if err != nil {
		return nil, nil, fmt.Errorf("read the authority's certificate: %w", err)
	}
	signer, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return nil, nil, fmt.Errorf("read the authority's certificate: its key is a %T", pair.PrivateKey)
	}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "berth nats"}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	cert, key, err = sign(template, pair.Leaf, signer)
	if err != nil {
		return nil, nil, fmt.Errorf("make a certificate for %v: %w", hosts, err)
	}
	return cert, key, nil
}

// sign makes a key and a certificate of it; without a signer it is signed with that key itself.
func sign(template, parent *x509.Certificate, signer *ecdsa.PrivateKey) (cert, key []byte, err error) {
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	if signer == nil {
		signer = own
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)); err != nil {
		return nil, nil, err
	}
	template.NotBefore, template.NotAfter = certificateBegins, time.Now().Add(certificateLife)
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &own.PublicKey, signer)
	if err != nil {
		return nil, nil, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(own)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), nil
}
