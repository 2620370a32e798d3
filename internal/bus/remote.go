package bus

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"berth/schema"
)

const (
	// feedEvery is how often servers of their own are looked through for accounts that were removed: one that was away
	// then brings them back.
	feedEvery = time.Minute
	// surveySilence ends a survey: that long after the last server has answered, no other will.
	surveySilence = 500 * time.Millisecond
	surveyLimit   = 3 * time.Second
	surveyKept    = time.Second // how long the answers to Healthy are good
)

// Remote is NATS that the provisioner does not embed: a server of its own, or a cluster, as the authority is fed to it.
type Remote struct {
	o      Options
	a      *Authority
	system *Conn
	back   func()
	up     chan struct{}
	cancel context.CancelFunc
	wg     sync.WaitGroup

	expected atomic.Int64 // how many servers have answered; fewer are waited for a little, and as few as there are replicas

	mu      sync.Mutex // guards what follows
	looked  time.Time
	healthy error
}

// OpenRemote connects to the servers as o says (its credentials are not needed), has them know all accounts, and keeps them
// so until Close: they may come back empty. back is called each time they came back, after that. Errors: Unavailable when
// ctx ends before the servers can be reached, Invalid when they are not set up for Berth.
func OpenRemote(ctx context.Context, o Options, a *Authority, back func()) (*Remote, error) {
	o.Credentials, o.Name = a.System(), "authority"
	system, err := Connect(ctx, o)
	if schema.Is(err, schema.Unauthorized) {
		return nil, schema.Errorf(schema.Invalid, "the NATS server at %s does not accept this installation", o.URL).
			WithNext("configure it with what provisioner nats-config prints; it names the operator and a certificate to trust").WithCause(err)
	}
	if err != nil {
		return nil, err
	}
	r := &Remote{o: o, a: a, system: system, back: back, up: make(chan struct{}, 1)}
	if err := r.check(ctx); err != nil {
		system.Close()
		return nil, err
	}
	for attempt := 1; ; attempt++ {
		if err = a.Feed(system); err == nil { //nolint:contextcheck // each request has a limit of its own
			break
		}
		o.Logger.Info("the nats servers cannot be told of the accounts yet", "error", err)
		if wait(ctx, reconnectDelay(attempt)) != nil {
			system.Close()
			return nil, err
		}
	}
	background, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r.cancel = cancel
	remove := system.watchState(func(up bool) {
		if up {
			select {
			case r.up <- struct{}{}:
			default:
			}
		}
	})
	r.wg.Go(func() {
		defer remove()
		r.run(background)
	})
	return r, nil
}

// check returns an Invalid error if a server is set up so that what it confirms could be lost, or not be taken.
func (r *Remote) check(ctx context.Context) error {
	for attempt := 1; ; attempt++ {
		states, err := r.Survey(ctx)
		if err == nil && len(states) == 0 {
			err = schema.Errorf(schema.Unavailable, "no NATS server says how it is set up")
		}
		if err == nil {
			for _, s := range states {
				if wrong := s.Wrong(); wrong != "" {
					return schema.Errorf(schema.Invalid, "the NATS server %s is not set up for this: %s", s.Name, wrong).
						WithNext("configure it with what provisioner nats-config prints")
				}
			}
			return nil
		}
		r.o.Logger.Info("the nats servers do not say yet how they are set up", "error", err)
		if wait(ctx, reconnectDelay(attempt)) != nil {
			return err
		}
	}
}

func (r *Remote) run(ctx context.Context) {
	tick := time.NewTicker(feedEvery)
	defer tick.Stop()
	for {
		select {
		case <-r.up:
			for attempt := 1; ; attempt++ {
				err := r.a.Feed(r.system) //nolint:contextcheck // each request has a limit of its own
				if err == nil {
					break
				}
				r.o.Logger.Warn("the nats server cannot be told of the accounts, it is tried again", "error", err)
				if wait(ctx, reconnectDelay(attempt)) != nil {
					return
				}
			}
			r.back()
		case <-tick.C:
			r.expected.Store(0)                 // there may be more than before
			if err := r.a.sweep(); err != nil { //nolint:contextcheck // each request has a limit of its own
				r.o.Logger.Warn("the nats server cannot be looked through for accounts that are gone", "error", err)
			}
		case <-ctx.Done():
			return
		}
	}
}

// URL returns where the servers are.
func (r *Remote) URL() string { return r.o.URL }

// Stop disconnects. It may be called twice.
func (r *Remote) Stop() {
	r.cancel()
	r.wg.Wait()
	r.a.detach(r.system)
	r.system.Close()
}

