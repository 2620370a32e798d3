// Package certs makes certificates that an installation signs itself: of NATS's servers, of providers' ports, and of
// gateways.
//
// It gives an authority that is kept in a file, and what it signs. Who may have which certificate, and where it is kept,
// is left to its callers. Its one invariant: an authority's key is nowhere but in its file, or in what
// Encode returns, which its caller keeps.
package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"berth/internal/durable"
	"berth/schema"
)

// Life is how long an authority's own certificate holds.
const Life = 20 * 365 * 24 * time.Hour

// begins is when certificates begin to hold: long ago, so that a machine whose clock is behind accepts them.
var begins = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

// fileVersion is the version of an authority's file.
const fileVersion = 1

// file is what an authority's file holds, as JSON.
type file struct {
	Version int    `json:"version"`
	Cert    string `json:"cert"` // PEM
	Key     string `json:"key"`  // PEM; secret
}

// Authority signs certificates.
type Authority struct {
	file *file
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// Open reads an authority from its file, or makes one of that name and writes it there, readable by its owner alone. Of
// one path it is not to be called twice at a time.
func Open(path, name string) (*Authority, error) {
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return create(path, name)
	case err != nil:
		return nil, fmt.Errorf("read an authority's certificate: %w", err)
	}
	a, err := Decode(data)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return a, nil
}

// Decode reads an authority as Encode wrote it.
func Decode(data []byte) (*Authority, error) {
	var f file
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, fmt.Errorf("read an authority: %w", err)
	}
	if f.Version != fileVersion {
		return nil, schema.Errorf(schema.Invalid, "an authority's file has version %d, not %d", f.Version, fileVersion).
			WithNext("run the release that wrote it")
	}
	return of(&f)
}

// New makes an authority of a name, which is kept nowhere yet.
func New(name string) (*Authority, error) {
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotAfter: time.Now().Add(Life),
	}
	cert, key, err := sign(template, template, nil)
	if err != nil {
		return nil, fmt.Errorf("make an authority's certificate: %w", err)
	}
	return of(&file{Version: fileVersion, Cert: string(cert), Key: string(key)})
}

// Encode returns the authority with its key, which is secret, as it is kept.
func (a *Authority) Encode() ([]byte, error) {
	data, err := json.MarshalIndent(a.file, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write an authority: %w", err)
	}
	return data, nil
}

func create(path, name string) (*Authority, error) {
	a, err := New(name)
	if err != nil {
		return nil, err
	}
	data, err := a.Encode()
	if err != nil {
		return nil, err
	}
	if err := durable.Mkdir(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("keep an authority's certificate: %w", err)
	}
	if err := durable.WriteFile(path, data); err != nil {
		return nil, fmt.Errorf("keep an authority's certificate: %w", err)
	}
	return a, nil
}

func of(f *file) (*Authority, error) {
	pair, err := tls.X509KeyPair([]byte(f.Cert), []byte(f.Key))
	if err != nil {
		return nil, fmt.Errorf("read an authority's certificate: %w", err)
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("read an authority's certificate: its key is a %T", pair.PrivateKey)
	}
	return &Authority{file: f, cert: pair.Leaf, key: key}, nil
}

// CA returns the authority's own certificate as PEM: who trusts it trusts all that it signs.
func (a *Authority) CA() []byte { return []byte(a.file.Cert) }

// Wish says what a certificate is to be good for.
type Wish struct {
	Name   string    // of whom it is
	Hosts  []string  // names and addresses at which a server has it
	Usages []Usage   // what it may be shown for
	Until  time.Time // when it ends
}

// Usage is what a certificate may be shown for.
type Usage = x509.ExtKeyUsage

// What a certificate may be shown for.
const (
	Server = x509.ExtKeyUsageServerAuth
	Client = x509.ExtKeyUsageClientAuth
)

// Sign makes a key and a certificate of it, both as PEM.
func (a *Authority) Sign(w *Wish) (cert, key []byte, err error) {
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: w.Name}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: w.Usages, NotAfter: w.Until,
	}
	for _, host := range w.Hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	if cert, key, err = sign(template, a.cert, a.key); err != nil {
		return nil, nil, fmt.Errorf("make a certificate of %s: %w", w.Name, err)
	}
	return cert, key, nil
}

// Parse reads the first certificate of PEM.
func Parse(data []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, schema.Errorf(schema.Invalid, "this is no certificate as PEM")
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, schema.Errorf(schema.Invalid, "the certificate cannot be read").WithCause(err)
	}
	return c, nil
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
	template.NotBefore = begins
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
