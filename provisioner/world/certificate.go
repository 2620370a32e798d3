package world

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"berth/schema"
	"berth/schema/record"
)

// Certificates are where ports' certificates come from: provisioner/portcert.
type Certificates interface {
	// Wanted returns the fingerprint of what they are to be made of now.
	Wanted() string
	// Make returns one for a provider's port.
	Make(provider string) (record.PortCertificate, error)
}

// writeCertificate gives the provider's port a certificate, unless it has one that is as wanted and not soon to end.
func (w *World) writeCertificate(ctx context.Context, name string) error {
	bucket, err := w.Bucket(ctx, name)
	if err != nil {
		return err
	}
	var have record.PortCertificate
	value, _, err := bucket.Get(ctx, record.PortCertificateKey)
	switch {
	case schema.Is(err, schema.NotFound):
	case err != nil:
		return err
	case json.Unmarshal(value, &have) != nil || have.Version != record.Version:
		have = record.PortCertificate{} // of another release: it is made anew
	}
	if have.Made != w.o.Certificates.Wanted() || !have.Renew.IsZero() && !time.Now().Before(have.Renew) {
		if have, err = w.o.Certificates.Make(name); err != nil {
			return err
		}
		data, err := json.Marshal(have)
		if err != nil {
			return fmt.Errorf("write the certificate of %s: %w", name, err)
		}
		if _, err := bucket.Put(ctx, record.PortCertificateKey, data); err != nil {
			return err
		}
	}
	w.set(name, func(p *provider) { p.certificate, p.renew = have.Made, have.Renew })
	return nil
}
