package control

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"berth/internal/houseapi"
	"berth/provisioner/house"
	"berth/provisioner/plan"
	"berth/schema"
	"berth/schema/record"
)

// errOnlyAsked ends a change that was only to be planned.
var errOnlyAsked = errors.New("it was only asked what would be done")

// AnswerManage answers web's question what an act on a provider would come to, or does it.
func (s *Server) AnswerManage(ctx context.Context, request []byte, reply func([]byte) error) error {
	var q houseapi.ManageRequest
	if err := json.Unmarshal(request, &q); err != nil {
		return schema.Errorf(schema.Invalid, "the question cannot be read").WithCause(err)
	}
	out, err := s.manage(ctx, &q)
	if err != nil {
		return err
	}
	data, err := json.Marshal(out)
	if err != nil {
		return fmt.Errorf("write the plan: %w", err)
	}
	return reply(data)
}

// manage plans an act, and does it if that is asked for and it still comes to what was shown.
func (s *Server) manage(ctx context.Context, q *houseapi.ManageRequest) (*houseapi.Managed, error) {
	out := &houseapi.Managed{Provider: q.Provider, Act: q.Act, Steps: []houseapi.Step{}}
	switch {
	case q.Act == "" && q.Provider == "":
		steps, _, err := s.o.Loop.Plan(ctx)
		out.Steps = shown(steps)
		return out, err
	case q.Act == "":
		return out, s.manageNothing(ctx, out)
	case q.Act == houseapi.ActAdd:
		return out, s.manageAdd(ctx, q, out)
	}
	var planned record.Provider
	agree := s.agree(ctx, q, out)
	p, changed, err := s.o.House.Do(ctx, q.Provider, house.Act(q.Act), func(before, after *record.Provider) error {
		planned = *after
		return agree(before, after)
	})
	if errors.Is(err, errOnlyAsked) {
		p, err = planned, nil
	} else if err == nil {
		out.Applied, out.Changed = true, changed
		s.o.Loop.Heard(ctx, &p)
	}
	if err != nil {
		return nil, err
	}
	return out, s.describe(ctx, &p, out)
}

// manageNothing says what is done to a provider anyway.
func (s *Server) manageNothing(ctx context.Context, out *houseapi.Managed) error {
	p, err := s.o.House.Provider(ctx, out.Provider)
	if err != nil {
		return err
	}
	steps, err := s.o.Loop.PlanFor(ctx, &p)
	if err != nil {
		return err
	}
	out.Steps = shown(steps)
	return s.describe(ctx, &p, out)
}

// manageAdd plans the adding of a provider, or adds it.
func (s *Server) manageAdd(ctx context.Context, q *houseapi.ManageRequest, out *houseapi.Managed) error {
	gone, err := s.gone(ctx, q.Provider)
	if err != nil {
		return err
	}
	var planned record.Provider
	agree := s.agree(ctx, q, out)
	added, err := s.o.House.AddAgreed(ctx, q.Provider, record.Own, s.slots(ctx), gone, func(before, after *record.Provider) error {
		planned, out.Restored = *after, before != nil
		return agree(before, after)
	})
	out.Notes = added.Skipped
	if errors.Is(err, errOnlyAsked) {
		out.Port, out.Keyspace = planned.Slot.Port(s.o.Site.PortBase), planned.Keyspace
		return nil
	}
	if err != nil {
		return err
	}
	if out.Applied, out.Changed = q.Apply, added.Changed; q.Apply {
		s.o.Loop.Heard(ctx, &added.Provider)
		out.Notes = append(out.Notes, s.notes(ctx, &added.Provider)...)
	}
	return s.describe(ctx, &added.Provider, out)
}

// agree returns what fills in the plan of an act, and has something against it when it was only asked for, or when it has
// become another than what was shown.
func (s *Server) agree(ctx context.Context, q *houseapi.ManageRequest, out *houseapi.Managed) house.Agree {
	return func(before, after *record.Provider) error {
		steps, err := s.o.Loop.PlanFor(ctx, after)
		if err != nil {
			return err
		}
		out.Changed = before == nil || before.Wanted != after.Wanted || before.Restart != after.Restart
		if out.Steps = []houseapi.Step{}; out.Changed {
			out.Steps = shown(steps)
		}
		out.Plan = fingerprint(q.Act, before, after, out.Steps)
		switch {
		case !q.Apply:
			return errOnlyAsked
		case q.Plan != "" && q.Plan != out.Plan:
			return schema.Errorf(schema.Conflict, "what was shown of %s is no longer what would be done", q.Provider).
				WithNext("look at the plan again")
		}
		return nil
	}
}

// fingerprint tells a plan from others that do something else: by what becomes of the record, and by what is done. What is
// only waited for, and why something is done, may change from one second to the next.
func fingerprint(act string, before, after *record.Provider, steps []houseapi.Step) string {
	h := sha256.New()
	_, _ = fmt.Fprintf(h, "%s %s %d %s %d %t", act, after.Name, after.Slot, after.Wanted, after.Restart, before != nil) // never fails
	for _, step := range steps {
		if step.Kind != string(plan.Wait) {
			_, _ = fmt.Fprintf(h, "|%s %s", step.Kind, step.Role)
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// describe adds what is known of a provider.
func (s *Server) describe(ctx context.Context, p *record.Provider, out *houseapi.Managed) error {
	view, err := s.viewNow(ctx, p)
	if err != nil {
		return err
	}
	out.Port, out.Keyspace, out.State, out.Detail = view.Port, view.Keyspace, view.State, view.Detail
	return nil
}

// shown returns steps as pages show them.
func shown(steps []plan.Step) []houseapi.Step {
	out := []houseapi.Step{}
	for _, s := range steps {
		out = append(out, houseapi.Step{
			Provider: s.Provider, Kind: string(s.Kind), Role: s.Role, Why: s.Why.String(), Code: s.Why.Code, Args: s.Why.Args, Until: s.Until.Truncate(time.Millisecond), Text: s.String(),
		})
	}
	return out
}
