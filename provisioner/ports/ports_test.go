package ports_test

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	"berth/provisioner/ports"
)

func TestHolderNamesWhoHoldsAPort(t *testing.T) {
	me := fmt.Sprintf("(%d)", os.Getpid())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	if got := ports.Holder(t.Context(), "127.0.0.1", port); !strings.HasSuffix(got, me) {
		t.Errorf("TCP port %d is held by %q, want this process %s", port, got, me)
	}
	_ = l.Close()
	if got := ports.Holder(t.Context(), "127.0.0.1", port); got != "" {
		t.Errorf("a free port is held by %q", got)
	}
	port = udpPort(t)
	if got := ports.Holder(t.Context(), "127.0.0.1", port); !strings.HasSuffix(got, me) {
		t.Errorf("UDP port %d is held by %q, want this process %s", port, got, me)
	}
}

// udpPort holds a UDP port until the test ends, one that is not also the local port of some connection of this machine.
func udpPort(t *testing.T) int {
	t.Helper()
	for {
		p, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = p.Close() })
		port := p.LocalAddr().(*net.UDPAddr).Port
		if ports.HolderTCP(t.Context(), "127.0.0.1", port) == "" {
			return port
		}
	}
}

// A port from which a connection goes out cannot be listened on either.
func TestHolderNamesWhoConnectsFromAPort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	port := conn.LocalAddr().(*net.TCPAddr).Port
	if got, me := ports.Holder(t.Context(), "127.0.0.1", port), fmt.Sprintf("(%d)", os.Getpid()); !strings.HasSuffix(got, me) {
		t.Errorf("port %d is held by %q, want this process %s", port, got, me)
	}
}
