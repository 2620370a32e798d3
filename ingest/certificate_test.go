package ingest_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"path/filepath"
	"testing"
	"time"

	"berth/internal/bus"
	"berth/internal/certs"
	"berth/schema/record"
)

// TestThePortShowsTheCertificateOfTheRecords: it comes with the records, a new one is shown without a restart, and one that
// cannot be used changes nothing.
func TestThePortShowsTheCertificateOfTheRecords(t *testing.T) {
	h := newHouse(t, bus.LogOptions{})
	authority, err := certs.Open(filepath.Join(t.TempDir(), "ports.json"), "test")
	h.check(err)
	bucket, err := h.provisioner.Bucket(t.Context(), bus.BucketOptions{Name: "pipeline"})
	h.check(err)
	write := func(r record.PortCertificate) {
		data, err := json.Marshal(r)
		h.check(err)
		_, err = bucket.Put(t.Context(), record.PortCertificateKey, data)
		h.check(err)
	}
	sign := func(name string, version int) {
		cert, key, err := authority.Sign(&certs.Wish{Name: name, Hosts: []string{"127.0.0.1"}, Usages: []certs.Usage{certs.Server}, Until: time.Now().Add(time.Hour)})
		h.check(err)
		write(record.PortCertificate{Version: version, Certificate: string(cert), Key: string(key)})
	}
	i := h.start()
	defer func() { h.stop(i) }()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority.CA())
	shown := func() string {
		d := tls.Dialer{Config: &tls.Config{RootCAs: roots}}
		c, err := d.DialContext(t.Context(), "tcp", i.Addr().String())
		if err != nil {
			return err.Error()
		}
		defer c.Close()
		return c.(*tls.Conn).ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	until := func(want string) {
		t.Helper()
		limit := time.Now().Add(time.Minute)
		for shown() != want {
			if time.Now().After(limit) {
				t.Fatalf("the port shows %q, not %q", shown(), want)
			}
		}
	}
	sign("first", record.Version)
	until("first")
	sign("second", record.Version)
	until("second")
	write(record.PortCertificate{Version: record.Version, Certificate: "none", Key: "none"})
	h.record.Settings.Timezone = "Europe/Berlin"
	h.put() // records are taken in order: when this one is, the one before it was
	sign("third", record.Version)
	until("third")
	h.stop(i)
	i = h.start()
	if got := shown(); got != "third" {
		t.Errorf("after a restart the port shows %q", got)
	}
	sign("of a release to come", record.Version+1)
	h.stop(i) // a start that finds none it can use takes plain connections
	i = h.start()
	if got := shown(); got == "of a release to come" {
		t.Errorf("the port shows a certificate %s", got)
	}
	if got := h.dial(i).put("m v=1"); got == "" {
		t.Error("a plain connection is not taken")
	}
}
