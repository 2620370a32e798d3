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
	out := GatewayKey{
		Gateway: gateway(p.Name, &house.Seen{Gateway: c.Record.Gateway, Key: &c.Record}), Key: c.Key, Changed: c.Changed,
		Cert: c.Cert, Secret: c.Secret,
	}
	if c.Cert != "" {
		out.CA = s.o.Status.CA
	}
	out.Live = s.live(r.Context(), p.Name, c) == nil
	return answer(w, out)
}

// live returns when the provider's ingest goes by a change: also by the authority of the certificate that was made, which may
// be new.
func (s *Server) live(ctx context.Context, name string, c house.KeyChange) error {
	ctx, cancel := context.WithTimeout(ctx, liveLimit)
	defer cancel()
	revision := c.Revision
	if c.Cert != "" {
		p, err := s.o.House.Active(ctx, name)
		if err != nil {
			return err
		}
		s.o.Loop.Heard(ctx, &p)
		written, err := s.o.World.Written(ctx, &p)
		if err != nil {
			return err
		}
		revision = max(revision, written)
	}
	return s.o.World.Live(ctx, name, revision)
}

// change does to a gateway what is asked.
func change(ctx context.Context, gateways house.Gateways, act string, req *GatewayRequest) (house.KeyChange, error) {
	fresh := house.Fresh{Relay: req.Relay, Cert: req.Cert}
	if req.Life != nil {
		var err error
		if fresh.Life, err = ParseRetention(*req.Life); err != nil {
			return house.KeyChange{}, err
		}
	}
	switch act {
	case "add":
		return gateways.Add(ctx, req.Gateway, fresh)
	case "rotate":
		overlap := house.Overlap
		if req.Overlap != nil {
			var err error
			if overlap, err = parseOverlap(*req.Overlap); err != nil {
				return house.KeyChange{}, err
			}
		}
		return gateways.Rotate(ctx, req.Gateway, fresh, overlap, req.UntilUsed)
	case "revoke":
		if req.Serial != "" {
			return gateways.RevokeCertificate(ctx, req.Gateway, req.Serial)
		}
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
	case k.Cert != nil:
		g.State = houseapi.GatewayCertified
	case k.Own():
		g.State = houseapi.GatewayKeyed
	case k.Decided():
		g.State = houseapi.GatewayApproved
	default:
		g.State = houseapi.GatewayKnown
	}
	if g.Serials = k.Serials; k.Cert != nil {
		g.Serial, g.Until = k.Cert.Serial, been(k.Cert.Until)
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
