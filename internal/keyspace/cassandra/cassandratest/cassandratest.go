// Package cassandratest gives tests a real Cassandra node: docker/cassandra/node starts one of Maven Central's jars. A
// node takes half a gigabyte and some CPU, so tests have one only when the flag -cassandra asks for it:
//
//	go test ./internal/keyspace/cassandra -cassandra=start         starts one for the test run, and stops it
//	go test ./internal/keyspace/cassandra -cassandra=host:port     uses one that runs
//
// Its one invariant: it ends every node that it started, by its process id.
package cassandratest

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"berth/internal/testprocess"
)

var which = flag.String("cassandra", "", `the Cassandra of the tests: "start" starts a node, host:port names one that runs; without it they are skipped`)

// Times of a node's life.
const (
	startLimit = 4 * time.Minute
	answerStep = 100 * time.Millisecond
)

// Node is a node that was started. It is for one goroutine.
type Node struct {
	*testprocess.Process          // nil until it is started
	Dir                  string   // its folder
	Address              string   // host:port, the same after every start
	Env                  []string // what docker/cassandra/node is told, such as SYNC=1000ms
}

var shared struct {
	sync.Mutex
	node    *Node
	address string
	err     error
	tried   bool
}

// Address returns the host:port of the test run's node. It skips the test when no node was asked for, and fails it when
// one was and cannot be had. The package's TestMain calls Stop at the end.
func Address(tb testing.TB) string {
	tb.Helper()
	Wanted(tb)
	if *which != "start" {
		return *which
	}
	shared.Lock()
	defer shared.Unlock()
	if !shared.tried {
		shared.tried = true
		shared.address, shared.err = startShared()
	}
	if shared.err != nil {
		tb.Fatal(shared.err)
	}
	return shared.address
}

// Wanted skips the test unless a node was asked for.
func Wanted(tb testing.TB) {
	tb.Helper()
	if *which == "" {
		tb.Skip("it needs a real Cassandra node: run it with -cassandra=start, or make test-engines")
	}
}

func startShared() (string, error) {
	dir, err := os.MkdirTemp("", "berth-cassandra-")
	if err != nil {
		return "", err
	}
	shared.node = New(dir)
	if err := shared.node.Start(context.Background()); err != nil {
		return "", err
	}
	return shared.node.Address, nil
}

// Stop kills the test run's node, if one was started, and removes its folder.
func Stop() {
	shared.Lock()
	defer shared.Unlock()
	if shared.node == nil {
		return
	}
	shared.node.Kill()
	_ = os.RemoveAll(shared.node.Dir) // what stays is in the machine's folder for temporary files
}

// New returns a node of its own, in an empty folder, that is not started. env is what docker/cassandra/node is told.
func New(dir string, env ...string) *Node { return &Node{Dir: dir, Env: env} }

// script returns the path of docker/cassandra/node.
func script() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..", "..", "..", "docker", "cassandra", "node")
}

// Start starts the node and waits until it answers. The jars are fetched first when they are not there.
func (n *Node) Start(ctx context.Context) error {
	cmd := exec.CommandContext(context.WithoutCancel(ctx), script(), "run", n.Dir)
	cmd.Env = append(os.Environ(), n.Env...)
	var err error
	if n.Process, err = testprocess.Start(cmd, filepath.Join(n.Dir, "log"), syscall.SIGKILL); err == nil {
		err = n.Await(ctx, startLimit, answerStep, n.answers)
	}
	if err != nil {
		return fmt.Errorf("start Cassandra: %w", err)
	}
	return nil
}

// answers reports whether the node takes connections.
func (n *Node) answers(ctx context.Context) bool {
	text, err := os.ReadFile(filepath.Join(n.Dir, "address"))
	if err != nil {
		return false
	}
	n.Address = strings.TrimSpace(string(text))
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", n.Address)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

// Started returns a node of the test's own, which it may kill, and which ends with the test. env is what
// docker/cassandra/node is told. It skips the test when no node was asked for.
func Started(tb testing.TB, env ...string) *Node {
	tb.Helper()
	Wanted(tb)
	if *which != "start" {
		tb.Skip("it kills its node: run it with -cassandra=start")
	}
	n := New(tb.TempDir(), env...)
	if err := n.Start(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { n.Kill() })
	return n
}
