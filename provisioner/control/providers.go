package control

import (
	"cmp"
	"context"
	"net/http"
	"slices"

	"berth/provisioner/plan"
	"berth/schema"
	"berth/schema/record"
)

func (s *Server) list(w http.ResponseWriter, r *http.Request) error {
	all, err := s.o.House.Providers(r.Context())
	if err != nil {
		return err
	}
	steps, actual, err := s.o.Loop.Plan(r.Context())
	if err != nil {
		return err
	}
	out, used := []Provider{}, s.usage(r)
	for i := range all {
		if all[i].Wanted != record.Removed || r.URL.Query().Get("all") == "true" {
			v := s.view(&all[i], steps, actual)
			v.uses(used)
			out = append(out, v)
		}
	}
	slices.SortFunc(out, func(a, b Provider) int { return cmp.Compare(a.Slot, b.Slot) })
	return answer(w, out)
}

func (s *Server) show(w http.ResponseWriter, r *http.Request) error {
	p, err := s.o.House.Provider(r.Context(), r.PathValue("provider"))
	if err != nil {
		return err
	}
	view, err := s.viewNow(r.Context(), &p)
	if err != nil {
		return err
	}
	view.uses(s.usage(r))
	return answer(w, view)
}

func (s *Server) viewNow(ctx context.Context, p *record.Provider) (Provider, error) {
	steps, actual, err := s.o.Loop.Plan(ctx)
	if err != nil {
		return Provider{}, err
	}
	return s.view(p, steps, actual), nil
}

// view returns a provider as lists show it.
func (s *Server) view(p *record.Provider, steps []plan.Step, actual plan.World) Provider {
	state := actual.Providers[p.Name]
	v := Provider{
		Name: p.Name, Slot: p.Slot, Port: p.Slot.Port(s.o.Site.PortBase), Host: Reachable(s.o.Site.Host), Keyspace: p.Keyspace,
		Created: p.Created, Settings: settings(p.Settings), Instances: []Instance{}, Roles: p.Roles,
	}
	for _, role := range plan.Roles() {
		i, ok := state.Instances[role]
		if !ok {
			continue
		}
		says := state.Services[role]
		_, i.Restarts = s.o.World.Starts(p.Name, role)
		shown := Instance{Instance: i, Program: says.Program, Address: says.Address, Says: says.State, Detail: says.Detail}
		if !says.Since.IsZero() {
			shown.Since = &says.Since
		} else if len(says.Episodes) > 0 { // it does its work, and has something to say
			shown.Since = &says.Episodes[0].From
		}
		v.Instances = append(v.Instances, shown)
	}
	v.State, v.Detail = StateOf(p, steps, actual)
	if p.Wanted == record.Removed {
		v.Removed, v.DataKept = &p.Removed, !p.Purge
	}
	return v
}

func (s *Server) add(w http.ResponseWriter, r *http.Request) error {
	var req AddRequest
	if err := read(r, &req); err != nil {
		return err
	}
	note(r, req.Name)
	ctx := r.Context()
	gone, err := s.gone(ctx, req.Name)
	if err != nil {
		return err
	}
	if err := s.placeable(req.Placement); err != nil {
		return err
	}
	added, err := s.o.House.AddPlaced(ctx, req.Name, req.Placement, s.slots(ctx), gone)
	if err != nil {
		return err
	}
	p := &added.Provider
	s.o.Loop.Heard(ctx, p)
	key, err := s.o.House.EnrolmentKey(p)
	if err != nil {
		return err
	}
	link, err := s.o.House.AdminLink(ctx, p.Name)
	if err != nil {
		return err
	}
	view, err := s.viewNow(ctx, p)
	if err != nil {
		return err
	}
	if added.Skipped == nil {
		added.Skipped = []string{}
	}
	return answer(w, Added{
		Provider: view, Changed: added.Changed, Restored: added.Restored, EnrolmentKey: key,
		AdminURL: SignInURL(s.o.Status.Web, link), Skipped: added.Skipped, Notes: s.notes(ctx, p),
	})
}

