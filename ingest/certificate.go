package ingest

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"log/slog"

	"berth/internal/bus"
	"berth/schema/record"
)

// portCertificate is the certificate that the port shows, as the provider's records have it. One that cannot be used
// changes nothing: the one before it is shown on. What guards settings guards it.
type portCertificate struct {
	revision uint64 // of the record taken last
	use      *tls.Certificate
	set      func(*tls.Certificate) // nil until the port is open
}

// take takes the record, if there is a new one.
func (c *portCertificate) take(e bus.Entry, log *slog.Logger) {
	if e.Value == nil || e.Revision == c.revision {
		return
	}
	c.revision = e.Revision
	var r record.PortCertificate
	err := json.Unmarshal(e.Value, &r)
	if err == nil && r.Version > record.Version {
		err = fmt.Errorf("it is of version %d", r.Version)
	}
	var pair tls.Certificate
	if err == nil {
		pair, err = tls.X509KeyPair([]byte(r.Certificate), []byte(r.Key))
	}
	if err != nil {
		log.Error("the port's certificate cannot be used", "error", err)
		return
	}
	c.use = &pair
	if c.set != nil {
		c.set(c.use)
		log.Info("the port has a new certificate", "until", pair.Leaf.NotAfter)
	}
}

// tellCertificate has set called with the port's certificate as it is, nil if there is none, and at each change.
func (s *settings) tellCertificate(set func(*tls.Certificate)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.port.set = set
	set(s.port.use)
}
