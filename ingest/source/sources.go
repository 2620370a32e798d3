package source

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"berth/ingest/gate/intake"
	"berth/internal/headapi"
	"berth/schema"
	"berth/schema/record"
)

// Options are what Sources are made with. All are needed.
type Options struct {
	Intake *intake.Intake
	Secret []byte // opens the passwords of sources
	Logger *slog.Logger
}

// obstacle returns why nothing can be taken now; empty when something can.
func (o *Options) obstacle() string {
	if full := o.Intake.Full(); full != nil {
		return full.Shown()
	}
	if !o.Intake.Ready() {
		return "the log takes nothing now"
	}
	return ""
}

// Sources are a provider's sources. Its methods may be called concurrently. A nil one has none.
type Sources struct {
	o       Options
	ctx     context.Context
	cancel  context.CancelFunc
	ending  sync.WaitGroup // goroutines
	mu      sync.Mutex     // guards what follows
	stopped bool
	running map[string]*source
	leaving map[string]chan struct{} // closed when the broker was told to forget a source of the name
}

// New returns Sources, of which there are none yet.
func New(o Options) *Sources {
	ctx, cancel := context.WithCancel(context.Background())
	return &Sources{o: o, ctx: ctx, cancel: cancel, running: map[string]*source{}, leaving: map[string]chan struct{}{}}
}

// Set makes the sources what the provider's record says. It does not wait.
func (s *Sources) Set(all []record.Source) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return
	}
	wanted := map[string]bool{}
	for i := range all {
		r := &all[i]
		wanted[r.Name] = true
		before := s.running[r.Name]
		if before != nil && same(&before.record, r) {
			before.reseal(r.Sealed)
			continue
		}
		s.start(newSource(&s.o, r), before)
	}
	for name, gone := range s.running {
		if !wanted[name] {
			delete(s.running, name)
			gone.cancel()
			left := make(chan struct{})
			s.leaving[name] = left
			s.ending.Go(func() {
				defer close(left)
				<-gone.done
				gone.forget(s.ctx)
			})
		}
	}
}

// start starts a source in the place of another, if there is one.
func (s *Sources) start(n, before *source) {
	if before != nil {
		before.cancel()
	}
	s.running[n.record.Name] = n
	ctx, cancel := context.WithCancel(s.ctx)
	n.cancel = cancel
	if err := n.record.Validate(); err != nil { // of another release
		n.say(headapi.SourceAway, schema.Show(err))
		close(n.done)
		return
	}
	left := s.leaving[n.record.Name]
	delete(s.leaving, n.record.Name)
	s.ending.Go(func() {
		if left != nil {
			<-left // its client identifier may be the same
		}
		n.run(ctx, before)
	})
}

// same reports whether two records of a source say the same. Passwords are sealed anew whenever a record is written, so
// whether they are others is told by when the source was changed.
func same(a, b *record.Source) bool {
	x, y := *a, *b
	x.Sealed, y.Sealed = nil, nil
	one, err := json.Marshal(x)
	two, err2 := json.Marshal(y)
	return err == nil && err2 == nil && string(one) == string(two) && (len(a.Sealed) > 0) == (len(b.Sealed) > 0)
}

// Status returns how the sources do, in order of their names.
func (s *Sources) Status() []headapi.Source {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]headapi.Source, 0, len(s.running))
	for _, each := range s.running {
		all = append(all, each.look())
	}
	slices.SortFunc(all, func(a, b headapi.Source) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Trouble returns what is wrong with sources, in words; empty: nothing is. One that waits only waits for what is told elsewhere.
func (s *Sources) Trouble() string {
	var wrong []string
	for _, each := range s.Status() {
		switch each.State {
		case headapi.SourceAway:
			wrong = append(wrong, fmt.Sprintf("the source %s is not connected: %s", each.Name, each.Detail))
		case headapi.SourceRefused:
			wrong = append(wrong, fmt.Sprintf("the source %s: %s", each.Name, each.Detail))
		}
	}
	return strings.Join(wrong, "; ")
}

// Stop disconnects all sources, when what they have in hand is acknowledged or its time is over. It may be called more than
// once.
func (s *Sources) Stop(ctx context.Context) error {
	s.mu.Lock()
	s.stopped = true
	for _, each := range s.running {
		each.cancel()
	}
	s.mu.Unlock()
	ended := make(chan struct{})
	go func() {
		s.ending.Wait()
		close(ended)
	}()
	forgetting := time.AfterFunc(drainLimit, s.cancel) // what else goes on is the forgetting of sessions
	defer forgetting.Stop()
	select {
	case <-ended:
		s.cancel()
		return nil
	case <-ctx.Done():
		s.cancel()
		<-ended
		return fmt.Errorf("disconnect the sources: %w", ctx.Err())
	}
}
