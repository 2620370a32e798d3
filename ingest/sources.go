package ingest

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"berth/ingest/gate/intake"
	"berth/ingest/source"
	"berth/internal/headapi"
)

// sourcesStop bounds the disconnecting of sources: what they have in hand is acknowledged first.
const sourcesStop = 3 * time.Second

// openSources connects to the provider's own brokers. It is the last that takes anything in: an instance that was before this
// one has given them up with the port.
func (i *Ingest) openSources(in *intake.Intake) error {
	sources := source.New(source.Options{Intake: in, Secret: i.o.Secret, Logger: i.log})
	i.push("sources", sourcesStop, sources.Stop)
	i.settings.tellSources(sources.Set)
	i.sources.Store(sources)
	stop, err := i.conn.Answer(headapi.Sources, func(_ context.Context, _ []byte, reply func([]byte) error) error {
		data, err := json.Marshal(sources.Status())
		if err != nil {
			return fmt.Errorf("write how the sources do: %w", err)
		}
		return reply(data)
	})
	if err != nil {
		return err
	}
	i.push(headapi.Sources, otherStop, func(context.Context) error { stop(); return nil })
	return nil
}
