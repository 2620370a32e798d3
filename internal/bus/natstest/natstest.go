// Package natstest runs real nats-server processes for tests, built from the module that Berth embeds. It knows nothing of
// Berth: what a server is told is its configuration.
//
// Its one invariant: every process that it started ends with the test.
package natstest

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"berth/internal/testport"
	"berth/internal/testprocess"
)

// startLimit bounds how long a server may take until it takes connections.
const startLimit = time.Minute

var build struct {
	once sync.Once
	path string
	err  error
}

// Program returns the path of nats-server, which is built at the first call, into Go's own cache.
func Program(t testing.TB) string {
	t.Helper()
	build.once.Do(func() {
		ctx := context.WithoutCancel(t.Context())
		// go tool -n builds the program into the build cache and says where; nothing is left behind.
		cmd := exec.CommandContext(ctx, "go", "tool", "-n", "github.com/nats-io/nats-server/v2")
		out, err := cmd.Output()
		build.path, build.err = strings.TrimSpace(string(out)), err
	})
	if build.err != nil {
		t.Fatalf("build nats-server: %v", build.err)
	}
	return build.path
}

// Ports returns addresses of 127.0.0.1 that are the test's until it ends, all different.
func Ports(t testing.TB, n int) []string {
	t.Helper()
	addresses := make([]string, n)
	base := testport.Base(t, n)
	for i := range addresses {
		addresses[i] = net.JoinHostPort("127.0.0.1", strconv.Itoa(base+1+i))
	}
	return addresses
}

// Node is one server. It is for one goroutine.
type Node struct {
	*testprocess.Process        // nil until it is started
	Address              string // where it takes connections
	Log                  string // path of what it says
	config               string // path of its configuration
	program              string
	t                    testing.TB
}

// New returns a server with a configuration, by which it listens at the address, that is not started. Its files are in dir.
func New(t testing.TB, dir, name, address, config string) *Node {
	t.Helper()
	n := &Node{
		Address: address, Log: filepath.Join(dir, name+".log"), config: filepath.Join(dir, name+".conf"),
		program: Program(t), t: t,
	}
	if err := os.WriteFile(n.config, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Kill() })
	return n
}

// Start starts the process; it does not wait until it is ready.
func (n *Node) Start() {
	n.t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(n.t.Context()), n.program, "-c", n.config)
	var err error
	if n.Process, err = testprocess.Start(cmd, n.Log, syscall.SIGKILL); err != nil {
		n.t.Fatal(err)
	}
}

// Ready waits until the server takes connections.
func (n *Node) Ready() {
	n.t.Helper()
	if err := n.Await(n.t.Context(), startLimit, 10*time.Millisecond, n.answers); err != nil {
		n.t.Fatalf("nats-server: %v", err)
	}
}

// answers reports whether the server takes connections.
func (n *Node) answers(ctx context.Context) bool {
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", n.Address)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

// Run starts the process and waits until it is ready.
func (n *Node) Run() {
	n.t.Helper()
	n.Start()
	n.Ready()
}
