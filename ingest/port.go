package ingest

import (
	"context"
	"errors"
	"syscall"

	"berth/ingest/gate"
	"berth/internal/credentials"
	"berth/schema"
)

// openPort opens the gate's port, and waits a while for one that something else holds.
func (i *Ingest) openPort(ctx context.Context, g *gate.Gate, port int) error {
	err := retry(ctx, portWait, func() (again bool, err error) {
		err = g.Start(ctx)
		return errors.Is(err, syscall.EADDRINUSE), err
	}, func(err error) {
		i.log.Warn("waiting for the port, which another program holds", "port", port, "error", err)
	})
	if errors.Is(err, syscall.EADDRINUSE) {
		return schema.Errorf(schema.Conflict, "port %d is held by another program", port).
			WithNext("ss -ltunp 'sport = :%d' shows which: stop it, and ingest is started again", port).WithCause(err)
	}
	return err
}

// openKey opens a gateway's key that is kept sealed; nil: it cannot be.
func (i *Ingest) openKey(sealed []byte) []byte {
	if len(i.o.Secret) == 0 {
		return nil
	}
	key, err := credentials.Open(i.o.Secret, sealed)
	if err != nil {
		i.log.Error("a gateway's pre-shared key cannot be opened", "error", err)
		return nil
	}
	return key
}
