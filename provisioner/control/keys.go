package control

import (
	"net/http"

	"berth/schema"
	"berth/schema/record"
)

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
		k        record.GatewayKey
		out      GatewayKey
	)
	switch act := r.URL.Query().Get("act"); act {
	case "add":
		out.Key, k, err = gateways.Add(r.Context(), req.Gateway, req.Relay)
		out.Changed = out.Key != ""
	case "rotate":
		out.Key, k, err = gateways.Rotate(r.Context(), req.Gateway)
		out.Changed = true
	case "revoke":
		k, out.Changed, err = gateways.Revoke(r.Context(), req.Gateway)
	default:
		return schema.Errorf(schema.Invalid, "%q cannot be done to a gateway", act)
	}
	if err != nil {
		return err
	}
	out.Gateway = gateway(name, k)
	return answer(w, out)
}

func gateway(provider string, k record.GatewayKey) Gateway {
	g := Gateway{Provider: provider, Gateway: k.Gateway, Relay: k.Relay, Created: k.Created}
	if !k.Revoked.IsZero() {
		g.Revoked = &k.Revoked
	}
	return g
}
