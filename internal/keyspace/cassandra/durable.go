package cassandra

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gocql/gocql"

	"berth/internal/keyspace"
	"berth/schema"
)

const (
	// syncPeriods is how many of the node's own periods have passed when its commit log has surely been synced.
	syncPeriods = 3
	// defaultPeriod is Cassandra's own, for nodes that do not say theirs.
	defaultPeriod = 10 * time.Second
)

// pending is a write that is not known to be durable.
type pending struct {
	receipt keyspace.Receipt
	changes keyspace.Changes
	stamp   int64
	written time.Time // when the last of it was acknowledged
	breaks  uint64    // how many connections had ended before it began
}

// Durable returns the receipt up to which every write has surely been synced. It asks the node only when something is due:
// whether another writer has taken the keyspace, whether a node restarted, and how it syncs. What may have been lost is
// written again.
func (w *writer) Durable(ctx context.Context) (keyspace.Receipt, error) {
	if err := w.act(ctx); err != nil {
		return 0, err
	}
	defer w.writing.RUnlock()
	w.asking.Lock()
	defer w.asking.Unlock()
	w.mu.Lock()
	waiting, durable := len(w.pending) > 0, w.durable
	w.mu.Unlock()
	if !waiting {
		return durable, nil
	}
	now := time.Now()
	period, err := w.nodes().look(ctx, w.tables)
	if err != nil {
		return durable, w.failed(ctx, "ask", err)
	}
	if err := w.still(ctx); err != nil {
		return durable, err
	}
	// A connection that ended is known by now if it ended before the nodes answered: they answered over one.
	if err := w.again(ctx, w.nodes().breaks.Load()); err != nil {
		return durable, err
	}
	return w.settle(now, syncPeriods*period), nil
}

func (t *tables) nodes() *nodes { return &t.backend.nodes }

// settle returns up to which receipt the writes were acknowledged so long before now.
func (w *writer) settle(now time.Time, wait time.Duration) keyspace.Receipt {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for n < len(w.pending) && !w.pending[n].written.Add(wait).After(now) {
		w.durable = w.pending[n].receipt
		n++
	}
	clear(w.pending[:n])
	w.pending = w.pending[n:]
	return w.durable
}

// again writes what was written before so many connections had ended again.
func (w *writer) again(ctx context.Context, breaks uint64) error {
	w.mu.Lock()
	all := slices.Clone(w.pending)
	w.mu.Unlock()
	doubted := false
	for i, p := range all { // only Durable changes and removes them, and one runs at a time
		if p.breaks >= breaks {
			continue
		}
		if !doubted {
			w.stored.doubt()
			doubted = true
		}
		since := w.nodes().breaks.Load()
		if err := w.store(ctx, &p.changes, p.stamp); err != nil {
			return err
		}
		w.mu.Lock()
		w.pending[i].written, w.pending[i].breaks = time.Now(), since
		w.mu.Unlock()
	}
	return nil
}

// still returns a Conflict error once another writer has taken the keyspace.
func (w *writer) still(ctx context.Context) error {
	_, who, err := w.own(ctx)
	if err != nil || who == w.token {
		return err
	}
	if who == w.before {
		return w.take(ctx) // a node that was killed has forgotten that it was taken
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.superior = schema.Errorf(schema.Conflict, "keyspace %s was taken over by %s, its one writer now", w.name, who).WithNext("stop this process")
	return w.superior
}

// look asks how the node syncs its commit log and notes nodes that were restarted. It returns the period between syncs, 0
// when every write is synced before it is acknowledged.
func (n *nodes) look(ctx context.Context, t *tables) (time.Duration, error) {
	found, err := t.generations(ctx)
	if err != nil {
		return 0, err
	}
	n.mu.Lock()
	for node, generation := range found {
		if before, ok := n.generations[node]; ok && before != generation {
			n.breaks.Add(1)
		}
	}
	if n.generations == nil {
		n.generations = map[string]int64{}
	}
	maps.Copy(n.generations, found)
	n.mu.Unlock()
	return t.syncPeriod(ctx)
}

// generations returns when each node was started, as far as the one that answers says so.
func (t *tables) generations(ctx context.Context) (map[string]int64, error) {
	found := map[string]int64{}
	var node string
	var generation int64
	rows := t.query(ctx, "SELECT address, generation FROM system_views.gossip_info").Iter()
	for rows.Scan(&node, &generation) {
		found[node] = generation
	}
	err := rows.Close()
	if err == nil || !refused(err) {
		return found, err
	}
	var id gocql.UUID
	if err := t.query(ctx, "SELECT host_id, gossip_generation FROM system.local").Scan(&id, &generation); err != nil {
		return nil, err
	}
	return map[string]int64{id.String(): generation}, nil
}

// syncPeriod returns the period between syncs of the node's commit log, 0 when it syncs before it answers.
func (t *tables) syncPeriod(ctx context.Context) (time.Duration, error) {
	settings := map[string]string{}
	for _, name := range []string{"commitlog_sync", "commitlog_sync_period", "commitlog_sync_period_in_ms"} {
		var value string
		err := t.query(ctx, "SELECT value FROM system_views.settings WHERE name = ?", name).Scan(&value)
		if err != nil && !errors.Is(err, gocql.ErrNotFound) && !refused(err) {
			return 0, err
		}
		settings[name] = value
	}
	if mode := settings["commitlog_sync"]; mode == "batch" || mode == "group" {
		return 0, nil
	}
	for _, text := range []string{settings["commitlog_sync_period"], settings["commitlog_sync_period_in_ms"] + "ms"} {
		if period, err := time.ParseDuration(strings.TrimSpace(text)); err == nil && period > 0 {
			return period, nil
		}
	}
	return defaultPeriod, nil
}
