// Package portcert gives providers' ports the certificates that they show to who connects by TLS: signed by an authority
// of the installation's own, each with a key of its own, or all the one that files hold. Those of files serve the pages too.
//
// Writing them into providers' accounts is left to provisioner/world, and when to provisioner/plan. Its one invariant:
// the authority is no other than the ports': who trusts it, a gateway, trusts nothing else of the installation by it.
package portcert

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"berth/internal/certs"
	"berth/schema"
	"berth/schema/record"
)

const (
	// Life is how long a certificate holds that is signed here.
	Life = 180 * 24 * time.Hour
	// renewBefore is how long before its end it is replaced.
	renewBefore = Life / 3
)

// Options say where certificates come from. Without files they are signed.
type Options struct {
	Path      string // of the authority's file
	Install   string // id of the installation
	Host      string // where the ports listen
	Hosts     []string
	Cert, Key string // files of PEM; empty: none
	Flags     string // that name them, for errors
	Logger    *slog.Logger
}

// Source makes certificates. Its methods may be called concurrently.
type Source struct {
	o         Options
	authority *certs.Authority // nil: they come from files
	hosts     []string

	mu    sync.Mutex // guards what follows
	files files      // the last ones that were good
	bad   string     // what was said of those that are not
}

type files struct{ cert, key, made string }

// Open opens the source, and makes the authority at the first start. The error is Invalid if files that are given cannot
// be used.
func Open(o Options) (*Source, error) {
	s := &Source{o: o}
	var err error
	switch {
	case o.Cert != "" && o.Key != "":
		s.files, err = o.read()
		return s, err
	case o.Cert != "" || o.Key != "":
		return nil, schema.Errorf(schema.Invalid, "a certificate and its key belong together").
			WithNext("give both of %s, or none", o.Flags)
	}
	if s.hosts, err = hostsOf(o.Host, o.Hosts); err != nil {
		return nil, err
	}
	s.authority, err = certs.Open(o.Path, "berth ports "+o.Install)
	return s, err
}

// CA returns whom clients are to trust, as PEM; nil if the certificates come from files.
func (s *Source) CA() []byte {
	if s.authority == nil {
		return nil
	}
	return s.authority.CA()
}

// Wanted returns the fingerprint of what certificates are to be made of now. Files are looked at anew; while they cannot be
// used the last good ones hold.
func (s *Source) Wanted() string {
	if s.authority != nil {
		return fingerprint("1", string(s.authority.CA()), strings.Join(s.hosts, " "))
	}
	now, err := s.o.read()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.files, s.bad = now, ""
	} else if text := schema.Show(err); text != s.bad {
		s.bad = text
		s.o.Logger.Error("a certificate cannot be read anew: the one before it stays", "error", err)
	}
	return s.files.made
}

// Make returns a certificate for a provider's port.
func (s *Source) Make(provider string) (record.PortCertificate, error) {
	if s.authority == nil {
		_ = s.Wanted()
		s.mu.Lock()
		defer s.mu.Unlock()
		return record.PortCertificate{Version: record.Version, Certificate: s.files.cert, Key: s.files.key, Made: s.files.made}, nil
	}
	until := time.Now().Add(Life)
	cert, key, err := s.authority.Sign(&certs.Wish{Name: "berth " + provider, Hosts: s.hosts, Usages: []certs.Usage{certs.Server}, Until: until})
	if err != nil {
		return record.PortCertificate{}, err
	}
	return record.PortCertificate{
		Version: record.Version, Certificate: string(cert), Key: string(key), Made: s.Wanted(), Renew: until.Add(-renewBefore).UTC(),
	}, nil
}

// read reads a certificate and its key from files.
func (o *Options) read() (f files, err error) {
	for path, to := range map[string]*string{o.Cert: &f.cert, o.Key: &f.key} {
		data, err := os.ReadFile(path)
		if err != nil {
			return files{}, schema.Errorf(schema.Invalid, "%s cannot be read", path).
				WithNext("give %s files of PEM", o.Flags).WithCause(err)
		}
		*to = string(data)
	}
	if _, err := tls.X509KeyPair([]byte(f.cert), []byte(f.key)); err != nil {
		return files{}, schema.Errorf(schema.Invalid, "the certificate in %s and the key in %s cannot be used", o.Cert, o.Key).
			WithNext("give %s PEM files that belong together", o.Flags).WithCause(err)
	}
	f.made = fingerprint("files", f.cert, f.key)
	return f, nil
}

func fingerprint(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:6])
}

// hostsOf returns the names and addresses at which gateways reach the ports: those that are asked for, and this machine's.
func hostsOf(host string, more []string) ([]string, error) {
	hosts := []string{"localhost", "127.0.0.1", "::1"}
	if name, err := os.Hostname(); err == nil {
		hosts = append(hosts, name)
	}
	if ip := net.ParseIP(host); host != "" && (ip == nil || !ip.IsUnspecified()) {
		hosts = append(hosts, host)
	} else {
		addresses, _ := net.InterfaceAddrs() // what cannot be listed is to be asked for
		for _, a := range addresses {
			if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
				hosts = append(hosts, n.IP.String())
			}
		}
	}
	for _, h := range more {
		if h == "" || strings.ContainsAny(h, " /:") && net.ParseIP(h) == nil {
			return nil, schema.Errorf(schema.Invalid, "%q is no name or address of a host", h).
				WithNext("give --tls-host what gateways connect to, such as berth.example.com")
		}
	}
	hosts = slices.DeleteFunc(append(hosts, more...), func(h string) bool { return !valid(h) })
	slices.Sort(hosts)
	return slices.Compact(hosts), nil
}

// valid reports whether a certificate can hold the name: it is an address, or plain ASCII.
func valid(host string) bool {
	return host != "" && strings.IndexFunc(host, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
}

// String is for logs: it tells no secret.
func (s *Source) String() string {
	if s.authority == nil {
		return "files " + s.o.Cert
	}
	return fmt.Sprintf("signed for %s", strings.Join(s.hosts, ", "))
}
