package query

import (
	"context"
	"slices"
	"strings"
	"time"

	"berth/internal/api"
	"berth/internal/headapi"
	"berth/schema"
)

// ExportRequest asks for the readings of many gateways in [From, To).
type ExportRequest struct {
	Gateways []string // none: those of the choice
	Choice
	Sensors  []string // none: all
	From, To time.Time
	After    *api.Cursor // only what comes after it; nil: all
}

// Export is an answer under way that walks through gateway after gateway. One gateway's readings are all that it looks at
// at a time, and a cluster of blocks all that it holds of them.
type Export struct {
	Gateways []string     // in byte order, those that are walked through
	Complete api.Complete // of what was walked through
	Damaged  int          // places that could not be read

	engine  *Engine
	request ExportRequest
}

// Export begins an answer. A gateway that was named and that nobody knows is NotFound.
func (e *Engine) Export(ctx context.Context, q ExportRequest) (*Export, error) {
	x := &Export{engine: e, request: q, Complete: api.Complete{Complete: true}}
	if len(q.Gateways) > 0 {
		for _, name := range q.Gateways {
			if _, err := e.Gateway(ctx, name); err != nil {
				return nil, err
			}
		}
		x.Gateways = slices.Compact(slices.Sorted(slices.Values(q.Gateways)))
	} else if err := x.list(ctx); err != nil {
		return nil, err
	}
	if q.After != nil {
		at, _ := slices.BinarySearch(x.Gateways, q.After.Gateway)
		x.Gateways = x.Gateways[at:]
	}
	return x, nil
}

// list finds the names of all gateways.
func (x *Export) list(ctx context.Context) error {
	for after := ""; ; {
		entries, _, complete, err := x.engine.entries(ctx, headapi.GatewaysRequest{After: after, Limit: MostGateways})
		if err != nil {
			return err
		}
		x.note(complete)
		for _, entry := range entries {
			if x.engine.has(x.request.Choice, entry.Gateway) {
				x.Gateways = append(x.Gateways, strings.Clone(entry.Gateway))
			}
		}
		if len(entries) < MostGateways {
			return nil
		}
		after = entries[len(entries)-1].Gateway
	}
}

// Walk yields the readings of one of the gateways in order of time and, within one time, of the sensors' names.
func (x *Export) Walk(ctx context.Context, gateway string, yield func(sensor string, t int64, v schema.Value) error) error {
	from, after := x.request.From, x.request.After
	if after != nil && after.Gateway == gateway {
		if at := time.Unix(0, after.Time); at.After(from) {
			from = at
		}
		all := yield
		yield = func(sensor string, t int64, v schema.Value) error {
			if t < after.Time || t == after.Time && sensor <= after.Sensor {
				return nil
			}
			return all(sensor, t, v)
		}
	}
	answer, err := x.engine.Readings(ctx, ReadingsRequest{Gateway: gateway, Sensors: x.request.Sensors, From: from, To: x.request.To})
	if schema.Is(err, schema.NotFound) { // it has gone since it was listed
		return nil
	}
	if err != nil {
		return err
	}
	err = answer.Walk(ctx, yield)
	x.note(answer.Complete)
	x.Damaged += answer.Damaged
	return err
}

// note takes over how far a part of the answer is complete: the whole is as far as the part that is least so.
func (x *Export) note(c api.Complete) {
	switch {
	case c.Complete:
	case x.Complete.Complete:
		x.Complete = c
	case x.Complete.UpTo == nil: // up to when cannot be told
	case c.UpTo == nil || c.UpTo.Before(*x.Complete.UpTo):
		x.Complete.UpTo = c.UpTo
	}
}
