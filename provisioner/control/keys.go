package control

import "net/http"

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
