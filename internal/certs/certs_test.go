package certs

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"
	"time"

	"berth/schema"
)

func TestAnAuthorityIsKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "authority", "ports.json")
	a, err := Open(path, "berth test")
	if err != nil {
		t.Fatal(err)
	}
	again, err := Open(path, "another name")
	if err != nil || !bytes.Equal(again.CA(), a.CA()) {
		t.Errorf("opened again it is another: %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("its file: %v, %v; want mode 0600", info, err)
	}
	if err := os.WriteFile(path, []byte(`{"version":2}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, "berth test"); !schema.Is(err, schema.Invalid) {
		t.Errorf("a file of a later version: %v", err)
	}
}

func TestWhatIsSignedIsGoodForItsWish(t *testing.T) {
	a, err := Open(filepath.Join(t.TempDir(), "a.json"), "berth test")
	if err != nil {
		t.Fatal(err)
	}
	other, err := Open(filepath.Join(t.TempDir(), "b.json"), "berth test")
	if err != nil {
		t.Fatal(err)
	}
	until := time.Now().Add(time.Hour)
	cert, key, err := a.Sign(&Wish{Name: "port", Hosts: []string{"berth.example", "127.0.0.1"}, Usages: []Usage{Server}, Until: until})
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		ca    []byte
		host  string
		usage Usage
		at    time.Time
		good  bool
	}{
		{"its name", a.CA(), "berth.example", Server, time.Now(), true},
		{"its address", a.CA(), "127.0.0.1", Server, time.Now(), true},
		{"a clock that is behind", a.CA(), "127.0.0.1", Server, time.Date(2021, 1, 1, 0, 0, 0, 0, time.UTC), true},
		{"another name", a.CA(), "other.example", Server, time.Now(), false},
		{"another authority of the same name", other.CA(), "berth.example", Server, time.Now(), false},
		{"another usage", a.CA(), "berth.example", Client, time.Now(), false},
		{"too late", a.CA(), "berth.example", Server, until.Add(time.Minute), false},
	} {
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(c.ca)
		_, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: c.host, KeyUsages: []Usage{c.usage}, CurrentTime: c.at})
		if (err == nil) != c.good {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