// Healthy returns an error that says what does not work of the servers; answers are up to a second old.
func (r *Remote) Healthy() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.looked) < surveyKept {
		return r.healthy
	}
	ctx, cancel := context.WithTimeout(context.Background(), surveyLimit)
	defer cancel()
	r.healthy = r.examine(ctx)
	r.looked = time.Now()
	return r.healthy
}

func (r *Remote) examine(ctx context.Context) error {
	states, err := r.Survey(ctx)
	if err != nil {
		return err
	}
	if len(states) == 0 {
		return schema.Errorf(schema.Unavailable, "no NATS server answers")
	}
	for _, s := range states {
		if s.Trouble != "" {
			return schema.Errorf(schema.Unavailable, "the NATS server %s is not healthy: %s", s.Name, s.Trouble)
		}
	}
	if len(states) < r.o.Replicas {
		return schema.Errorf(schema.Unavailable, "%d of at least %d NATS servers answer", len(states), r.o.Replicas)
	}
	return nil
}

// ServerState is what a NATS server says of itself.
type ServerState struct {
	Name, Version string
	JetStream     bool   // it keeps streams
	SyncsAlways   bool   // before it confirms
	MaxPayload    int    // the longest message, in bytes
	Trouble       string // of its streams; empty: all is well
}

// Wrong returns why the server cannot be relied on for what it is set up, or nothing.
func (s ServerState) Wrong() string {
	switch {
	case !s.JetStream:
		return "JetStream is off"
	case !s.SyncsAlways:
		return "it confirms what is not on disk yet (sync_interval is not always)"
	case s.MaxPayload < maxPayload:
		return fmt.Sprintf("it takes messages of %d bytes at most, and %d are needed (max_payload)", s.MaxPayload, maxPayload)
	}
	return ""
}

// Survey asks all servers of the cluster how they are, in the order of their names. Who does not answer is left out.
func (r *Remote) Survey(ctx context.Context) ([]ServerState, error) {
	states := map[string]ServerState{}
	type about struct {
		Server server.ServerInfo `json:"server"`
	}
	if err := r.ask(ctx, "VARZ", func(data []byte) error {
		var v struct {
			about
			Data struct {
				MaxPayload int `json:"max_payload"`
				JetStream  struct {
					Config *server.JetStreamConfig `json:"config"`
				} `json:"jetstream"`
			} `json:"data"`
		}
		if err := json.Unmarshal(data, &v); err != nil {
			return err
		}
		c := v.Data.JetStream.Config
		states[v.Server.ID] = ServerState{
			Name: v.Server.Name, Version: v.Server.Version, MaxPayload: v.Data.MaxPayload,
			JetStream: c != nil, SyncsAlways: c != nil && c.SyncAlways,
		}
		return nil
	}); err != nil {
		return nil, err
	}
	if err := r.ask(ctx, "HEALTHZ", func(data []byte) error {
		var v struct {
			about
			Data server.HealthStatus `json:"data"`
		}
		if err := json.Unmarshal(data, &v); err != nil {
			return err
		}
		if s, known := states[v.Server.ID]; known && v.Data.StatusCode >= 300 {
			s.Trouble = v.Data.Error
			states[v.Server.ID] = s
		}
		return nil
	}); err != nil {
		return nil, err
	}
	all := make([]ServerState, 0, len(states))
	for _, s := range states {
		all = append(all, s)
	}
	r.expected.Store(max(r.expected.Load(), int64(len(all))))
	slices.SortFunc(all, func(a, b ServerState) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// ask asks all servers for something and hands over each answer. The first server may take long, the others not.
func (r *Remote) ask(ctx context.Context, what string, answer func([]byte) error) error {
	ctx, cancel := context.WithTimeout(ctx, surveyLimit)
	defer cancel()
	act := "ask the NATS servers for " + what
	sub, err := r.system.nc.SubscribeSync(r.system.nc.NewInbox())
	if err != nil {
		return failed(act, err)
	}
	defer sub.Unsubscribe() //nolint:errcheck // without a server there is nothing to end
	if err := r.system.nc.PublishRequest("$SYS.REQ.SERVER.PING."+what, sub.Subject, nil); err != nil {
		return failed(act, err)
	}
	for n := 0; ; n++ {
		next, stop := ctx, context.CancelFunc(func() {})
		if n > 0 {
			next, stop = context.WithTimeout(ctx, surveySilence)
		}
		msg, err := sub.NextMsgWithContext(next)
		stop()
		if err != nil && n > 0 {
			return nil
		}
		if err != nil {
			return failed(act, err)
		}
		if err := answer(msg.Data); err != nil {
			return fmt.Errorf("read what a NATS server says of itself: %w", err)
		}
		if e := r.expected.Load(); e > 0 && int64(n+1) >= max(e, int64(r.o.Replicas)) {
			return nil
		}
	}
}
