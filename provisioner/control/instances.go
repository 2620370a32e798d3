package control

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"berth/internal/httpserver"
	"berth/provisioner/plan"
	"berth/provisioner/runtime"
	"berth/schema"
	"berth/schema/record"
)

// usageLimit bounds how long an answer waits for what instances use. A Docker engine samples once a second.
const usageLimit = 2 * time.Second

// Changed is a provider after a change, and whether there was something to change.
type Changed struct {
	Provider
	Changed bool `json:"changed"`
}

// ExecRequest asks for a command of an instance's own program, within the instance.
type ExecRequest struct {
	Role string   `json:"role"`
	Args []string `json:"args"`
}

// ExecEvent is a piece of what a command writes, or its end.
type ExecEvent struct {
	Out     []byte                  `json:"out,omitempty"`
	Err     []byte                  `json:"err,omitempty"`
	Code    *int                    `json:"code,omitempty"`    // it has ended
	Problem *httpserver.ProblemBody `json:"problem,omitempty"` // it cannot be told how it ended
}

// CollectRequest asks what becomes of orphans, or that they are removed.
type CollectRequest struct {
	Apply bool          `json:"apply"`
	Grace time.Duration `json:"grace"` // ns; younger ones are left alone
}

// Collected are the steps that were done, or would be.
type Collected struct {
	Applied bool        `json:"applied"`
	Steps   []plan.Step `json:"steps"`
}

// usage returns what instances use by name, if the request asks for it and the runtime answers in time.
func (s *Server) usage(r *http.Request) map[string]runtime.Usage {
	if r.URL.Query().Get("usage") != "true" {
		return nil
	}
	ctx, cancel := context.WithTimeout(r.Context(), usageLimit)
	defer cancel()
	used, err := s.o.Runtime.Usage(ctx)
	if err != nil {
		s.o.Logger.Debug("what instances use cannot be seen", "error", err)
	}
	return used
}

// uses adds to a provider's instances what they use.
func (p *Provider) uses(used map[string]runtime.Usage) {
	for i := range p.Instances {
		if u, ok := used[p.Instances[i].Name]; ok {
			p.Instances[i].Memory = &u.Memory
		}
	}
}

func (s *Server) restart(w http.ResponseWriter, r *http.Request) error {
	act := s.o.House.Restart
	if r.URL.Query().Get("password") == "new" {
		act = s.o.House.RotatePassword
		// First what NATS knows it by: the instances that this cuts off are those that are started anew.
		if _, err := s.o.House.Provider(r.Context(), r.PathValue("provider")); err != nil {
			return err
		}
		if err := s.o.World.Renew(r.PathValue("provider")); err != nil { //nolint:contextcheck // it has a limit of its own
			return err
		}
	}
	p, err := act(r.Context(), r.PathValue("provider"))
	if err != nil {
		return err
	}
	view, err := s.heard(r.Context(), &p)
	if err != nil {
		return err
	}
	return answer(w, view)
}

func (s *Server) stop(w http.ResponseWriter, r *http.Request) error {
	return s.change(w, r, s.o.House.Stop)
}

func (s *Server) start(w http.ResponseWriter, r *http.Request) error {
	return s.change(w, r, s.o.House.Start)
}

func (s *Server) change(w http.ResponseWriter, r *http.Request, fn func(context.Context, string) (record.Provider, bool, error)) error {
	p, changed, err := fn(r.Context(), r.PathValue("provider"))
	if err != nil {
		return err
	}
	view, err := s.heard(r.Context(), &p)
	if err != nil {
		return err
	}
	return answer(w, Changed{view, changed})
}

// heard returns a provider's view once the loop has been told of its record.
func (s *Server) heard(ctx context.Context, p *record.Provider) (Provider, error) {
	s.o.Loop.Heard(ctx, p)
	return s.viewNow(ctx, p)
}

// exec runs a command within an instance. What it writes goes out as it comes.
func (s *Server) exec(w http.ResponseWriter, r *http.Request) error {
	var req ExecRequest
	if err := read(r, &req); err != nil {
		return err
	}
	note(r, "", req.Role)
	name, err := s.provider(r)
	if err != nil {
		return err
	}
	if !slices.Contains(plan.Roles(), req.Role) {
		return noRole(req.Role)
	}
	e := &events{json: json.NewEncoder(&flushing{w: w, control: http.NewResponseController(w)})}
	code, err := s.o.Runtime.Exec(r.Context(), plan.Unit{Provider: name, Role: req.Role}.Name(), runtime.ExecOptions{
		Args: req.Args,
		Out:  e.writer(func(p []byte) ExecEvent { return ExecEvent{Out: p} }),
		Err:  e.writer(func(p []byte) ExecEvent { return ExecEvent{Err: p} }),
	})
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case err != nil && !e.begun:
		return err
	case err != nil:
		body := httpserver.NewProblem(err)
		_ = e.json.Encode(ExecEvent{Problem: &body}) // else the answer ends without an end
	default:
		_ = e.json.Encode(ExecEvent{Code: &code})
	}
	return nil
}

// events writes what a command writes, a JSON object a line.
type events struct {
	mu    sync.Mutex // held while one is written
	json  *json.Encoder
	begun bool
}

type writerFunc func(p []byte) (int, error)

// Write calls the function.
func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func (e *events) writer(event func(p []byte) ExecEvent) io.Writer {
	return writerFunc(func(p []byte) (int, error) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.begun = true
		if err := e.json.Encode(event(p)); err != nil {
			return 0, err
		}
		return len(p), nil
	})
}

// found returns the orphans.
func (s *Server) found(ctx context.Context) ([]plan.Orphan, error) {
	instances, err := s.o.World.Instances(ctx)
	if err != nil {
		return nil, err
	}
	records, err := s.o.House.Providers(ctx) // after the instances: see plan.Orphans
	if err != nil {
		return nil, err
	}
	return plan.Orphans(records, instances, s.o.Site), nil
}

func (s *Server) orphans(w http.ResponseWriter, r *http.Request) error {
	orphans, err := s.found(r.Context())
	if err != nil {
		return err
	}
	if orphans == nil {
		orphans = []plan.Orphan{}
	}
	return answer(w, orphans)
}

// collect removes orphans, or says which it would. A step that fails ends it.
func (s *Server) collect(w http.ResponseWriter, r *http.Request) error {
	var req CollectRequest
	if err := read(r, &req); err != nil {
		return err
	}
	if req.Grace < 0 {
		return schema.Errorf(schema.Invalid, "a grace of %v is below nothing", req.Grace)
	}
	orphans, err := s.found(r.Context())
	if err != nil {
		return err
	}
	steps := plan.Collect(orphans, req.Grace, time.Now())
	for _, step := range steps {
		if req.Apply && step.Kind != plan.Wait {
			if err := s.o.Loop.Do(r.Context(), step); err != nil {
				return err
			}
		}
	}
	if steps == nil {
		steps = []plan.Step{}
	}
	return answer(w, Collected{Applied: req.Apply, Steps: steps})
}

// noRole is of a role that a pipeline does not have.
func noRole(role string) error {
	return schema.Errorf(schema.Invalid, "a pipeline has no role %q", role).WithNext("give ingest or reports")
}