// gone reports whether nothing is left of a provider whose data were to be purged.
func (s *Server) gone(ctx context.Context, name string) (bool, error) {
	p, err := s.o.House.Provider(ctx, name)
	if schema.Is(err, schema.NotFound) || err == nil && !p.Purge {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	view, err := s.viewNow(ctx, &p)
	return view.State == Resting, err
}

func (s *Server) remove(w http.ResponseWriter, r *http.Request) error {
	p, changed, err := s.o.House.Remove(r.Context(), r.PathValue("provider"), r.URL.Query().Get("purge") == "true")
	if err != nil {
		return err
	}
	s.o.Loop.Heard(r.Context(), &p)
	return answer(w, RemovedProvider{Name: p.Name, Slot: int(p.Slot), Purge: p.Purge, Changed: changed})
}

func (s *Server) set(w http.ResponseWriter, r *http.Request) error {
	var req SettingsChange
	if err := read(r, &req); err != nil {
		return err
	}
	note(r, "", asked(req))
	changed, err := s.changeSettings(r.Context(), r.PathValue("provider"), &req)
	if err != nil {
		return err
	}
	return answer(w, changed)
}

// changeSettings changes a provider's settings, and waits a little until they are live.
func (s *Server) changeSettings(ctx context.Context, provider string, req *SettingsChange) (SettingsChanged, error) {
	if req.Networks != nil && len(*req.Networks) > 0 && s.o.HidesSenders {
		return SettingsChanged{}, schema.Errorf(schema.Conflict, "instances run behind the network of a Docker engine, which may show its own address in the place of a sender's").
			WithNext("give senders keys, of which a relay's serves many: provisioner gateway add %s NAME --relay; or run instances as processes", provider)
	}
	p, changed, err := s.o.House.Change(ctx, provider, func(p *record.Provider) error {
		return req.apply(&p.Settings)
	})
	if err != nil {
		return SettingsChanged{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, liveLimit)
	defer cancel()
	s.o.Loop.Heard(ctx, &p)
	revision, err := s.o.World.Written(ctx, &p)
	if err == nil {
		err = s.o.World.Live(ctx, p.Name, revision)
	}
	return SettingsChanged{Name: p.Name, Changed: changed, Taken: taken(p.Name, err), Settings: settings(p.Settings)}, nil
}

// apply changes the settings and checks them.
func (c SettingsChange) apply(s *record.Settings) error {
	if c.GatewayTag != nil {
		s.GatewayTag = *c.GatewayTag
	}
	if c.AttributeTags != nil {
		s.AttributeTags = slices.DeleteFunc(slices.Clone(*c.AttributeTags), func(tag string) bool { return tag == "" })
		if len(s.AttributeTags) == 0 {
			s.AttributeTags = nil
		}
	}
	if c.Future != nil {
		d, err := ParseRetention(*c.Future)
		if err != nil {
			return err
		}
		s.Future = d
	}
	if c.Retention != nil {
		d, err := ParseRetention(*c.Retention)
		if err != nil {
			return err
		}
		s.Retention = d
	}
	if c.Timezone != nil {
		s.Timezone = *c.Timezone
	}
	if c.RequireTLS != nil {
		s.RequireTLS = *c.RequireTLS
	}
	if c.Approve != nil {
		s.Approve = *c.Approve
	}
	if c.ClientCA != nil {
		s.ClientCA = *c.ClientCA
	}
	if c.Networks != nil {
		if s.Networks = slices.DeleteFunc(slices.Clone(*c.Networks), func(n string) bool { return n == "" }); len(s.Networks) == 0 {
			s.Networks = nil
		}
	}
	if c.DropLog != nil {
		s.DropLog = *c.DropLog
	}
	if err := setLimits(&s.Limits, c.Limits); err != nil {
		return err
	}
	if err := c.applyTopics(s); err != nil {
		return err
	}
	return s.Validate()
}

// setLimits changes the limits that are named.
func setLimits(l *record.Limits, change map[string]int64) error {
	known := 0
	for _, each := range record.EachLimit() {
		if n, ok := change[each.Name]; ok {
			*each.Field(l) = n
			known++
		}
	}
	if known < len(change) {
		return schema.Errorf(schema.Invalid, "the change names a limit that there is not")
	}
	return nil
}

func settings(s record.Settings) Settings {
	tags, topics := s.AttributeTags, s.Topics
	if tags == nil {
		tags = []string{}
	}
	if topics == nil {
		topics = []record.TopicRule{}
	}
	return Settings{
		GatewayTag: s.GatewayTag, AttributeTags: tags, Retention: FormatRetention(s.Retention), Future: FormatRetention(s.Future),
		Timezone: s.Timezone, RequireTLS: s.RequireTLS, Approve: s.Approve, ClientCA: subjects(s.ClientCA), Networks: s.Networks, Limits: s.Limits, Topics: topics,
	}
}

// subjects returns whose certificates PEM has.
func subjects(text string) []string {
	var out []string
	all, _ := record.Authorities(text) // it was checked when it was set
	for _, c := range all {
		out = append(out, c.Subject.String())
	}
	return out
}

// Reachable returns a host that a program of this machine can reach what listens on host at.
func Reachable(host string) string {
	switch host {
	case "", "0.0.0.0", "::":
		return "127.0.0.1"
	default:
		return host
	}
}

// provider returns the active provider that the path names.
func (s *Server) provider(r *http.Request) (string, error) {
	p, err := s.o.House.Active(r.Context(), r.PathValue("provider"))
	return p.Name, err
}

// tooShort is of a request that lacks what it must name.
func tooShort(what string) error {
	return schema.Errorf(schema.Invalid, "the request names no %s", what)
}
