// Package natstest runs real nats-server processes for tests, built from the module that Berth embeds. It knows nothing of
// Berth: what a server is told is its configuration.
//
// Its one invariant: every process that it started ends with the test.
package natstest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
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

// Ports returns addresses of 127.0.0.1 that are free now, all different.
func Ports(t testing.TB, n int) []string {
	t.Helper()
	addresses := make([]string, n)
	var config net.ListenConfig
	for i := range addresses {
		l, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() //nolint:errcheck // it only told a port
		addresses[i] = l.Addr().String()
	}
	return addresses
}

// Node is one server. It is for one goroutine.
type Node struct {
	Address string // where it takes connections
	Log     string // path of what it says
	config  string // path of its configuration
	program string
	cmd     *exec.Cmd
	ended   chan struct{} // closed when the process has gone
	t       testing.TB
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
	t.Cleanup(n.Kill)
	return n
}

// Start starts the process; it does not wait until it is ready.
func (n *Node) Start() {
	n.t.Helper()
	log, err := os.OpenFile(n.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		n.t.Fatal(err)
	}
	defer log.Close() //nolint:errcheck // the process has its own
	n.cmd = exec.CommandContext(context.WithoutCancel(n.t.Context()), n.program, "-c", n.config)
	n.cmd.Stdout, n.cmd.Stderr = log, log
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := n.cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	n.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) {
		_ = cmd.Wait() // how it ended is of no interest
		close(ended)
	}(n.cmd, n.ended)
}

// Ready waits until the server takes connections.
func (n *Node) Ready() {
	n.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(startLimit)
	for {
		c, err := net.DialTimeout("tcp", n.Address, time.Second) //nolint:noctx // it has a limit
		if err == nil {
			_ = c.Close()
			return
		}
		select {
		case <-tick.C:
		case <-n.ended:
			n.t.Fatalf("the server ended: %s\n%s", n.cmd.ProcessState, n.tail())
		case <-limit:
			n.t.Fatalf("the server took no connection: %v\n%s", err, n.tail())
		}
	}
}

// Run starts the process and waits until it is ready.
func (n *Node) Run() {
	n.t.Helper()
	n.Start()
	n.Ready()
}

// Kill kills the process by SIGKILL and waits until it has gone. One that does not run is left alone.
func (n *Node) Kill() { n.end(syscall.SIGKILL) }

// Stop stops the process in order and waits until it has gone.
func (n *Node) Stop() { n.end(syscall.SIGTERM) }

// Signal sends a signal to the process.
func (n *Node) Signal(s syscall.Signal) { _ = n.cmd.Process.Signal(s) }

func (n *Node) end(s syscall.Signal) {
	if n.cmd == nil {
		return
	}
	_ = n.cmd.Process.Signal(s) // it may have gone by itself
	<-n.ended
	n.cmd = nil
}

// tail returns the end of what the server said.
func (n *Node) tail() string {
	text, err := os.ReadFile(n.Log)
	if err != nil {
		return fmt.Sprint(err)
	}
	return string(text[max(0, len(text)-4000):])
}
