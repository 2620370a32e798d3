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
	p, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	if got := ports.Holder(t.Context(), "127.0.0.1", p.LocalAddr().(*net.UDPAddr).Port); !strings.HasSuffix(got, me) {
		t.Errorf("a UDP port is held by %q, want this process %s", got, me)
	}
}
