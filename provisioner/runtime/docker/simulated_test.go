package docker

import (
	"archive/tar"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	dockernet "github.com/docker/docker/api/types/network"
)

// fault is what goes wrong with a call.
type fault int

const (
	none   fault = iota
	before       // it fails, and has done nothing
	after        // it fails, though it took effect
	cut          // it took effect, and no answer comes
	killed       // the same, and whoever called says nothing more: it is dead
)

func (f fault) String() string {
	return [...]string{"none", "failing before", "failing after", "cut off", "killed"}[f]
}

// simulated is a Docker engine in memory: as much of the Engine API as the runtime uses, and what can go wrong with it.
type simulated struct {
	server *httptest.Server

	mu         sync.Mutex // guards what follows
	containers map[string]*simContainer
	networks   map[string]*simNetwork
	made       int // how many ids were given
	calls      int // that change something or look at one thing
	wrong      func(call int) fault
	dead       bool
}

type simContainer struct {
	id, name string
	config   container.Config
	host     container.HostConfig
	status   string
	networks map[string]bool // by id
	secrets  map[string]string
}

type simNetwork struct {
	id, name string
	labels   map[string]string
}

func newSimulated(t interface{ Cleanup(func()) }) *simulated {
	s := &simulated{containers: map[string]*simContainer{}, networks: map[string]*simNetwork{}, wrong: func(int) fault { return none }}
	mux := http.NewServeMux()
	mux.HandleFunc("/_ping", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("API-Version", "1.41") })
	mux.HandleFunc("GET /v1.41/events", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	for pattern, handle := range map[string]func(*http.Request) (int, any){
		"GET /info":                    func(*http.Request) (int, any) { return 200, map[string]any{"NCPU": 2, "Name": "simulated"} },
		"GET /images/{name...}":        func(*http.Request) (int, any) { return 200, map[string]any{} },
		"GET /networks":                s.listNetworks,
		"POST /networks/create":        s.createNetwork,
		"POST /networks/{id}/connect":  s.connect,
		"DELETE /networks/{id}":        s.removeNetwork,
		"GET /containers/json":         s.list,
		"POST /containers/create":      s.create,
		"GET /containers/{id}/json":    s.inspect,
		"PUT /containers/{id}/archive": s.copyTo,
		"POST /containers/{id}/start":  s.start,
		"POST /containers/{id}/stop":   s.stop,
		"POST /containers/{id}/update": s.update,
		"GET /containers/{id}/logs":    func(*http.Request) (int, any) { return 200, nil },
		"DELETE /containers/{id}":      s.remove,
	} {
		method, path, _ := strings.Cut(pattern, " ")
		if handle != nil {
			mux.HandleFunc(method+" /v1.41"+path, func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, handle) })
		}
	}
	s.server = httptest.NewServer(mux)
	t.Cleanup(func() {
		s.server.CloseClientConnections()
		s.server.Close()
	})
	return s
}

