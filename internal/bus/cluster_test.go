package bus

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/internal/bus/natstest"
)

// onEveryServer runs a test on the embedded server, and on one of its own that is reached by TLS.
func onEveryServer(t *testing.T, test func(t *testing.T, h *house)) {
	t.Helper()
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		test(t, newHouse(t))
	})
	t.Run("own", func(t *testing.T) {
		t.Parallel()
		test(t, newServers(t, 1, true))
	})
}

// newServers starts NATS servers of their own, one or a cluster, that end with the test.
func newServers(t *testing.T, count int, byTLS bool) *house {
	t.Helper()
	h := &house{t: t, dir: t.TempDir(), back: make(chan struct{}, 16)}
	h.authority = must(OpenAuthority(h.dir + "/authority"))(t)
	addresses := natstest.Ports(t, 2*count)
	var config ServerConfig
	h.at = "nats://" + strings.Join(addresses[:count], ",")
	if byTLS {
		h.at = "tls://" + strings.Join(addresses[:count], ",")
		config.Cert, config.Key, config.CA = h.dir+"/cert.pem", h.dir+"/key.pem", h.dir+"/ca.pem"
		h.trust.CA = must(h.authority.CA())(t)
		cert, key, err := h.authority.Certificate("127.0.0.1")
		if err != nil {
			t.Fatal(err)
		}
		for path, text := range map[string][]byte{config.Cert: cert, config.Key: key, config.CA: h.trust.CA} {
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i := range count {
		config.Name, config.Listen = fmt.Sprint("n", i+1), addresses[i]
		config.Store = filepath.Join(h.dir, config.Name)
		if count > 1 {
			config.Cluster, config.Routes = addresses[count+i], addresses[count:]
		}
		h.nodes = append(h.nodes, natstest.New(t, h.dir, config.Name, config.Listen, must(h.authority.ServerConfig(config))(t)))
		h.nodes[i].Start()
	}
	for _, n := range h.nodes {
		n.Ready()
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	h.remote = must(OpenRemote(ctx, h.options(nil), h.authority, func() { h.back <- struct{}{} }))(t)
	t.Cleanup(h.remote.Stop)
	return h
}

// notInShort leaves a cluster's elections, some seconds each, out of the short form: the race detector sees nothing of them.
func notInShort(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("a cluster elects for some seconds each time")
	}
}

// leader returns which server leads the log, and how many others are level with it.
func (h *house) leader(l *Log) (node, current int) {
	info, err := l.stream.Info(h.t.Context())
	if err != nil || info.Cluster == nil || info.Cluster.Leader == "" {
		return -1, 0
	}
	for _, r := range info.Cluster.Replicas {
		if r.Current && !r.Offline && r.Lag == 0 {
			current++
		}
	}
	for i := range h.nodes {
		if info.Cluster.Leader == fmt.Sprint("n", i+1) {
			return i, current
		}
	}
	return -1, current
}

// whole waits until all replicas of the log are level, and returns which server leads.
func (h *house) whole(l *Log) (node int) {
	h.t.Helper()
	within(h.t, "all replicas of the log are level", func() bool {
		var current int
		node, current = h.leader(l)
		return node >= 0 && current == len(h.nodes)-1
	})
	return node
}

// TestAClusterIsKilledUnderLoad kills one server of three at a time by SIGKILL, leaders and others, while batches are
// appended and trimmed: what was confirmed is in the log once, and all replicas hold the same.
func TestAClusterIsKilledUnderLoad(t *testing.T) {
	notInShort(t)
	h := newServers(t, 3, true)
	_, pipeline := h.provider("acme", LogOptions{})
	log := must(pipeline.OpenLog(t.Context()))(t)
	h.whole(log)
	l := startLoad(t, log, 20_000)
	for n := range 2 {
		l.more(100)
		leader := h.whole(log)
		victim, what := leader, "the leader"
		if n%2 == 1 {
			victim, what = (leader+1)%3, "a follower"
		}
		_ = l.pause()
		h.nodes[victim].Kill()
		l.more(100)
		state := must(log.State(t.Context()))(t)
		if err := log.Trim(t.Context(), state.Last-50); err != nil {
			t.Logf("trim: %v", err)
		}
		l.more(100)
		t.Logf("kill %d, of %s: the longest without a confirmation was %v", n+1, what, l.pause().Round(time.Millisecond))
		h.nodes[victim].Run()
	}
	l.more(100)
	h.whole(log)
	l.check()
	h.replicasAreAlike(log)
}

// replicasAreAlike has each server lead the log in turn, and compares what it gives.
func (h *house) replicasAreAlike(l *Log) {
	h.t.Helper()
	var want string
	for i := range h.nodes {
		h.lead(l, i)
		first, data := contents(h.t, l)
		got := fmt.Sprint(first, len(data), data)
		if want == "" {
			want = got
		}
		if got != want {
			h.t.Errorf("server %d holds %d messages from %d on, not what the first holds", i+1, len(data), first)
		}
	}
}

// lead has a server lead the log.
func (h *house) lead(l *Log, node int) {
	h.t.Helper()
	full, _, _, err := h.authority.Provider("acme")
	if err != nil {
		h.t.Fatal(err)
	}
	conn := h.connect(full)
	within(h.t, fmt.Sprintf("server %d leads the log", node+1), func() bool {
		if at, current := h.leader(l); at == node && current == len(h.nodes)-1 {
			return true
		}
		_, _ = conn.nc.Request("$JS.API.STREAM.LEADER.STEPDOWN."+logStream,
			fmt.Appendf(nil, `{"placement":{"preferred":"n%d"}}`, node+1), time.Second)
		return false
	})
}

// TestTheChainInACluster takes a log over while its leader changes, and raises and lowers its replicas under load. By the
// ids of messages, as on a single server, the replicas would come apart: one that is given messages which it has missed
// does not learn the last id, and refuses what the others take.
func TestTheChainInACluster(t *testing.T) {
	notInShort(t)
	h := newServers(t, 3, false)
	full, limited, _, err := h.authority.Provider("acme")
	if err != nil {
		t.Fatal(err)
	}
	prepare := func(replicas int) {
		t.Helper()
		o := h.options(full)
		o.Replicas = replicas
		conn := must(Connect(t.Context(), o))(t)
		defer conn.Close()
		h.prepare(func(ctx context.Context) error { return conn.Prepare(ctx, LogOptions{}) })
	}
	prepare(1)
	log := must(h.connect(limited).OpenLog(t.Context()))(t)
	within(t, "the log has a leader", func() bool { _, err := log.State(t.Context()); return err == nil })
	if !log.clustered.Load() {
		t.Error("a cluster is taken for a single server, whose batches are chained by ids")
	}
	l := startLoad(t, log, 20_000)
	l.more(100)
	prepare(3)
	l.more(100)
	h.whole(log)
	for node := range h.nodes {
		h.lead(log, node)
		l.more(50)
	}
	prepare(1)
	l.more(100)
	prepare(3)
	l.more(100)
	h.whole(log)
	l.check()
	h.replicasAreAlike(log)

	takeOvers(t, log, 6, func(round int) {
		if round%2 == 0 {
			_, _ = h.connect(full).nc.Request("$JS.API.STREAM.LEADER.STEPDOWN."+logStream, nil, time.Second)
		}
	})
	h.whole(log)
	h.replicasAreAlike(log)
}
