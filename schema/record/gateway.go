package record

import (
	"crypto/x509"
	"encoding/pem"
	"time"

	"berth/schema"
)

// GatewayKeyPrefix begins the keys of GatewayKeys in their bucket; the SHA-256 of the gateway's name follows, hex.
const GatewayKeyPrefix = "gateway."

// GatewayKey says how one gateway shows who it is. A gateway with something of its own to show no longer accepts the
// enrolment key; one that was only approved has nothing of its own, and shows the enrolment key.
type GatewayKey struct {
	Version  int          `json:"version"`
	Gateway  string       `json:"gateway"`
	Hash     string       `json:"hash"`               // SHA-256 of the key, hex; empty: it has none
	Sealed   []byte       `json:"sealed,omitempty"`   // the key itself, sealed by the pipeline's secret; empty: it cannot be one
	Cert     *GatewayCert `json:"cert,omitempty"`     // signed here; nil: it has none
	Previous *PreviousKey `json:"previous,omitempty"` // the key before, which may still be good
	Relay    bool         `json:"relay,omitempty"`    // may speak for many gateways
	Created  time.Time    `json:"created"`
	Approved time.Time    `json:"approved,omitzero"` // the enrolment key is good for it, though new gateways wait
	Revoked  time.Time    `json:"revoked,omitzero"`  // revoked: nothing that it shows opens the port for it, nor the enrolment key
	Serials  []string     `json:"serials,omitempty"` // of certificates by the provider's own authority that are revoked, hex
}

// GatewayCert is a certificate that the installation has signed for a gateway: of its authority's no other opens the port.
type GatewayCert struct {
	Serial string    `json:"serial"` // hex
	Until  time.Time `json:"until"`
}

// MostSerials is how many certificates of one gateway may be revoked one by one.
const MostSerials = 64

// CertHash is in the place of a key's hash for a certificate that was signed here.
func CertHash(serial string) string { return "cert:" + serial }

// Shows returns the hash of what the gateway has of its own to show, empty if it has nothing.
func (k *GatewayKey) Shows() string {
	if k.Cert != nil {
		return CertHash(k.Cert.Serial)
	}
	return k.Hash
}

// PreviousKey is a key that was replaced.
type PreviousKey struct {
	Hash      string    `json:"hash"`                 // SHA-256, hex, or CertHash
	Sealed    []byte    `json:"sealed,omitempty"`     // as GatewayKey's
	Until     time.Time `json:"until"`                // it is good until then
	UntilUsed bool      `json:"until_used,omitempty"` // and no longer than until the new key is first used
}

// Own reports whether the gateway has something of its own to show.
func (k *GatewayKey) Own() bool { return k.Shows() != "" }

// Decided reports whether somebody has said of the gateway whether it may send.
func (k *GatewayKey) Decided() bool { return k.Own() || !k.Approved.IsZero() || !k.Revoked.IsZero() }

const (
	// WaitingPrefix begins the keys of Waiting in their bucket; the SHA-256 of the gateway's name follows, hex.
	WaitingPrefix = "waiting."
	// ShownPrefix begins the keys of Shown in their bucket; the SHA-256 of the gateway's name follows, hex, or ShownEnrolment.
	ShownPrefix = "shown."
	// ShownEnrolment is in the place of a gateway's name for the enrolment key.
	ShownEnrolment = "enrolment"
)

// Waiting is a gateway that has shown the enrolment key and waits for approval. Ingest writes it; who approves or refuses
// the gateway removes it.
type Waiting struct {
	Version int       `json:"version"`
	Gateway string    `json:"gateway"`
	Address string    `json:"address,omitempty"` // from which it came last
	First   time.Time `json:"first"`
	Last    time.Time `json:"last"`  // to the minute
	Times   uint64    `json:"times"` // how often it came, about
}

// Shown is what ingest has seen of a key: not of each frame, but once and then once a day.
type Shown struct {
	Version int       `json:"version"`
	Gateway string    `json:"gateway,omitempty"` // empty: of the enrolment key
	Hash    string    `json:"hash"`              // of the key; what is said is of no other
	Used    time.Time `json:"used"`              // first
	Clear   time.Time `json:"clear,omitzero"`    // first shown on a plain connection, where others may have read it; zero: never
	Last    time.Time `json:"last,omitzero"`     // last shown so, to the day
}

const (
	// MostClientCA is the longest Settings.ClientCA, in bytes.
	MostClientCA = 64 << 10
	// MostAuthorities is how many certificates it may hold.
	MostAuthorities = 16
)

// Authorities reads certificates of authorities from PEM. The error is Invalid: there is something else in it, or too much.
func Authorities(text string) ([]*x509.Certificate, error) {
	if len(text) > MostClientCA {
		return nil, schema.Errorf(schema.Invalid, "certificates of %d bytes are longer than %d", len(text), MostClientCA)
	}
	var all []*x509.Certificate
	for rest := []byte(text); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, schema.Errorf(schema.Invalid, "there is a %s among the certificates of authorities", block.Type).
				WithNext("give certificates alone, and no key")
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, schema.Errorf(schema.Invalid, "a certificate of an authority cannot be read").WithCause(err)
		}
		if !c.IsCA {
			return nil, schema.Errorf(schema.Invalid, "the certificate of %q is no authority's", c.Subject.CommonName)
		}
		if all = append(all, c); len(all) > MostAuthorities {
			return nil, schema.Errorf(schema.Invalid, "there are more than %d authorities", MostAuthorities)
		}
	}
	if len(all) == 0 && text != "" {
		return nil, schema.Errorf(schema.Invalid, "there is no certificate in it").WithNext("give a file of PEM")
	}
	return all, nil
}
