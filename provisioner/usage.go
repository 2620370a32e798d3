package provisioner

import (
	"context"
	"time"

	"berth/internal/bus"
	"berth/internal/metrics"
	"berth/provisioner/meter"
	"berth/provisioner/survey"
	"berth/schema/record"
)

// ofLog says that bytes are the running total of the log. Before, they were those of an instance, which begin anew with it.
const ofLog = "log"

// meterStop bounds how long the meter takes to stop: a look at all instances and their records.
const meterStop = 10 * time.Second

// startMeter begins to write down what providers use.
func (p *Provisioner) startMeter(ctx context.Context) error {
	b, err := p.conn.Bucket(ctx, bus.BucketOptions{Name: "usage"})
	if err != nil {
		return err
	}
	p.usage = b
	m := meter.New(meter.Options{Bucket: b, Look: p.used, Logger: p.o.Logger})
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() { m.Run(ctx); close(done) }()
	p.stack.Push("meter", meterStop, func(context.Context) error {
		cancel()
		<-done
		return nil
	})
	return nil
}

// used returns how the totals of each provider stand whose ingest answers.
func (p *Provisioner) used(ctx context.Context) ([]meter.Now, error) {
	v, err := p.survey.Take(ctx)
	if err != nil {
		return nil, err
	}
	return usedOf(v), nil
}

func usedOf(v *survey.Survey) (all []meter.Now) {
	made := map[string]*record.Provider{}
	for i := range v.Providers {
		made[v.Providers[i].Name] = &v.Providers[i]
	}
	for i := range v.Instances {
		if at := &v.Instances[i]; at.Up && at.Role == record.RoleIngest && made[at.Provider] != nil {
			n := meter.Now{
				Provider: at.Provider, Of: made[at.Provider].Created,
				Instance: ofLog,
			}
			if read(&n, at.Answer.Samples) {
				all = append(all, n)
			}
		}
	}
	return all
}

// read reads what ingest answers, and reports whether all of it is there.
func read(n *meter.Now, samples []metrics.Sample) bool {
	found := 0
	for i := range samples {
		s := &samples[i]
		to := map[string]*uint64{
			metrics.Readings.Name + " accepted": &n.Used.Readings, metrics.Readings.Name + " rejected": &n.Used.Rejected,
			metrics.FramesEnded.Name + " rejected": &n.Used.Refused, metrics.FramesReceived.Name: &n.Used.Frames, metrics.LogWritten.Name: &n.Used.Bytes, metrics.KeyspaceBytes.Name: &n.Storage, metrics.Gateways.Name: &n.Gateways,
		}
		name, value := s.Name, s.Value
		if (name == metrics.Readings.Name || name == metrics.FramesEnded.Name) && len(s.Labels) == 1 {
			name += " " + s.Labels[0]
		}
		switch at := to[name]; {
		case at != nil:
			*at = uint64(value)
			found++
		}
	}
	const wanted = 7
	return found == wanted
}