// serve does a call, and has it go wrong.
func (s *simulated) serve(w http.ResponseWriter, r *http.Request, handle func(*http.Request) (int, any)) {
	s.mu.Lock()
	s.calls++
	f := s.wrong(s.calls)
	if s.dead {
		s.mu.Unlock()
		panic(http.ErrAbortHandler)
	}
	code, answer := http.StatusInternalServerError, any(map[string]string{"message": "it went wrong"})
	if f != before {
		code, answer = handle(r)
	}
	if f == after {
		code, answer = http.StatusInternalServerError, map[string]string{"message": "it went wrong afterwards"}
	}
	s.dead = s.dead || f == killed
	s.mu.Unlock()
	if f == cut || f == killed {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	if answer != nil {
		_ = json.NewEncoder(w).Encode(answer)
	}
}

func message(code int, format string, args ...any) (int, any) {
	return code, map[string]string{"message": fmt.Sprintf(format, args...)}
}

func (s *simulated) id() string {
	s.made++
	return fmt.Sprintf("%064d", s.made)
}

// chosen reports whether labels are as the call's filters say.
func chosen(r *http.Request, labels map[string]string) bool {
	var filters struct{ Label map[string]bool }
	_ = json.Unmarshal([]byte(r.URL.Query().Get("filters")), &filters)
	for pair := range filters.Label {
		key, value, _ := strings.Cut(pair, "=")
		if got, ok := labels[key]; !ok || got != value {
			return false
		}
	}
	return true
}

func (s *simulated) network(id string) *simNetwork {
	for _, n := range s.networks {
		if n.id == id || n.name == id {
			return n
		}
	}
	return nil
}

func (s *simulated) shown(n *simNetwork) dockernet.Inspect {
	return dockernet.Inspect{ID: n.id, Name: n.name, Labels: n.labels, IPAM: dockernet.IPAM{
		Config: []dockernet.IPAMConfig{{Subnet: "172.18.0.0/16", Gateway: "172.18.0.1"}},
	}}
}

func (s *simulated) listNetworks(r *http.Request) (int, any) {
	all := []dockernet.Inspect{}
	for _, n := range s.networks {
		if chosen(r, n.labels) {
			all = append(all, s.shown(n))
		}
	}
	return 200, all
}

func (s *simulated) createNetwork(r *http.Request) (int, any) {
	var asked dockernet.CreateRequest
	_ = json.NewDecoder(r.Body).Decode(&asked)
	n := &simNetwork{id: s.id(), name: asked.Name, labels: asked.Labels}
	s.networks[n.id] = n
	return 201, map[string]string{"Id": n.id}
}

func (s *simulated) connect(r *http.Request) (int, any) {
	var asked struct{ Container string }
	_ = json.NewDecoder(r.Body).Decode(&asked)
	n, c := s.network(r.PathValue("id")), s.container(asked.Container)
	if n == nil || c == nil {
		return message(404, "no such network or container")
	}
	c.networks[n.id] = true
	return 200, nil
}

func (s *simulated) removeNetwork(r *http.Request) (int, any) {
	n := s.network(r.PathValue("id"))
	if n == nil {
		return message(404, "no such network")
	}
	for _, c := range s.containers {
		if c.networks[n.id] {
			return message(403, "network %s has active endpoints", n.name)
		}
	}
	delete(s.networks, n.id)
	return 204, nil
}

func (s *simulated) container(id string) *simContainer {
	for _, c := range s.containers {
		if c.id == id || c.name == id {
			return c
		}
	}
	return nil
}

func (s *simulated) list(r *http.Request) (int, any) {
	all := []container.Summary{}
	for _, c := range s.containers {
		if chosen(r, c.config.Labels) {
			all = append(all, container.Summary{ID: c.id, Names: []string{"/" + c.name}, Labels: c.config.Labels, State: c.status})
		}
	}
	return 200, all
}

func (s *simulated) create(r *http.Request) (int, any) {
	var asked struct {
		container.Config
		HostConfig container.HostConfig
	}
	_ = json.NewDecoder(r.Body).Decode(&asked)
	name := r.URL.Query().Get("name")
	if s.container(name) != nil {
		return message(409, "Conflict. The container name %q is already in use", "/"+name)
	}
	n := s.network(string(asked.HostConfig.NetworkMode))
	if n == nil {
		return message(404, "network %s not found", asked.HostConfig.NetworkMode)
	}
	c := &simContainer{
		id: s.id(), name: name, config: asked.Config, host: asked.HostConfig, status: container.StateCreated,
		networks: map[string]bool{n.id: true}, secrets: map[string]string{},
	}
	s.containers[c.id] = c
	return 201, map[string]string{"Id": c.id}
}

func (s *simulated) inspect(r *http.Request) (int, any) {
	c := s.container(r.PathValue("id"))
	if c == nil {
		return message(404, "no such container")
	}
	state := &container.State{Status: c.status, Running: c.status == container.StateRunning}
	if state.Running {
		state.Pid, state.StartedAt = 1, time.Now().Add(-time.Hour).Format(time.RFC3339Nano)
	}
	return 200, container.InspectResponse{
		ContainerJSONBase: &container.ContainerJSONBase{
			ID: c.id, Name: "/" + c.name, Created: time.Now().Add(-time.Hour).Format(time.RFC3339Nano), State: state, HostConfig: &c.host,
		},
		Config: &c.config,
	}
}

func (s *simulated) copyTo(r *http.Request) (int, any) {
	c := s.container(r.PathValue("id"))
	if c == nil {
		return message(404, "no such container")
	}
	for files := tar.NewReader(r.Body); ; {
		h, err := files.Next()
		if err != nil {
			return 200, nil
		}
		text, _ := io.ReadAll(files)
		c.secrets[h.Name] = string(text)
	}
}

// ports returns the ports of this machine that a container has when it runs.
func (c *simContainer) ports() (all []string) {
	for port, bound := range c.host.PortBindings {
		for _, b := range bound {
			all = append(all, b.HostIP+":"+b.HostPort+"/"+port.Proto())
		}
	}
	return all
}

func (s *simulated) start(r *http.Request) (int, any) {
	c := s.container(r.PathValue("id"))
	switch {
	case c == nil:
		return message(404, "no such container")
	case c.status == container.StateRunning:
		return 304, nil
	}
	for _, other := range s.containers {
		for _, port := range other.ports() {
			if other != c && other.status == container.StateRunning && slices.Contains(c.ports(), port) {
				return message(500, "Bind for %s failed: port is already allocated", port)
			}
		}
	}
	c.status = container.StateRunning
	return 204, nil
}

func (s *simulated) stop(r *http.Request) (int, any) {
	c := s.container(r.PathValue("id"))
	switch {
	case c == nil:
		return message(404, "no such container")
	case c.status != container.StateRunning:
		return 304, nil
	}
	c.status = container.StateExited
	return 204, nil
}

func (s *simulated) update(r *http.Request) (int, any) {
	c := s.container(r.PathValue("id"))
	if c == nil {
		return message(404, "no such container")
	}
	var asked container.UpdateConfig
	_ = json.NewDecoder(r.Body).Decode(&asked)
	asked.Ulimits = c.host.Ulimits
	c.host.Resources = asked.Resources
	return 200, map[string]any{}
}

func (s *simulated) remove(r *http.Request) (int, any) {
	c := s.container(r.PathValue("id"))
	switch {
	case c == nil:
		return message(404, "no such container")
	case r.URL.Query().Get("v") != "1":
		return message(500, "its volume would be left")
	}
	delete(s.containers, c.id)
	return 204, nil
}

// names returns what the engine has, in order.
func (s *simulated) names() (containers, networks []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.containers {
		of := []string{}
		for id := range c.networks {
			of = append(of, s.networks[id].name)
		}
		slices.Sort(of)
		containers = append(containers, fmt.Sprintf("%s %s %d MiB %v %v", c.name, c.status, c.host.Memory>>20, of, slices.Sorted(maps.Values(c.secrets))))
	}
	for _, n := range s.networks {
		networks = append(networks, n.name)
	}
	slices.Sort(containers)
	slices.Sort(networks)
	return containers, networks
}

func TestTheSimulatedEngineIsLikeARealOne(t *testing.T) {
	s := newSimulated(t)
	r, err := New(t.Context(), s.options(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close(t.Context())
	if all, err := r.Instances(t.Context()); len(all) != 0 || err != nil {
		t.Errorf("it has %v, %v", all, err)
	}
	if in := r.Inside(); in.Gateway.String() != "172.18.0.1" {
		t.Errorf("its gateway is %v", in.Gateway)
	}
}
