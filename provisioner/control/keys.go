package control

import (
	"net/http"

	"berth/schema/record"
)

func (s *Server) tokens(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("provider")
	if name != "" {
		if _, err := s.provider(r); err != nil {
			return err
		}
	}
	tokens, err := s.o.House.Tokens(r.Context(), name)
	if err != nil {
		return err
	}
	out := []Token{}
	for _, t := range tokens {
		out = append(out, tokenOf(t))
	}
	return answer(w, out)
}

func (s *Server) newToken(w http.ResponseWriter, r *http.Request) error {
	var req TokenRequest
	if err := read(r, &req); err != nil {
		return err
	}
	name := r.PathValue("provider")
	t := record.Token{Provider: name, Name: req.Name, Scope: req.Scope, Expires: req.Expires}
	switch {
	case t.Scope == "" && name == "":
		t.Scope = record.ScopeOperate
	case t.Scope == "":
		t.Scope = record.ScopeWrite
	}
	note(r, "", t.Name, string(t.Scope))
	token, err := s.o.House.NewToken(r.Context(), t)
	if err != nil {
		return err
	}
	return answer(w, NewToken{Provider: name, Name: req.Name, Scope: t.Scope, Expires: t.Expires, Token: token})
}

func tokenOf(t record.Token) Token {
	return Token{Provider: t.Provider, Name: t.Name, Scope: t.ScopeOf(), Created: t.Created, Expires: t.Expires, Used: t.Used}
}

func (s *Server) revokeToken(w http.ResponseWriter, r *http.Request) error {
	name, token := r.PathValue("provider"), r.URL.Query().Get("name")
	note(r, "", token)
	if token == "" {
		return tooShort("token")
	}
	if err := s.o.House.RevokeToken(r.Context(), name, token); err != nil {
		return err
	}
	return answer(w, Token{Provider: name, Name: token})
}
