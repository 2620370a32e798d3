package control

import (
	"context"
	"net/http"
	"time"

	"berth/internal/houseapi"
	"berth/provisioner/house"
	"berth/schema"
	"berth/schema/record"
)

// liveLimit bounds how long a command waits until the provider's ingest goes by what it changed.
const liveLimit = 2 * time.Second

// gatewaysOf returns the keys of the gateways of the provider that the path names.
func (s *Server) gatewaysOf(r *http.Request) (house.Gateways, *record.Provider, error) {
	p, err := s.o.House.Active(r.Context(), r.PathValue("provider"))
	if err != nil {
		return house.Gateways{}, nil, err
	}
	pipeline, err := s.o.World.Bucket(r.Context(), p.Name)
	if err != nil {
		return house.Gateways{}, nil, err
	}
	seen, err := s.o.World.Seen(r.Context(), p.Name)
	return s.o.House.Gateways(p.Name, pipeline, seen), &p, err
}

func (s *Server) gateways(w http.ResponseWriter, r *http.Request) error {
	gateways, p, err := s.gatewaysOf(r)
	if err != nil {
		return err
	}
	all, _, err := gateways.List(r.Context(), p.EnrolmentHash)
	if err != nil {
		return err
	}
	out := []Gateway{}
	for i := range all {
		out = append(out, gateway(p.Name, &all[i]))
	}
	return answer(w, out)
}

func (s *Server) enrolment(w http.ResponseWriter, r *http.Request) error {
	gateways, p, err := s.gatewaysOf(r)
	if err != nil {
		return err
	}
	_, shown, err := gateways.List(r.Context(), p.EnrolmentHash)
	if err != nil {
		return err
	}
	return answer(w, Enrolment{Used: been(shown.Used), Clear: been(shown.Clear), LastSo: been(shown.Last)})
}

func (s *Server) changeGateway(w http.ResponseWriter, r *http.Request) error {
	var req GatewayRequest
	if err := read(r, &req); err != nil {
		return err
	}
	gateways, p, err := s.gatewaysOf(r)
	if err != nil {
		return err
	}
	c, err := change(r.Context(), gateways, r.URL.Query().Get("act"), &req)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), liveLimit)
	defer cancel()
	return answer(w, GatewayKey{
		Gateway: gateway(p.Name, &house.Seen{Gateway: c.Record.Gateway, Key: &c.Record}), Key: c.Key, Changed: c.Changed,
		Live: s.o.World.Live(ctx, p.Name, c.Revision) == nil,
	})
}

// change does to a gateway what is asked.
func change(ctx context.Context, gateways house.Gateways, act string, req *GatewayRequest) (house.KeyChange, error) {
	switch act {
	case "add":
		return gateways.Add(ctx, req.Gateway, req.Relay)
	case "rotate":
		overlap := house.Overlap
		if req.Overlap != nil {
			var err error
			if overlap, err = parseOverlap(*req.Overlap); err != nil {
				return house.KeyChange{}, err
			}
		}
		return gateways.Rotate(ctx, req.Gateway, overlap, req.UntilUsed)
	case "revoke":
		return gateways.Revoke(ctx, req.Gateway)
	case "approve":
		return gateways.Approve(ctx, req.Gateway)
	case "refuse":
		return gateways.Refuse(ctx, req.Gateway)
	default:
		return house.KeyChange{}, schema.Errorf(schema.Invalid, "%q cannot be done to a gateway", act)
	}
}

// parseOverlap reads how long a key that was replaced stays good: "0" is not at all.
func parseOverlap(s string) (time.Duration, error) {
	if s == "0" {
		return 0, nil
	}
	return ParseRetention(s)
}

// gateway returns how a gateway shows who it is.
func gateway(provider string, s *house.Seen) Gateway {
	g := Gateway{Provider: provider, Gateway: s.Gateway}
	if w := s.Waiting; w != nil {
		g.State, g.Created, g.Address, g.Last, g.Times = houseapi.GatewayWaiting, w.First, w.Address, been(w.Last), w.Times
		return g
	}
	k := s.Key
	g.Relay, g.Created, g.Revoked, g.Approved = k.Relay, k.Created, been(k.Revoked), been(k.Approved)
	switch {
	case g.Revoked != nil:
		g.State = houseapi.GatewayRevoked
	case k.Own():
		g.State = houseapi.GatewayKeyed
	default:
		g.State = houseapi.GatewayApproved
	}
	if seen := s.Shown; seen != nil {
		g.Used, g.Clear, g.LastSo = been(seen.Used), been(seen.Clear), been(seen.Last)
	}
	if before := k.Previous; before != nil && g.Revoked == nil && before.Until.After(time.Now()) && (!before.UntilUsed || g.Used == nil) {
		g.Previous = &houseapi.Previous{Until: before.Until, UntilUsed: before.UntilUsed}
	}
	return g
}

// been returns a time that may not have been.
func been(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
