package world

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"berth/internal/credentials"
	"berth/internal/headapi"
	"berth/schema/record"
)

// sealSources returns the provider's sources with passwords that its pipeline can open, and nobody else who reads its records.
func (w *World) sealSources(p *record.Provider) ([]record.Source, error) {
	if len(p.Sources) == 0 {
		return nil, nil
	}
	secret := credentials.PipelineSecret(w.o.Secret, p.Name)
	sources := slices.Clone(p.Sources)
	for i := range sources {
		if len(sources[i].Sealed) == 0 {
			continue
		}
		password, err := w.o.House.SourcePassword(&sources[i])
		if err != nil {
			return nil, err
		}
		if sources[i].Sealed, err = credentials.Seal(secret, []byte(password)); err != nil {
			return nil, fmt.Errorf("seal the password of the source %s: %w", sources[i].Name, err)
		}
	}
	return sources, nil
}

// Sources returns how the provider's sources do, as its ingest says. Errors: Unavailable when it does not run, or does not
// answer before ctx ends.
func (w *World) Sources(ctx context.Context, name string) (all []headapi.Source, err error) {
	conn, err := w.connected(name)
	if err != nil {
		return nil, err
	}
	err = conn.Ask(ctx, headapi.Sources, nil, func(data []byte) error {
		if err := json.Unmarshal(data, &all); err != nil {
			return fmt.Errorf("read how the sources of %s do: %w", name, err)
		}
		return nil
	})
	return all, err
}
