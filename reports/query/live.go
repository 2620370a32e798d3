package query

import (
	"context"
	"math"
	"slices"

	"berth/internal/api"
	"berth/internal/headapi"
	"berth/schema/block"
)

// LiveRequest asks for what came for a gateway after a position.
type LiveRequest struct {
	Gateway string
	Sensors []string // none: all
	After   string   // the position of the answer before; empty asks only for the position to begin at
}

// mostLive bounds the readings of one live event; whoever wants more asks for the series.
const mostLive = 20_000

// Live answers with the readings that came after a position and are still in the head, and with the position to ask
// after the next time. When some of them have already left the head, or there are too many, the event is not complete:
// whoever shows it asks for its series anew.
func (e *Engine) Live(ctx context.Context, q LiveRequest) (api.LiveEvent, string, error) {
	event := api.LiveEvent{Readings: []api.Reading{}, At: e.now().UTC()}
	var sources []block.Source
	request := headapi.SinceRequest{Gateway: q.Gateway, After: q.After, Sensors: q.Sensors}
	header, complete := e.ask(ctx, headapi.Since, request, func(data []byte) error {
		reader, err := block.Open(slices.Clone(data))
		if err != nil {
			return err
		}
		sources = append(sources, reader)
		return nil
	})
	event.Complete = complete
	if header.Missed {
		event.Complete = api.Complete{Reason: "some readings have been stored meanwhile"}
	}
	position := header.Position
	if position == "" {
		position = q.After
	}
	series, err := block.Merge(sources, keepOnly(q.Sensors), math.MinInt64, math.MaxInt64)
	if err != nil {
		return event, position, err
	}
	clock := e.Clock()
	for i := range series {
		s := &series[i]
		for j, t := range s.Times {
			if len(event.Readings) == mostLive {
				event.Complete = api.Complete{Reason: "more readings came than a live event holds"}
				return event, position, nil
			}
			event.Readings = append(event.Readings, clock.Reading(s.Sensor, t, s.Value(j)))
		}
	}
	return event, position, nil
}
