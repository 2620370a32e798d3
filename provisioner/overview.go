package provisioner

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"berth/internal/houseapi"
	"berth/provisioner/doctor"
	"berth/provisioner/survey"
	"berth/schema"
)

const (
	// overviewFresh is for how long a look is not taken again.
	overviewFresh = 4 * time.Second
	// overviewKept is for how long a look is shown while the next is taken: pages ask every few seconds, and do not wait.
	overviewKept = time.Minute
	// overviewLimit bounds a look.
	overviewLimit = 20 * time.Second
)

// overview answers web's question how the installation is. Nothing is looked at while nobody asks, and however many ask,
// one look is taken at a time.
type overview struct {
	look func(ctx context.Context) *houseapi.Survey // bounded
	now  func() time.Time
	base context.Context //nolint:containedctx // of looks, which outlive the question that began them
	all  sync.WaitGroup

	mu      sync.Mutex    // guards what follows
	last    []byte        // the last survey, as JSON; nil: there is none yet
	taken   time.Time     // when it was there
	looking chan struct{} // closed when the look that is under way ends; nil: none is
}

// startOverview begins to answer web how the installation is.
func (p *Provisioner) startOverview(ctx context.Context) error {
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	o := &overview{look: p.lookOver, now: time.Now, base: base}
	stop, err := p.conn.Answer(houseapi.SurveySubject, o.answer)
	if err != nil {
		cancel()
		return err
	}
	p.stack.Push("overview", 3*time.Second, func(context.Context) error {
		stop()
		o.mu.Lock()
		cancel() // no look begins any more
		o.mu.Unlock()
		o.all.Wait()
		return nil
	})
	return nil
}

// lookOver takes a survey of everything: what the command line's ls and doctor show.
func (p *Provisioner) lookOver(ctx context.Context) *houseapi.Survey {
	checks, v := p.examined(ctx)
	out := survey.Show(v, p.o.PortBase, append(doctor.Machine(p.o.Data), checks...))
	out.At, out.Disks = time.Now().UTC(), p.disks()
	return out
}

// answer answers with the last look, or a new one.
func (o *overview) answer(ctx context.Context, _ []byte, reply func([]byte) error) error {
	data, err := o.survey(ctx)
	if err != nil {
		return err
	}
	return reply(data)
}

// survey returns the last look while it may be shown, else it waits for the next.
func (o *overview) survey(ctx context.Context) ([]byte, error) {
	o.mu.Lock()
	age := o.now().Sub(o.taken)
	if (o.last == nil || age >= overviewFresh) && o.looking == nil && o.base.Err() == nil {
		o.looking = make(chan struct{})
		o.all.Go(func() { o.take() }) //nolint:contextcheck // it goes on for others when who asked is gone
	}
	last, looking := o.last, o.looking
	o.mu.Unlock()
	if last != nil && (age < overviewKept || looking == nil) {
		return last, nil
	}
	select {
	case <-looking:
	case <-o.base.Done():
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.last == nil {
		return nil, schema.Errorf(schema.Unavailable, "the provisioner is stopping")
	}
	return o.last, nil
}

// take takes a look.
func (o *overview) take() {
	ctx, cancel := context.WithTimeout(o.base, overviewLimit)
	defer cancel()
	data, err := json.Marshal(o.look(ctx))
	o.mu.Lock()
	defer o.mu.Unlock()
	if err == nil && o.base.Err() == nil {
		o.last, o.taken = data, o.now()
	}
	close(o.looking)
	o.looking = nil
}
