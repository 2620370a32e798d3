package bus

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"strings"
	"testing"

	"berth/schema"
)

// TestAServerThatIsNotThereIsWaitedForQuietly: that it cannot be reached is said once, however often it is tried.
func TestAServerThatIsNotThereIsWaitedForQuietly(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer cancel()
		for range 4 {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	var said bytes.Buffer
	_, err = Connect(ctx, Options{URL: "nats://" + l.Addr().String(), Name: "test", Logger: slog.New(slog.NewTextHandler(&said, nil))})
	if !schema.Is(err, schema.Unavailable) {
		t.Errorf("a server that is not there: %v", err)
	}
	if n := strings.Count(said.String(), "can be reached yet"); n != 1 {
		t.Errorf("after four tries it was said %d times:\n%s", n, said.String())
	}
}
