// Package cassandra keeps keyspaces in a Cassandra cluster, a keyspace of the cluster for each; schema/cql draws their
// tables. It is for installations of more than one machine, and for clusters that are there already.
//
// Every statement may be repeated, so an error means only that the outcome is unknown. What was written once (blocks)
// names exactly what it holds; what is overwritten (rows of gateways, rollups, marks, the highest position) is in
// position's order by its write time and its bytes, whichever write arrives first.
//
// A node acknowledges from memory and syncs its commit log every some seconds. So a Write is durable only after three
// times that period, and when a connection broke or a node restarted meanwhile, it is written again and waits anew
// (durable.go). So is what the writer before has written, for which nobody can do that: until then its opening is not durable
// and nothing is to be concluded from what is read. With commitlog_sync batch or group it is durable at once.
//
// One writer: within a process a second Writer is refused. Between processes nothing is locked, since a lease would have
// to run out after every crash before the next could begin, and gateways would wait for it. Instead whoever comes last
// writes its name into the keyspace's own row before it reads anything; an older writer looks there before it reports
// anything durable, finds another's name, and reports nothing more. So it trims nothing of the log that the newer one
// has not either read from the keyspace or will read from the log; what it still writes is in position's order.
//
// The package's one invariant: what Durable has reported was on the disk of the nodes that acknowledged it.
package cassandra

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/gocql/gocql"

	"berth/internal/keyspace"
	"berth/schema"
	"berth/schema/cql"
)

// Backend keeps keyspaces in one cluster, through one session that is opened when it is first needed.
type Backend struct {
	address *address
	log     *slog.Logger
	slots   chan struct{} // statements in flight
	nodes   nodes

	changing sync.Mutex // held while keyspaces and tables are made and dropped; before mu

	mu         sync.Mutex // guards what follows
	session    *gocql.Session
	connecting *connecting       // nil: nobody connects
	writers    map[string]string // who writes, by keyspace
	closed     bool
}

var _ keyspace.Backend = (*Backend)(nil)

// New returns the Backend of the cluster that rest names, what follows "cassandra:" in a URL, such as
// "//host1,host2:9042?replication=3". It does not connect yet.
//
//	replication     copies in the local datacentre (1), or those of each, such as dc1:3,dc2:2; of keyspaces made from now on
//	dc              the local datacentre; that of the node that answers unless given
//	consistency     local_quorum, quorum or all
//	prefix          of the keyspaces' names in the cluster (berth_)
//	inflight        statements in flight, 32 unless given, at most 64
//	user, password_file             who the cluster is asked as; each keyspace then has a role of its own (access.go)
//	ca, cert, key   files: TLS, whose certificates to trust, and one's own
func New(rest string, log *slog.Logger) (*Backend, error) {
	a, err := parseAddress(rest)
	if err != nil {
		return nil, err
	}
	return &Backend{address: a, log: log, slots: make(chan struct{}, a.inFlight), writers: map[string]string{}}, nil
}

// open returns the session, connecting when there is none: one at a time does so, for all who wait, and goes on when they
// give up.
func (b *Backend) open(ctx context.Context) (*gocql.Session, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("connect to Cassandra: %w", err)
	}
	b.mu.Lock()
	switch {
	case b.closed:
		b.mu.Unlock()
		return nil, schema.Errorf(schema.Unavailable, "the keyspaces are closed")
	case b.session != nil:
		defer b.mu.Unlock()
		return b.session, nil
	case b.connecting == nil:
		b.connecting = &connecting{done: make(chan struct{})}
		go b.connect(b.connecting)
	}
	c := b.connecting
	b.mu.Unlock()
	select {
	case <-c.done:
		return c.session, c.err
	case <-ctx.Done():
		return nil, schema.Errorf(schema.Unavailable, "Cassandra does not answer at %s", strings.Join(b.address.hosts, ", ")).
			WithNext("see that it runs, and that the keyspaces' URL is right").WithCause(ctx.Err())
	}
}

// connecting is the making of the session; what comes of it is there when done is closed.
type connecting struct {
	done    chan struct{}
	session *gocql.Session
	err     error
}

func (b *Backend) connect(c *connecting) {
	defer close(c.done)
	c.session, c.err = connect(b.address, &b.nodes.breaks, b.log)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.connecting = nil
	switch {
	case c.err != nil:
	case b.closed:
		c.session.Close()
		c.session, c.err = nil, schema.Errorf(schema.Unavailable, "the keyspaces are closed")
	default:
		b.session = c.session
	}
}

// Close ends the session. Readers and Writers are closed on their own; they answer nothing more.
func (b *Backend) Close() error {
	b.mu.Lock()
	b.closed = true
	c := b.connecting
	if b.session != nil {
		b.session.Close()
	}
	b.mu.Unlock()
	if c != nil {
		<-c.done // it has its own limits
	}
	return nil
}

