package bus

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"berth/schema"
)

const (
	// duplicateWindow is how long the log's stream remembers ids in memory, about 300 bytes each, thousands a second.
	// Nothing depends on it: beyond it a Writer asks for the log's last message instead.
	duplicateWindow = 30 * time.Second
	// serviceLife is how long an instance is listed without announcing itself again.
	serviceLife = 15 * time.Second
	// sessionLife bounds how long a session of a person may be kept.
	sessionLife = 30 * 24 * time.Hour
)

// LogOptions bound a provider's streams, in bytes; 0 stands for the default.
type LogOptions struct {
	Quota        int64
	RejectsQuota int64
	AsideQuota   int64
}

// providerBuckets and houseBuckets are the buckets of each kind of account.
var (
	providerBuckets = []BucketOptions{{Name: "pipeline"}, {Name: "services", TTL: serviceLife, Memory: true}, {Name: "episodes"}}
	houseBuckets    = []BucketOptions{
		{Name: "providers"},
		{Name: "links"},
		{Name: "tokens"},
		{Name: "shares"},
		{Name: "people"},
		{Name: "sessions", TTL: sessionLife},
		{Name: "services", TTL: serviceLife, Memory: true},
		{Name: "schedules"},
		{Name: "runs"},
		{Name: "runfiles"},
		{Name: "usage"},
		{Name: "leases", TTL: serviceLife, Memory: true},
	}
)

// Prepare makes a provider's streams and buckets what they should be, or finds them so. With several replicas only the log
// may be read from any of them: what it gives is checked against what the leader says, and all else must not be stale. It is cheap when nothing is to
// be done; call it again whenever the server has restarted, which forgets the registry. Conflict says that the log holds
// more than its new quota and keeps the old one; all else is done then.
func (c *Conn) Prepare(ctx context.Context, o LogOptions) error {
	return Insist(ctx, func(ctx context.Context) error { return c.prepare(ctx, o) })
}

// How [Insist] tries: each time beyond any answer that comes.
const (
	tryFor = 5 * time.Second
	tries  = 12
)

// Insist calls fn, which may be called again, until it ends otherwise than by its time, at most for a minute: of a cluster that
// elects, a request that reaches no leader is never answered.
func Insist(ctx context.Context, fn func(ctx context.Context) error) error {
	for n := 1; ; n++ {
		within, cancel := context.WithTimeout(ctx, tryFor)
		err := fn(within)
		late := within.Err() != nil && ctx.Err() == nil
		cancel()
		if err == nil || !late || n == tries {
			return err
		}
	}
}

func (c *Conn) prepare(ctx context.Context, o LogOptions) error {
	if o.Quota <= 0 {
		o.Quota = DefaultQuota
	}
	if o.RejectsQuota <= 0 {
		o.RejectsQuota = DefaultRejectsQuota
	}
	if o.AsideQuota <= 0 {
		o.AsideQuota = DefaultAsideQuota
	}
	streams := []jetstream.StreamConfig{
		{
			Name: logStream, Subjects: []string{logSubject}, MaxBytes: o.Quota, Discard: jetstream.DiscardNew,
			Duplicates: duplicateWindow, AllowDirect: true,
		},
		{
			Name: rejectsStream, Subjects: []string{rejectsSubject, rejectsSubject + ".*"}, MaxBytes: o.RejectsQuota, Discard: jetstream.DiscardOld,
			Duplicates: time.Minute, AllowDirect: c.copies == 1,
		},
		{
			Name: asideStream, Subjects: []string{asideSubject + ".*"}, MaxBytes: o.AsideQuota, Discard: jetstream.DiscardNew,
			MaxMsgsPerSubject: 1, DiscardNewPerSubject: true, Duplicates: time.Minute, AllowDirect: c.copies == 1,
		},
	}
	var quota error
	for _, s := range streams {
		s.Replicas = c.copies
		err := c.prepareStream(ctx, s)
		if schema.Is(err, schema.Conflict) {
			quota, err = err, nil
		}
		if err != nil {
			return err
		}
	}
	if err := c.prepareBuckets(ctx, providerBuckets); err != nil {
		return err
	}
	return quota
}

// PrepareHouse makes the house's buckets and its audit log, or finds them. Call it again whenever the server has restarted. Who
// calls it insists, on what else is asked then too.
func (c *Conn) PrepareHouse(ctx context.Context) error {
	if err := c.prepareBuckets(ctx, houseBuckets); err != nil {
		return err
	}
	return c.prepareAudit(ctx)
}

func (c *Conn) prepareBuckets(ctx context.Context, buckets []BucketOptions) error {
	for _, b := range buckets {
		if _, err := c.Bucket(ctx, b); err != nil {
			return err
		}
		if err := c.prepareReplicas(ctx, bucketStream(b.Name)); err != nil {
			return err
		}
	}
	return nil
}

// prepareReplicas gives a bucket that exists the replicas that it should have.
func (c *Conn) prepareReplicas(ctx context.Context, stream string) error {
	act := "prepare stream " + stream
	s, err := c.js.Stream(ctx, stream)
	if err != nil {
		return failed(act, err)
	}
	now := s.CachedInfo().Config
	next := now
	next.Replicas, next.AllowDirect = c.copies, c.copies == 1
	if reflect.DeepEqual(next, now) {
		return nil
	}
	_, err = c.js.UpdateStream(ctx, next)
	return failed(act, err)
}

func (c *Conn) prepareStream(ctx context.Context, want jetstream.StreamConfig) error {
	act := "prepare stream " + want.Name
	s, err := c.js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return failed(act, c.createStream(ctx, want))
	}
	if err != nil {
		return failed(act, err)
	}
	info := s.CachedInfo()
	next := info.Config // the server's own additions stay
	next.Subjects, next.MaxBytes, next.Discard = want.Subjects, want.MaxBytes, want.Discard
	next.Duplicates, next.AllowDirect, next.Replicas = want.Duplicates, want.AllowDirect, want.Replicas
	if reflect.DeepEqual(next, info.Config) {
		return nil
	}
	if next.Discard == jetstream.DiscardNew && uint64(next.MaxBytes) < info.State.Bytes {
		return fmt.Errorf("%s: %w", act, schema.Errorf(schema.Conflict, "the log holds %d bytes, more than the new quota of %d",
			info.State.Bytes, next.MaxBytes).WithNext("wait until the log has drained, or choose a larger quota"))
	}
	_, err = c.js.UpdateStream(ctx, next)
	return failed(act, err)
}

// Remove removes a provider's streams and buckets with all that they hold, or finds them gone.
func (c *Conn) Remove(ctx context.Context) error {
	names := []string{logStream, rejectsStream, asideStream}
	for _, b := range providerBuckets {
		names = append(names, bucketStream(b.Name))
	}
	for _, name := range names {
		if err := c.js.DeleteStream(ctx, name); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
			return failed("remove stream "+name, err)
		}
	}
	return nil
}

// createStream asks again when the server could not make the stream's folder: it clears an account's folders, once they
// are empty, a moment after it has answered that the last stream is removed, and so perhaps under a new one.
func (c *Conn) createStream(ctx context.Context, want jetstream.StreamConfig) error {
	const attempts = 10
	for n := 1; ; n++ {
		_, err := c.js.CreateStream(ctx, want)
		if api, ok := errors.AsType[*jetstream.APIError](err); !ok || api.ErrorCode != codeStoreNotMade || n == attempts {
			return err
		}
	}
}
