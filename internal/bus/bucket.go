package bus

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// markerLife is how long a deleted or expired key leaves a marker, for watchers to see that it is gone.
	markerLife = time.Minute
	// fileBucket and memoryBucket are what a bucket may hold, in bytes. They are reserved against the server's limits.
	fileBucket   = 256 << 20
	memoryBucket = 1 << 20
)

// BucketOptions name a bucket and say how it is made if it does not exist.
type BucketOptions struct {
	Name   string
	TTL    time.Duration // a key expires so long after it was last put; 0: never
	Memory bool          // it needs no disk, and is gone after the server restarts
}

// Bucket is a bucket of records. Each key has a revision, which rises with every change of the bucket. Errors: NotFound
// for a key that is not there, Conflict when the key is not at the expected revision, Unavailable when NATS does not
// answer: then the outcome of a write is unknown. Methods may be called concurrently.
type Bucket struct {
	conn *Conn
	name string
	kv   jetstream.KeyValue

	stream     jetstream.Stream // only of a bucket with replicas
	replicated bool
}

// Entry is a record as it is kept.
type Entry struct {
	Value    []byte
	Revision uint64
}

// Bucket makes a bucket, or finds it; one that exists stays as it is. A user who may not make it gets Unavailable while
// it is not there.
func (c *Conn) Bucket(ctx context.Context, o BucketOptions) (*Bucket, error) {
	act := "open bucket " + o.Name
	kv, err := c.js.KeyValue(ctx, o.Name)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		kv, err = c.js.CreateKeyValue(ctx, o.config(c.copies))
		if errors.Is(err, jetstream.ErrBucketExists) || errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			kv, err = c.js.KeyValue(ctx, o.Name)
		}
	}
	if err != nil {
		return nil, failed(act, err)
	}
	b := &Bucket{conn: c, name: o.Name, kv: kv}
	if c.copies > 1 {
		if b.stream, err = c.js.Stream(ctx, bucketStream(o.Name)); err != nil {
			return nil, failed(act, err)
		}
		b.replicated = b.stream.CachedInfo().Config.Replicas > 1
	}
	return b, nil
}

func (o BucketOptions) config(replicas int) jetstream.KeyValueConfig {
	cfg := jetstream.KeyValueConfig{
		Bucket: o.Name, History: 1, TTL: o.TTL, MaxBytes: fileBucket, Storage: jetstream.FileStorage, LimitMarkerTTL: markerLife,
		Replicas: replicas,
	}
	if o.Memory {
		cfg.Storage, cfg.MaxBytes = jetstream.MemoryStorage, memoryBucket
	}
	return cfg
}

// Get returns a key's value and revision, or NotFound.
func (b *Bucket) Get(ctx context.Context, key string) (value []byte, revision uint64, err error) {
	e, err := b.kv.Get(ctx, key)
	if errors.Is(err, nats.ErrNoResponders) { // who is asked changes with the number of replicas
		kv, again := b.conn.js.KeyValue(ctx, b.name)
		if again == nil {
			e, err = kv.Get(ctx, key)
		}
	}
	if err != nil {
		return nil, 0, failed("get "+b.name+"/"+key, err)
	}
	return e.Value(), e.Revision(), nil
}

// Create puts a key that is not there, or returns Conflict.
func (b *Bucket) Create(ctx context.Context, key string, value []byte) (revision uint64, err error) {
	revision, err = b.kv.Create(ctx, key, value)
	return revision, failed("create "+b.name+"/"+key, err)
}

// Update replaces the value of a key that is at the given revision, or returns Conflict.
func (b *Bucket) Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	revision, err := b.kv.Update(ctx, key, value, revision)
	return revision, failed("update "+b.name+"/"+key, err)
}

// Put sets a key, whatever it was.
func (b *Bucket) Put(ctx context.Context, key string, value []byte) (revision uint64, err error) {
	revision, err = b.kv.Put(ctx, key, value)
	return revision, failed("put "+b.name+"/"+key, err)
}

// Delete removes a key, or finds it gone.
func (b *Bucket) Delete(ctx context.Context, key string) error {
	return failed("delete "+b.name+"/"+key, b.kv.Purge(ctx, key, jetstream.PurgeTTL(markerLife)))
}

// DeleteBelow removes all keys that begin with prefix and a dot, without markers: a watcher does not see that they are gone.
func (b *Bucket) DeleteBelow(ctx context.Context, prefix string) error {
	act := "delete " + b.name + "/" + prefix + ".>"
	stream, err := b.conn.js.Stream(ctx, bucketStream(b.name))
	if err != nil {
		return failed(act, err)
	}
	return failed(act, stream.Purge(ctx, jetstream.WithPurgeSubject("$KV."+b.name+"."+prefix+".>")))
}

// Count returns how many keys there are, those included that were deleted a short while ago.
func (b *Bucket) Count(ctx context.Context) (uint64, error) {
	status, err := b.kv.Status(ctx)
	if err != nil {
		return 0, failed("count "+b.name, err)
	}
	return status.Values(), nil
}

// List returns all keys, as they are when it is called or later.
func (b *Bucket) List(ctx context.Context) (map[string]Entry, error) {
	w, err := b.kv.WatchAll(ctx)
	if err != nil {
		return nil, failed("list "+b.name, err)
	}
	defer w.Stop() //nolint:errcheck // nothing to be done about it
	all := map[string]Entry{}
	var seen, last uint64 // sequences: the newest that came, the newest that must come
	whole := false
	for {
		select {
		case e, ok := <-w.Updates():
			switch {
			case !ok:
				return nil, failed("list "+b.name, context.DeadlineExceeded)
			case e == nil:
				whole = true
				if last, err = b.newest(ctx, seen); err != nil {
					return nil, err
				}
			default:
				seen = max(seen, e.Revision())
				apply(all, e)
			}
			if whole && seen >= last {
				return all, nil
			}
		case <-ctx.Done():
			return nil, failed("list "+b.name, ctx.Err())
		}
	}
}

// newest returns the sequence up to which a list must go that has come to seen. Of replicas the one that is listed may be
// behind; the leader is not.
func (b *Bucket) newest(ctx context.Context, seen uint64) (uint64, error) {
	if !b.replicated {
		return seen, nil
	}
	m, err := b.stream.GetLastMsgForSubject(ctx, "$KV."+b.name+".>")
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return seen, nil
	}
	if err != nil {
		return 0, failed("list "+b.name, err)
	}
	return m.Sequence, nil
}

func apply(all map[string]Entry, e jetstream.KeyValueEntry) {
	if e.Operation() == jetstream.KeyValuePut {
		all[e.Key()] = Entry{Value: e.Value(), Revision: e.Revision()}
	} else {
		delete(all, e.Key())
	}
}
