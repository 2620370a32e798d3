package bus

import (
	"context"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"berth/schema"
)

func TestServerSaysThatItsPortIsTaken(t *testing.T) {
	taken := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	defer taken.Close()
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	dir := t.TempDir()
	_, err := StartServer(ServerOptions{
		Dir: dir + "/nats", Authority: must(OpenAuthority(dir + "/authority"))(t), Port: must(strconv.Atoi(port))(t), Logger: logger(t),
	})
	if !schema.Is(err, schema.Unavailable) {
		t.Errorf("start on a taken port: %v", err)
	}
}

// TestRevive stops and starts JetStream under a writer, as after a full disk.
func TestRevive(t *testing.T) {
	h := newHouse(t)
	provisioner, pipeline := h.provider("acme", LogOptions{})
	l := must(pipeline.OpenLog(t.Context()))(t)
	w, _ := claim(t, l, "one", 0)
	for i := range 10 {
		if err := w.Append([]byte(strconv.Itoa(i) + " ")); err != nil {
			t.Fatal(err)
		}
		if i%3 == 0 {
			if err := h.server.Revive(); err != nil {
				t.Fatal(err)
			}
		}
	}
	confirmed := map[uint64]string{}
	for i := range 10 {
		confirmed[must(w.Next(t.Context()))(t).Sequence] = strconv.Itoa(i)
	}
	answered(t, "the log answers", func(ctx context.Context) error {
		_, err := l.State(ctx)
		return err
	})
	checkLog(t, l, confirmed, 10)
	answered(t, "the account is prepared after a revival", func(ctx context.Context) error {
		return provisioner.Prepare(ctx, LogOptions{})
	})
	checkWatched(t, h, provisioner, pipeline)
	if err := h.server.Healthy(); err != nil {
		t.Errorf("health after a revival: %v", err)
	}
	checkSyncs(t, h.server)
}

// checkWatched has the server revived once more: who watches the registry, which is made anew then, hears of what is put
// into it, also when the old one was much longer.
func checkWatched(t *testing.T, h *house, provisioner, pipeline *Conn) {
	t.Helper()
	registry := must(pipeline.Bucket(t.Context(), BucketOptions{Name: "services"}))(t)
	var mu sync.Mutex
	heard := ""
	ctx, cancel := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	watching.Go(func() {
		_ = registry.Watch(ctx, func(all map[string]Entry) {
			mu.Lock()
			defer mu.Unlock()
			heard = string(all["ingest.one"].Value)
		})
	})
	defer watching.Wait()
	defer cancel()
	hears := func(text string) {
		t.Helper()
		soon(t, "it is heard that "+text, func() bool {
			mu.Lock()
			defer mu.Unlock()
			return heard == text
		})
	}
	for range 200 {
		must(registry.Put(t.Context(), "ingest.one", []byte("all is well")))(t)
	}
	hears("all is well")
	if err := h.server.Revive(); err != nil {
		t.Fatal(err)
	}
	answered(t, "the account is prepared", func(ctx context.Context) error {
		return provisioner.Prepare(ctx, LogOptions{})
	})
	answered(t, "an instance announces itself", func(ctx context.Context) error {
		_, err := registry.Put(ctx, "ingest.one", []byte("it is slow"))
		return err
	})
	hears("it is slow")
}

// answered asks, a second at a time, until there is no error: connections are made anew one after the other, and a
// question may go with the one that it was asked on.
func answered(t *testing.T, what string, ask func(ctx context.Context) error) {
	t.Helper()
	soon(t, what, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		return ask(ctx) == nil
	})
}

// TestLogIsSyncedBeforeItConfirms looks at how the server is set up, since a process that is killed does not show what
// its disk was never told.
func TestLogIsSyncedBeforeItConfirms(t *testing.T) { checkSyncs(t, newHouse(t).server) }

func checkSyncs(t *testing.T, s *Server) {
	t.Helper()
	if c := s.nats.JetStreamConfig(); c == nil || !c.SyncAlways {
		t.Errorf("JetStream is set up as %+v: it confirms what is not synced", c)
	}
}
