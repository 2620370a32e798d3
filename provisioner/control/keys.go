package control

import (
	"context"
	"net/http"
	"time"

	"berth/provisioner/house"
	"berth/schema"
	"berth/schema/record"
)

// liveLimit bounds how long a command waits until the provider's ingest goes by what it changed.
const liveLimit = 2 * time.Second

func (s *Server) tokens(w http.ResponseWriter, r *http.Request) error {
	name, err := s.provider(r)
	if err != nil {
		return err
	}
	tokens, err := s.o.House.Tokens(r.Context(), name)
	if err != nil {
		return err
	}
	out := []Token{}
	for _, t := range tokens {
		out = append(out, Token{Provider: t.Provider, Name: t.Name, Created: t.Created})
	}
	return answer(w, out)
}

func (s *Server) newToken(w http.ResponseWriter, r *http.Request) error {
	var req TokenRequest
	if err := read(r, &req); err != nil {
		return err
	}
	name := r.PathValue("provider")
	token, err := s.o.House.NewToken(r.Context(), name, req.Name)
	if err != nil {
		return err
	}
	return answer(w, NewToken{Provider: name, Name: req.Name, Token: token})
}

func (s *Server) revokeToken(w http.ResponseWriter, r *http.Request) error {
	name, token := r.PathValue("provider"), r.URL.Query().Get("name")
	if token == "" {
		return tooShort("token")
	}
	if err := s.o.House.RevokeToken(r.Context(), name, token); err != nil {
		return err
	}
	return answer(w, Token{Provider: name, Name: token})
}

func (s *Server) gateways(w http.ResponseWriter, r *http.Request) error {
	name, err := s.provider(r)
	if err != nil {
		return err
	}
	bucket, err := s.o.World.Bucket(r.Context(), name)
	if err != nil {
		return err
	}
	keys, err := s.o.House.Gateways(name, bucket).List(r.Context())
	if err != nil {
		return err
	}
	out := []Gateway{}
	for _, k := range keys {
		out = append(out, gateway(name, k))
	}
	return answer(w, out)
}

func (s *Server) changeGateway(w http.ResponseWriter, r *http.Request) error {
	var req GatewayRequest
	if err := read(r, &req); err != nil {
		return err
	}
	name, err := s.provider(r)
	if err != nil {
		return err
	}
	bucket, err := s.o.World.Bucket(r.Context(), name)
	if err != nil {
		return err
	}
	var (
		gateways = s.o.House.Gateways(name, bucket)
		c        house.KeyChange
	)
	switch act := r.URL.Query().Get("act"); act {
	case "add":
		c, err = gateways.Add(r.Context(), req.Gateway, req.Relay)
	case "rotate":
		c, err = gateways.Rotate(r.Context(), req.Gateway)
	case "revoke":
		c, err = gateways.Revoke(r.Context(), req.Gateway)
	default:
		return schema.Errorf(schema.Invalid, "%q cannot be done to a gateway", act)
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), liveLimit)
	defer cancel()
	return answer(w, GatewayKey{
		Gateway: gateway(name, c.Record), Key: c.Key, Changed: c.Changed, Live: s.o.World.Live(ctx, name, c.Revision) == nil,
	})
}

func gateway(provider string, k record.GatewayKey) Gateway {
	g := Gateway{Provider: provider, Gateway: k.Gateway, Relay: k.Relay, Created: k.Created}
	if !k.Revoked.IsZero() {
		g.Revoked = &k.Revoked
	}
	return g
}
