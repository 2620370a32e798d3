package cassandratest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Certify makes an authority, and a certificate of it for a node at 127.0.0.1 and for a client. It returns a new folder with
// ca.pem, node.pem (key and certificate), client.pem and client.key; docker/cassandra/node takes it as TLS.
func Certify(tb testing.TB) (dir string) {
	tb.Helper()
	dir = tb.TempDir()
	authority := newCertified(tb, "authority", nil)
	node, client := newCertified(tb, "node", authority), newCertified(tb, "client", authority)
	for name, text := range map[string][]byte{
		"ca.pem": authority.certificate, "node.pem": append(node.keyText, node.certificate...), "client.pem": client.certificate, "client.key": client.keyText,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	return dir
}

// certified is somebody who has a certificate.
type certified struct {
	parsed               *x509.Certificate
	key                  *ecdsa.PrivateKey
	certificate, keyText []byte // PEM; the key in PKCS 8
}

// newCertified returns somebody whom by has certified; by himself when that is nil.
func newCertified(tb testing.TB, name string, by *certified) *certified {
	tb.Helper()
	check := func(err error) {
		if err != nil {
			tb.Helper()
			tb.Fatal(err)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	check(err)
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, BasicConstraintsValid: true, IsCA: by == nil,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	parent, signer := template, key
	if by != nil {
		parent, signer = by.parsed, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	check(err)
	parsed, err := x509.ParseCertificate(der)
	check(err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	check(err)
	return &certified{
		parsed: parsed, key: key, certificate: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		keyText: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}),
	}
}
