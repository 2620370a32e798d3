package control

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"berth/internal/houseapi"
	"berth/provisioner/house"
	"berth/schema"
	"berth/schema/record"
)

// liveLimit bounds how long a command waits until the provider's ingest goes by what it changed. That takes milliseconds; one that
// does not run is known not to at once, and one that hangs is not worth a longer wait.
const liveLimit = 5 * time.Second

// gatewaysOf returns the keys of a provider's gateways.
func (s *Server) gatewaysOf(ctx context.Context, provider string) (house.Gateways, *record.Provider, error) {
	p, err := s.o.House.Active(ctx, provider)
	if err != nil {
		return house.Gateways{}, nil, err
	}
	pipeline, err := s.o.World.Bucket(ctx, p.Name)
	if err != nil {
		return house.Gateways{}, nil, err
	}
	seen, err := s.o.World.Seen(ctx, p.Name)
	return s.o.House.Gateways(p.Name, pipeline, seen), &p, err
}

func (s *Server) gateways(w http.ResponseWriter, r *http.Request) error {
	senders, err := s.senders(r.Context(), r.PathValue("provider"))
	if err != nil {
		return err
	}
	return answer(w, senders.Gateways)
}

func (s *Server) enrolment(w http.ResponseWriter, r *http.Request) error {
	senders, err := s.senders(r.Context(), r.PathValue("provider"))
	if err != nil {
		return err
	}
	return answer(w, senders.Enrolment)
}

// senders returns who may send to a provider.
func (s *Server) senders(ctx context.Context, provider string) (houseapi.Senders, error) {
	gateways, p, err := s.gatewaysOf(ctx, provider)
	if err != nil {
		return houseapi.Senders{}, err
	}
	all, shown, err := gateways.List(ctx, p.EnrolmentHash)
	if err != nil {
		return houseapi.Senders{}, err
	}
	out := houseapi.Senders{
		Timezone: p.Settings.Timezone, Retention: FormatRetention(p.Settings.Retention), GatewayTag: p.Settings.GatewayTag, AttributeTags: append([]string{}, p.Settings.AttributeTags...),
		RequireTLS: p.Settings.RequireTLS, Approve: p.Settings.Approve, Gateways: []Gateway{},
		Networks: append([]string{}, p.Settings.Networks...), Hidden: s.o.HidesSenders, ClientCA: authorities(p.Settings.ClientCA),
		Enrolment: Enrolment{Used: been(shown.Used), Clear: been(shown.Clear), LastSo: been(shown.Last)},
	}
	for i := range all {
		out.Gateways = append(out.Gateways, gateway(p.Name, &all[i]))
	}
	return out, nil
}

// authorities returns what is to be known of authorities, as PEM. What cannot be read was refused when it was set.
func authorities(text string) []houseapi.Authority {
	out := []houseapi.Authority{}
	all, _ := record.Authorities(text)
	for _, c := range all {
		out = append(out, houseapi.Authority{Name: cmp.Or(c.Subject.CommonName, c.Subject.String()), Until: c.NotAfter})
	}
	return out
}

// AnswerSenders answers web's question who may send to a provider, after the change that it asks for.
func (s *Server) AnswerSenders(ctx context.Context, request []byte, reply func([]byte) error) error {
	var q houseapi.SendersRequest
	if err := json.Unmarshal(request, &q); err != nil {
		return schema.Errorf(schema.Invalid, "the question cannot be read").WithCause(err)
	}
	var changed *GatewayKey
	var became *Taken
	switch {
	case q.Act == "set" && q.Settings != nil:
		set := SettingsChange{
			Timezone: q.Settings.Timezone, Retention: q.Settings.Retention, GatewayTag: q.Settings.GatewayTag, AttributeTags: q.Settings.AttributeTags,
			RequireTLS: q.Settings.RequireTLS, Approve: q.Settings.Approve, Networks: q.Settings.Networks, ClientCA: q.Settings.ClientCA,
		}
		answer, err := s.changeSettings(ctx, q.Provider, &set)
		if err != nil {
			return err
		}
		became = &answer.Taken
	case q.Act != "" && q.Gateway != nil:
		key, err := s.actOn(ctx, q.Provider, q.Act, q.Gateway)
		if err != nil {
			return err
		}
		changed, became = &key, &key.Taken
	case q.Act != "":
		return schema.Errorf(schema.Invalid, "the question lacks what %q is to be done to", q.Act)
	}
	senders, err := s.senders(ctx, q.Provider)
	if err != nil && changed == nil {
		return err
	}
	senders.Changed, senders.Taken = changed, became // a key that was made is shown, whatever happens
	data, err := json.Marshal(senders)
	if err != nil {
		return fmt.Errorf("write who may send: %w", err)
	}
	return reply(data)
}

func (s *Server) changeGateway(w http.ResponseWriter, r *http.Request) error {
	var req GatewayRequest
	if err := read(r, &req); err != nil {
		return err
	}
	note(r, "", r.URL.Query().Get("act"), req.Gateway)
	key, err := s.actOn(r.Context(), r.PathValue("provider"), r.URL.Query().Get("act"), &req)
	if err != nil {
		return err
	}
	return answer(w, key)
}

// actOn does to a gateway what is asked.
func (s *Server) actOn(ctx context.Context, provider, act string, req *GatewayRequest) (GatewayKey, error) {
	gateways, p, err := s.gatewaysOf(ctx, provider)
	if err != nil {
		return GatewayKey{}, err
	}
	c, err := change(ctx, gateways, act, req)
	if err != nil {
		return GatewayKey{}, err
	}
	out := GatewayKey{
		Gateway: gateway(p.Name, &house.Seen{Gateway: c.Record.Gateway, Key: &c.Record}), Key: c.Key, Changed: c.Changed,
		Cert: c.Cert, Secret: c.Secret,
	}
	if c.Cert != "" {
		out.CA = s.o.Status.CA
	}
	out.Taken = taken(p.Name, s.live(ctx, p.Name, c))
	return out, nil
}

// taken returns what became of a change, by what asking the provider's ingest for it came to.
func taken(provider string, err error) Taken {
	switch {
	case err == nil:
		return Taken{Live: true}
	case schema.Is(err, schema.Conflict):
		return Taken{Refused: true, Why: schema.Show(err)}
	case schema.Is(err, schema.Unavailable):
		return Taken{Why: schema.Show(err)}
	default: // it has not been written for it, or it does not answer in time
		return Taken{Why: "ingest of " + provider + " does not answer"}
	}
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
	fresh := house.Fresh{Relay: req.Relay, PSK: req.PSK, Cert: req.Cert}
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
	g.Relay, g.PSK, g.Created, g.Revoked, g.Approved = k.Relay, len(k.Sealed) > 0, k.Created, been(k.Revoked), been(k.Approved)
	switch {
	case g.Revoked != nil:
		g.HadKey = k.Own()
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
