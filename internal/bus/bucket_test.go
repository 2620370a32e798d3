package bus

import (
	"context"
	"errors"
	"net/url"
	"strconv"
	"testing"
	"time"

	"berth/schema"
	"berth/schema/record"
)

func portOf(u string) (int, error) {
	parsed, err := url.Parse(u)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(parsed.Port())
}

func TestBucketRevisions(t *testing.T) {
	h := newHouse(t)
	c := h.connect(h.authority.House())
	ctx := t.Context()
	if err := c.PrepareHouse(ctx); err != nil {
		t.Fatal(err)
	}
	b := must(c.Bucket(ctx, BucketOptions{Name: "providers"}))(t)
	if _, _, err := b.Get(ctx, "a"); !schema.Is(err, schema.NotFound) {
		t.Errorf("get of nothing: %v", err)
	}
	rev := must(b.Create(ctx, "a", []byte("1")))(t)
	if _, err := b.Create(ctx, "a", []byte("2")); !schema.Is(err, schema.Conflict) {
		t.Errorf("create twice: %v", err)
	}
	rev2 := must(b.Update(ctx, "a", []byte("2"), rev))(t)
	if _, err := b.Update(ctx, "a", []byte("3"), rev); !schema.Is(err, schema.Conflict) {
		t.Errorf("update of an old revision: %v", err)
	}
	value, got, err := b.Get(ctx, "a")
	if err != nil || string(value) != "2" || got != rev2 {
		t.Errorf("got %q at %d, %v; want 2 at %d", value, got, err, rev2)
	}
	must(b.Put(ctx, "b.c", []byte("x")))(t)
	if all := must(b.List(ctx))(t); len(all) != 2 || string(all["b.c"].Value) != "x" {
		t.Errorf("listed %v", all)
	}
	if err := b.Delete(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.Get(ctx, "a"); !schema.Is(err, schema.NotFound) {
		t.Errorf("get of a deleted key: %v", err)
	}
	must(b.Create(ctx, "a", []byte("again")))(t)
	if _, err := b.Put(ctx, "a b", nil); !schema.Is(err, schema.Invalid) {
		t.Errorf("a key with a space: %v", err)
	}
}

func TestWatch(t *testing.T) {
	h := newHouse(t)
	c := h.connect(h.authority.House())
	ctx, cancel := context.WithCancel(t.Context())
	b := must(c.Bucket(ctx, BucketOptions{Name: "providers"}))(t)
	sets := make(chan map[string]Entry, 100)
	done := make(chan error, 1)
	go func() { done <- b.Watch(ctx, func(all map[string]Entry) { sets <- all }) }()
	await := func(what string, ok func(map[string]Entry) bool) {
		t.Helper()
		limit := time.After(time.Minute)
		for {
			select {
			case s := <-sets:
				if ok(s) {
					return
				}
			case <-limit:
				t.Fatal("not seen: " + what)
			}
		}
	}
	await("an empty bucket", func(s map[string]Entry) bool { return len(s) == 0 })
	for i := range 200 {
		must(b.Put(ctx, "k"+strconv.Itoa(i), []byte("v")))(t)
	}
	await("all of 200", func(s map[string]Entry) bool { return len(s) == 200 })
	if n := len(sets); n > 0 {
		t.Errorf("%d sets after the last", n)
	}
	if err := b.Delete(ctx, "k7"); err != nil {
		t.Fatal(err)
	}
	await("a deletion", func(s map[string]Entry) bool { _, ok := s["k7"]; return len(s) == 199 && !ok })
	h.restart()
	await("the whole set after a restart", func(s map[string]Entry) bool { return len(s) == 199 })
	soon(t, "a put after the restart", func() bool { _, err := b.Put(ctx, "new", nil); return err == nil })
	await("a change after a restart", func(s map[string]Entry) bool { return len(s) == 200 })
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("watch ended with %v", err)
	}
}

func TestExpiryIsSeen(t *testing.T) {
	h := newHouse(t)
	c := h.connect(h.authority.House())
	b := must(c.Bucket(t.Context(), BucketOptions{Name: "short", TTL: time.Second, Memory: true}))(t)
	ctx, cancel := context.WithCancel(t.Context())
	sets := make(chan int, 100)
	done := make(chan error, 1)
	go func() { done <- b.Watch(ctx, func(all map[string]Entry) { sets <- len(all) }) }()
	if n := <-sets; n != 0 { // it watches from now on: the key comes, and goes
		t.Fatalf("an empty bucket has %d keys", n)
	}
	must(b.Put(ctx, "a", []byte("1")))(t)
	again := time.NewTicker(time.Second)
	defer again.Stop()
	seen := 0
	for want := 1; want >= 0; {
		select {
		case <-again.C:
			if want == 1 { // on a busy machine it may expire before anybody is told of it
				must(b.Put(ctx, "a", []byte("1")))(t)
			}
		case n := <-sets:
			if n == want {
				want--
				seen++
			}
		case <-time.After(time.Minute):
			t.Fatalf("saw %d of: a key, its expiry", seen)
		}
	}
	cancel()
	<-done
}

func TestAnnounce(t *testing.T) {
	h := newHouse(t)
	provisioner, pipeline := h.provider("acme", LogOptions{})
	b := must(provisioner.Bucket(t.Context(), BucketOptions{Name: "services"}))(t)
	listed := func() bool {
		all, err := b.List(t.Context())
		_, ok := all["ingest.one"]
		return err == nil && ok
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- pipeline.Announce(ctx, func() record.Service { return record.Service{Role: record.RoleIngest, Instance: "one"} }, 100*time.Millisecond)
	}()
	soon(t, "it is listed", listed)
	h.restart() // the registry is gone with the server
	soon(t, "the account is prepared again", func() bool { return provisioner.Prepare(t.Context(), LogOptions{}) == nil })
	soon(t, "it is listed again", listed)
	cancel()
	<-done
	if listed() {
		t.Error("it is listed after its end")
	}
}
