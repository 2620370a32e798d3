package control

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"berth/provisioner/plan"
	"berth/schema"
	"berth/schema/record"
)

// Placeholder stands for the role in an image's name.
const Placeholder = "{role}"

// UpdateRequest changes what instances may use, and of which image they are: what is not nil, or named.
type UpdateRequest struct {
	Role      string           `json:"role,omitempty"`      // of the instance; empty: of all
	Resources map[string]int64 `json:"resources,omitempty"` // by the names of record.Resources; 0: the runtime's default
	Image     *string          `json:"image,omitempty"`     // may have the placeholder {role}; empty: the runtime's own
	DryRun    bool             `json:"dry_run,omitempty"`   // change nothing
}

// Updated is what came of an update, or would come of it.
type Updated struct {
	Changed
	Steps []plan.Step `json:"steps"` // from what is to what is wanted, as it is planned
	Notes []string    `json:"notes"` // what the steps do not tell
}

func (s *Server) update(w http.ResponseWriter, r *http.Request) error {
	var req UpdateRequest
	if err := read(r, &req); err != nil {
		return err
	}
	note(r, "", asked(req))
	if err := s.canUpdate(&req); err != nil {
		return err
	}
	ctx, name := r.Context(), r.PathValue("provider")
	out := Updated{Steps: []plan.Step{}}
	now := time.Now().UTC()
	p, err := s.o.House.Active(ctx, name)
	if err != nil {
		return err
	}
	before := p.Roles
	if err := req.apply(&p, now); err != nil {
		return err
	}
	out.Changed.Changed, out.Notes = !same(before, p.Roles), req.notes(&p)
	if steps, err := s.o.Loop.PlanFor(ctx, &p); err != nil {
		return err
	} else if len(steps) > 0 && out.Changed.Changed {
		out.Steps = steps
	}
	if !req.DryRun {
		if p, out.Changed.Changed, err = s.o.House.Change(ctx, name, func(p *record.Provider) error { return req.apply(p, now) }); err != nil {
			return err
		}
		s.o.Loop.Heard(ctx, &p)
	}
	if out.Provider, err = s.viewNow(ctx, &p); err != nil {
		return err
	}
	return answer(w, out)
}

// canUpdate refuses what the runtime cannot do, with the reason.
func (s *Server) canUpdate(req *UpdateRequest) error {
	if req.Role != "" && !slices.Contains(plan.Roles(), req.Role) {
		return noRole(req.Role)
	}
	if s.o.Runtime.Bounds() {
		return nil
	}
	if req.Image != nil {
		return schema.Errorf(schema.Invalid, "the instances are processes of this machine, which have no image: they run the programs beside the provisioner").
			WithNext("replace the programs and restart the provisioner, or run containers: provisioner serve --runtime docker")
	}
	if len(req.Resources) > 0 {
		return schema.Errorf(schema.Invalid, "the instances are processes of this machine, and nothing would hold them to that").
			WithNext("run containers: provisioner serve --runtime docker; what a provider's gateways may send is limited by provisioner set")
	}
	return nil
}

// apply changes the wishes and checks them.
func (req *UpdateRequest) apply(p *record.Provider, now time.Time) error {
	roles := plan.Roles()
	if req.Role != "" {
		roles = []string{req.Role}
	}
	if req.Image != nil && *req.Image != "" && len(roles) > 1 && !strings.Contains(*req.Image, Placeholder) {
		return schema.Errorf(schema.Invalid, "%s cannot be the image of both ingest and reports", *req.Image).
			WithNext("say of which: --role ingest, or give a name with %s in it", Placeholder)
	}
	for _, role := range roles {
		w := p.Roles[role]
		known := 0
		for _, each := range record.EachResource() {
			if n, ok := req.Resources[each.Name]; ok {
				*each.Field(&w.Resources) = n
				known++
			}
		}
		if known < len(req.Resources) {
			return schema.Errorf(schema.Invalid, "the update names a resource that there is not")
		}
		if req.Image != nil {
			w = w.Try(strings.ReplaceAll(*req.Image, Placeholder, role), now)
		}
		if err := w.Validate(); err != nil {
			return err
		}
		p.SetRole(role, w)
	}
	return nil
}

// notes tells what the steps do not.
func (req *UpdateRequest) notes(p *record.Provider) []string {
	notes := []string{}
	if _, ok := req.Resources["files"]; ok && p.Wanted != record.Stopped {
		notes = append(notes, "the number of open files holds from the next start on: provisioner restart "+p.Name)
	}
	if p.Wanted == record.Stopped {
		notes = append(notes, "it is stopped: all holds from its start on: provisioner start "+p.Name)
	}
	if req.Image != nil {
		notes = append(notes, "an image that does not get healthy within "+plan.TrialMost.String()+" is taken back by itself")
	}
	return notes
}

// same reports whether nothing differs between two providers' wishes.
func same(a, b map[string]record.Wish) bool {
	for _, role := range plan.Roles() {
		if a[role] != b[role] {
			return false
		}
	}
	return true
}
