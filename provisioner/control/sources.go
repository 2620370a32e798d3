package control

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"berth/internal/headapi"
	"berth/schema"
	"berth/schema/record"
)

// SourceRequest asks for a source, or for a change of the one of its name.
type SourceRequest struct {
	Name     string             `json:"name"` // empty: the broker's host
	Kind     string             `json:"kind"`
	URL      string             `json:"url"`
	Topics   []record.TopicRule `json:"topics"`
	ClientID string             `json:"client_id,omitempty"` // empty: one that is made
	User     string             `json:"user,omitempty"`
	Password string             `json:"password,omitempty"`
	CA       string             `json:"ca,omitempty"` // PEM
}

// Source is a source of a provider, without its password, and how it does.
type Source struct {
	Provider string             `json:"provider"`
	Kind     string             `json:"kind"`
	URL      string             `json:"url"`
	Topics   []record.TopicRule `json:"topics"`
	ClientID string             `json:"client_id"`
	User     string             `json:"user,omitempty"`
	Created  time.Time          `json:"created"`
	headapi.Source
}

// SourceChanged is what came of a change of a source.
type SourceChanged struct {
	Source
	Changed bool `json:"changed"`
	Taken
}

// SourceUnknown is the state of a source of which ingest says nothing.
const SourceUnknown = "unknown"

func (s *Server) sources(w http.ResponseWriter, r *http.Request) error {
	p, err := s.o.House.Active(r.Context(), r.PathValue("provider"))
	if err != nil {
		return err
	}
	out := []Source{}
	if len(p.Sources) == 0 {
		return answer(w, out)
	}
	ctx, cancel := context.WithTimeout(r.Context(), liveLimit)
	defer cancel()
	says, err := s.o.World.Sources(ctx, p.Name)
	for i := range p.Sources {
		out = append(out, source(p.Name, &p.Sources[i], says, err))
	}
	return answer(w, out)
}

// source returns a source as lists show it, by what ingest says of all, or why it does not.
func source(provider string, r *record.Source, says []headapi.Source, err error) Source {
	s := Source{
		Provider: provider, Kind: r.Kind, URL: r.URL, Topics: r.Topics, ClientID: r.ClientID, User: r.User, Created: r.Created,
		Source: headapi.Source{Name: r.Name, State: SourceUnknown},
	}
	if err != nil {
		s.Detail = schema.Show(err)
	}
	for _, each := range says {
		if each.Name == r.Name {
			s.Source = each
		}
	}
	return s
}

func (s *Server) putSource(w http.ResponseWriter, r *http.Request) error {
	var req SourceRequest
	if err := read(r, &req); err != nil {
		return err
	}
	address, host, err := brokerURL(req.URL)
	if err != nil {
		return err
	}
	if req.Name == "" {
		req.Name = host
	}
	p, changed, err := s.o.House.PutSource(r.Context(), r.PathValue("provider"), record.Source{
		Name: req.Name, Kind: req.Kind, URL: address, Topics: req.Topics, ClientID: req.ClientID, User: req.User, CA: req.CA,
	}, req.Password)
	if err != nil {
		return err
	}
	for i := range p.Sources {
		if p.Sources[i].Name == req.Name {
			return s.sourceChanged(w, r, &p, &p.Sources[i], changed)
		}
	}
	return schema.Errorf(schema.Internal, "the source is not in the record")
}

func (s *Server) removeSource(w http.ResponseWriter, r *http.Request) error {
	name := r.URL.Query().Get("name")
	if name == "" {
		return tooShort("source")
	}
	p, err := s.o.House.RemoveSource(r.Context(), r.PathValue("provider"), name)
	if err != nil {
		return err
	}
	return s.sourceChanged(w, r, &p, &record.Source{Name: name}, true)
}

// sourceChanged answers when the provider's ingest goes by the change, or is known not to.
func (s *Server) sourceChanged(w http.ResponseWriter, r *http.Request, p *record.Provider, changed *record.Source, is bool) error {
	ctx, cancel := context.WithTimeout(r.Context(), liveLimit)
	defer cancel()
	s.o.Loop.Heard(ctx, p)
	revision, err := s.o.World.Written(ctx, p)
	if err == nil {
		err = s.o.World.Live(ctx, p.Name, revision)
	}
	var says []headapi.Source
	if err == nil {
		says, _ = s.o.World.Sources(ctx, p.Name) // it is shown as unknown
	}
	return answer(w, SourceChanged{Source: source(p.Name, changed, says, nil), Changed: is, Taken: taken(p.Name, err)})
}

// brokerPorts are those of brokers where none is given.
var brokerPorts = map[string]string{record.SchemeTCP: "1883", record.SchemeTLS: "8883"}

// brokerURL returns an address in the form in which records have it, and its host.
func brokerURL(text string) (address, host string, err error) {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" {
		return "", "", schema.Errorf(schema.Invalid, "%q is no address of a broker", text).WithNext("give one such as tcp://broker.example:1883 or tls://broker.example:8883")
	}
	switch u.Scheme = strings.ToLower(u.Scheme); u.Scheme {
	case "mqtt":
		u.Scheme = record.SchemeTCP
	case "mqtts", "ssl":
		u.Scheme = record.SchemeTLS
	}
	if port := brokerPorts[u.Scheme]; u.Port() == "" && u.Hostname() != "" && port != "" {
		u.Host = net.JoinHostPort(u.Hostname(), port)
	}
	u.Path = strings.TrimSuffix(u.Path, "/")
	return u.String(), u.Hostname(), nil
}
