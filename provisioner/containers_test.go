package provisioner

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"berth/schema"
)

func TestLoopbackIsReachedThroughTheGateway(t *testing.T) {
	gateway := netip.MustParseAddr("172.18.0.1")
	for url, want := range map[string]string{
		"nats://127.0.0.1:4222":                 "nats://172.18.0.1:4222",
		"tls://localhost:4222,10.0.0.2:4222":    "tls://172.18.0.1:4222,10.0.0.2:4222",
		"nats://h1:4222,nats://127.0.0.53:4223": "nats://h1:4222,nats://172.18.0.1:4223",
		"cassandra://127.0.0.1?dc=127.0.0.1":    "cassandra://172.18.0.1?dc=127.0.0.1",
		"cassandra://[::1]:9142,10.0.0.2":       "cassandra://172.18.0.1:9142,10.0.0.2",
		"cassandra://10.0.0.1,10.0.0.2?a=b":     "cassandra://10.0.0.1,10.0.0.2?a=b",
	} {
		if got, _ := throughGateway(url, gateway); got != want {
			t.Errorf("%s is reached at %s, want %s", url, got, want)
		}
	}
}

// TestWhatListensOnLoopbackAloneIsRefused: 127.0.0.9 stands for the gateway.
func TestWhatListensOnLoopbackAloneIsRefused(t *testing.T) {
	gateway := netip.MustParseAddr("127.0.0.9")
	alone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer alone.Close()
	url := fmt.Sprintf("nats://%s", alone.Addr())
	if _, err := passed(t.Context(), "NATS", url, "4222", gateway); !schema.Is(err, schema.Invalid) || !strings.Contains(schema.Show(err), "have it listen on 127.0.0.9 too") {
		t.Errorf("a server on loopback alone: %v", err)
	}
	_, port, _ := net.SplitHostPort(alone.Addr().String())
	if _, err := passed(t.Context(), "NATS", "nats://127.0.0.1:1,127.0.0.1", port, gateway); !schema.Is(err, schema.Invalid) {
		t.Errorf("one without a port, beside another with one: %v", err)
	}
	everywhere, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer everywhere.Close()
	addr, _ := everywhere.Addr().(*net.TCPAddr)
	got, err := passed(t.Context(), "NATS", fmt.Sprintf("nats://127.0.0.1:%d", addr.Port), "4222", gateway)
	if d := cmp.Diff(fmt.Sprintf("nats://127.0.0.9:%d", addr.Port), got); d != "" || err != nil {
		t.Errorf("a server on every address (-want +got): %s, %v", d, err)
	}
	if _, err := passed(t.Context(), "NATS", "nats://127.0.0.1:1", "4222", gateway); err != nil {
		t.Errorf("a server that is away: %v", err)
	}
}

func TestWhatCannotRunInstancesIsRefused(t *testing.T) {
	for _, c := range []struct {
		change func(*Options)
		want   string
	}{
		{func(o *Options) { o.Instances = "magic" }, "give --runtime process or --runtime docker"},
		{func(o *Options) { o.Docker = "unix:///x" }, "give --runtime docker too"},
		{func(o *Options) { o.Instances, o.Host = Containers, "localhost" }, "give --host and --web an address"},
		{func(o *Options) { o.Instances, o.Web = Containers, "localhost:80" }, "give --host and --web an address"},
	} {
		o := Options{Data: t.TempDir(), Host: "127.0.0.1", Reserve: "1GiB", Logger: slog.New(slog.DiscardHandler)}
		c.change(&o)
		if err := o.Validate(); !schema.Is(err, schema.Invalid) || !strings.Contains(schema.Show(err), c.want) {
			t.Errorf("%+v: %v, want %s", o, err, c.want)
		}
	}
}
