package record

import "time"

// PortCertificate is what a provider's port shows to who connects by TLS. The provisioner makes it, and renews it in time.
type PortCertificate struct {
	Version     int       `json:"version"`
	Certificate string    `json:"certificate"` // PEM, the port's own first
	Key         string    `json:"key"`         // PEM; secret
	Made        string    `json:"made"`        // fingerprint of what it was made of: authority and names, or files
	Renew       time.Time `json:"renew,omitzero"`
}

// PortCertificateKey is the key of the PortCertificate in the bucket of the Pipeline.
const PortCertificateKey = "port.certificate"