// Create makes the keyspace and brings its tables to the newest version, waiting until all nodes agree; or finds it so.
// One process at a time may change a cluster's tables: that is the provisioner.
func (b *Backend) Create(ctx context.Context, name string) error {
	t, err := b.tables(ctx, name)
	if err != nil {
		return err
	}
	b.changing.Lock()
	defer b.changing.Unlock()
	version, err := t.tablesVersion(ctx)
	if err != nil && !schema.Is(err, schema.NotFound) {
		return err
	}
	if version == cql.Version() {
		return t.list(ctx)
	}
	if version == 0 {
		replication, err := b.replication(ctx, t.session)
		if err != nil {
			return t.failed(ctx, "create", err)
		}
		if err := t.change(ctx, "CREATE KEYSPACE IF NOT EXISTS "+t.keyspace+" WITH replication = "+replication); err != nil {
			return t.failed(ctx, "create", err)
		}
	}
	for v := version + 1; v <= cql.Version(); v++ {
		for _, s := range cql.Migration(v, t.keyspace) {
			if err := t.change(ctx, s); err != nil {
				return t.failed(ctx, "create", err)
			}
		}
	}
	return t.list(ctx)
}

// replication returns the map of a new keyspace's copies, with the name of the local datacentre.
func (b *Backend) replication(ctx context.Context, s *gocql.Session) (string, error) {
	var all strings.Builder
	all.WriteString("{'class': 'NetworkTopologyStrategy'")
	for dc, n := range b.address.replication {
		if dc == "" {
			dc = b.address.dc
		}
		if dc == "" {
			if err := s.Query("SELECT data_center FROM system.local").WithContext(ctx).Scan(&dc); err != nil {
				return "", err
			}
		}
		fmt.Fprintf(&all, ", '%s': %d", dc, n)
	}
	all.WriteString("}")
	return all.String(), nil
}

// Drop removes the keyspace with all its data, or finds it gone. Nodes that take snapshots of what is dropped
// (auto_snapshot) keep those.
func (b *Backend) Drop(ctx context.Context, name string) error {
	t, err := b.tables(ctx, name)
	if err != nil {
		return err
	}
	b.changing.Lock()
	defer b.changing.Unlock()
	if err := b.hold(t, "this process, which drops it"); err != nil {
		return err
	}
	defer b.release(name)
	if err := t.withdraw(ctx); err != nil {
		return t.failed(ctx, "drop the role of", err)
	}
	if t.shared {
		return t.empty(ctx)
	}
	if err := t.change(ctx, "DROP KEYSPACE IF EXISTS "+t.keyspace); err != nil {
		return t.failed(ctx, "drop", err)
	}
	return nil
}

// hold notes who writes a keyspace, or drops it: one at a time.
func (b *Backend) hold(t *tables, who string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if other, ok := b.writers[t.full]; ok {
		return schema.Errorf(schema.Conflict, "keyspace %s is held by %s, its one writer", t.name, other).WithNext("stop that first")
	}
	b.writers[t.full] = who
	return nil
}

func (b *Backend) release(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.writers, name)
}

// Writer opens the keyspace for its one writer.
func (b *Backend) Writer(ctx context.Context, name string) (keyspace.Writer, error) {
	t, err := b.existing(ctx, name)
	if err != nil {
		return nil, err
	}
	if err := b.hold(t, "this process"); err != nil {
		return nil, err
	}
	w, err := newWriter(ctx, t)
	if err != nil {
		b.release(name)
		return nil, err
	}
	return w, nil
}

// Reader opens the keyspace for reading.
func (b *Backend) Reader(ctx context.Context, name string) (keyspace.Reader, error) {
	t, err := b.existing(ctx, name)
	if err != nil {
		return nil, err
	}
	return &reader{tables: t}, nil
}

// existing returns the tables of a keyspace that is there, in a version that this program knows.
func (b *Backend) existing(ctx context.Context, name string) (*tables, error) {
	t, err := b.tables(ctx, name)
	if err != nil {
		return nil, err
	}
	version, err := t.version(ctx)
	switch {
	case err != nil:
		return nil, err
	case version > cql.Version():
		return nil, schema.Errorf(schema.Unavailable, "keyspace %s has version %d, this program knows up to %d", name, version, cql.Version()).
			WithNext("run the newer program")
	case version < cql.Version():
		return nil, schema.Errorf(schema.Unavailable, "keyspace %s still has version %d of %d", name, version, cql.Version()).
			WithNext("wait until the provisioner has brought it to the newest")
	}
	return t, nil
}

// nodes is what is known of the cluster's nodes, as far as it says whether writes may have been lost.
type nodes struct {
	breaks atomic.Uint64 // connections that ended, and nodes found restarted

	mu          sync.Mutex // guards generations
	generations map[string]int64
}
