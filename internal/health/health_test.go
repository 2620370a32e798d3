package health_test

import (
	"context"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"berth/internal/testport"

	"go.uber.org/goleak"

	"berth/internal/health"
	"berth/schema"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestWhoRunsAnswers: by each kind of address, from the first moment to the last, with what it does.
func TestWhoRunsAnswers(t *testing.T) {
	for _, address := range []string{testport.Address(t), "@berth-health-test-" + strconv.Itoa(os.Getpid())} {
		a, err := health.Listen(t.Context(), address, "ingest of provider1")
		if err != nil {
			t.Fatal(err)
		}
		address = a.Addr()
		for _, state := range []string{"", "runs", "stops"} {
			if state != "" {
				a.Say(state)
			}
			said, err := health.Ask(t.Context(), address)
			if want := "ingest of provider1 " + state; err != nil || !strings.HasPrefix(said, want) {
				t.Errorf("%s, %q: %q, %v", address, state, said, err)
			}
		}
		if _, err := health.Listen(t.Context(), address, "another"); !schema.Is(err, schema.Conflict) {
			t.Errorf("two answer at %s: %v", address, err)
		}
		a.Close()
		if said, err := health.Ask(t.Context(), address); !schema.Is(err, schema.Unavailable) {
			t.Errorf("%s answers %q after its end, %v", address, said, err)
		}
	}
}

// TestSilenceIsNoticed: who accepts, as the kernel does for a stopped process, and who says half a line, are unhealthy
// within the limit.
func TestSilenceIsNoticed(t *testing.T) {
	for name, says := range map[string]string{"nothing": "", "half a line": "ingest ru", "endless": strings.Repeat("x", 4<<10)} {
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte(says))
			_, _ = conn.Read(make([]byte, 1)) // until who asks has gone
			_ = conn.Close()
		}()
		begun := time.Now()
		said, err := health.Ask(context.Background(), l.Addr().String())
		if took := time.Since(begun); !schema.Is(err, schema.Unavailable) || took > health.Limit+20*time.Second {
			t.Errorf("%s: %q, %v after %s", name, said, err, took)
		}
		_ = l.Close()
		<-ended
	}
}

// TestNobodyIsAsked: without an address nobody answers, and who asks is told what is missing.
func TestNobodyIsAsked(t *testing.T) {
	a, err := health.Listen(t.Context(), "", "ingest")
	if a != nil || err != nil {
		t.Fatalf("%v, %v", a, err)
	}
	a.Say("runs")
	a.Close()
	if _, err := health.Ask(t.Context(), ""); !strings.Contains(schema.Show(err), "BERTH_HEALTH") {
		t.Errorf("%v", err)
	}
}
