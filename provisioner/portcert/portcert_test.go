package portcert

import (
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"berth/schema"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// TestSignedCertificatesAreGoodForTheHost: each provider has a key of its own, for this machine's addresses and those asked
// for, and a new one is due before it ends.
func TestSignedCertificatesAreGoodForTheHost(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ports.json")
	s, err := Open(Options{Path: path, Install: "i1", Host: "0.0.0.0", Hosts: []string{"berth.example.com"}, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	one, err := s.Make("p1")
	if err != nil {
		t.Fatal(err)
	}
	two, err := s.Make("p2")
	if err != nil {
		t.Fatal(err)
	}
	if one.Key == two.Key || one.Made != s.Wanted() {
		t.Errorf("keys are shared, or %s is not %s", one.Made, s.Wanted())
	}
	pair, err := tls.X509KeyPair([]byte(one.Certificate), []byte(one.Key))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.CA())
	for _, host := range []string{"localhost", "127.0.0.1", "::1", "berth.example.com"} {
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: host}); err != nil {
			t.Errorf("at %s: %v", host, err)
		}
	}
	if left := pair.Leaf.NotAfter.Sub(one.Renew); left < renewBefore-time.Minute || left > renewBefore+time.Minute {
		t.Errorf("it is renewed %v before its end", left)
	}
	again, err := Open(Options{Path: path, Install: "i1", Host: "0.0.0.0", Hosts: []string{"berth.example.com"}, Logger: quiet()})
	if err != nil || again.Wanted() != one.Made {
		t.Errorf("after another start other certificates are wanted: %v", err)
	}
	other, err := Open(Options{Path: path + ".other", Install: "i1", Host: "0.0.0.0", Hosts: []string{"berth.example.com"}, Logger: quiet()})
	if err != nil || other.Wanted() == one.Made {
		t.Errorf("of another authority the same certificates are wanted: %v", err)
	}
	more, err := Open(Options{Path: path, Install: "i1", Host: "0.0.0.0", Logger: quiet()})
	if err != nil || more.Wanted() == one.Made {
		t.Errorf("for other names the same certificates are wanted: %v", err)
	}
}

// TestFilesAreReadAgain: a renewed pair is wanted at once; while it is half written, or wrong, the last one holds.
func TestFilesAreReadAgain(t *testing.T) {
	dir := t.TempDir()
	signer, err := Open(Options{Path: filepath.Join(dir, "ports.json"), Host: "127.0.0.1", Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	one, _ := signer.Make("p1")
	two, _ := signer.Make("p1")
	write(cert, one.Certificate)
	write(key, one.Key)
	s, err := Open(Options{Cert: cert, Key: key, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	first := s.Wanted()
	if got, err := s.Make("p1"); err != nil || got.Certificate != one.Certificate || !got.Renew.IsZero() || s.CA() != nil {
		t.Errorf("%+v, %v", got, err)
	}
	write(cert, two.Certificate)
	if s.Wanted() != first {
		t.Error("a pair that does not belong together is wanted")
	}
	write(key, two.Key)
	if s.Wanted() == first {
		t.Error("the new pair is not seen")
	}
	if got, _ := s.Make("p1"); got.Key != two.Key {
		t.Error("the new pair is not given")
	}
}

func TestWhatCannotBeIsRefused(t *testing.T) {
	dir := t.TempDir()
	for name, o := range map[string]Options{
		"a certificate without a key": {Cert: "cert.pem"},
		"files that are not there":    {Cert: filepath.Join(dir, "c"), Key: filepath.Join(dir, "k")},
		"a URL as a host":             {Path: filepath.Join(dir, "p"), Hosts: []string{"https://berth.example.com"}},
		"a host with a port":          {Path: filepath.Join(dir, "p"), Hosts: []string{"berth.example.com:6001"}},
	} {
		o.Logger = quiet()
		if _, err := Open(o); !schema.Is(err, schema.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
