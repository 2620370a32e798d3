package bus

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"berth/schema"
)

func TestAuthorityKeepsItsKeys(t *testing.T) {
	dir := t.TempDir()
	a := must(OpenAuthority(dir))(t)
	full, limited, key, err := a.Provider("acme")
	if err != nil {
		t.Fatal(err)
	}
	b := must(OpenAuthority(dir))(t)
	full2, limited2, key2, err := b.Provider("acme")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{string(full), string(limited), key, string(a.House()), string(a.Web()), string(a.System())},
		[]string{string(full2), string(limited2), key2, string(b.House()), string(b.Web()), string(b.System())}); diff != "" {
		t.Errorf("credentials changed when opened again:\n%s", diff)
	}
	for _, f := range []string{"authority.json", "providers/acme.json"} {
		if info, err := os.Stat(filepath.Join(dir, f)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v; want mode 0600", f, info.Mode(), err)
		}
	}
	if err := b.Forget("acme"); err != nil {
		t.Fatal(err)
	}
	if err := b.Forget("acme"); err != nil {
		t.Errorf("forget twice: %v", err)
	}
	if _, _, key3, _ := b.Provider("acme"); key3 == key {
		t.Error("a forgotten provider came back with its old key")
	}
	if _, _, _, err := b.Provider("../x"); !schema.Is(err, schema.Invalid) {
		t.Errorf("a bad name: %v", err)
	}
}

func TestForgottenAccountIsDisconnected(t *testing.T) {
	h := newHouse(t)
	full, limited, _, err := h.authority.Provider("acme")
	if err != nil {
		t.Fatal(err)
	}
	conn := h.connect(limited)
	if err := conn.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := h.authority.Forget("acme"); err != nil {
		t.Fatal(err)
	}
	soon(t, "it is disconnected", func() bool { return conn.Ping(t.Context()) != nil })
	if _, err := Connect(t.Context(), Options{URL: h.server.URL(), Credentials: full, Logger: logger(t)}); !schema.Is(err, schema.Unauthorized) {
		t.Errorf("connecting to a forgotten account: %v", err)
	}
}

// TestAccountsAreApart is what one provider's pipeline must never be able to do, and what it must.
func TestAccountsAreApart(t *testing.T) {
	h := newHouse(t)
	provisionerA, a := h.provider("acme", LogOptions{})
	provisionerB, b := h.provider("bolt", LogOptions{})
	ctx := t.Context()
	if err := h.connect(h.authority.House()).PrepareHouse(ctx); err != nil {
		t.Fatal(err)
	}
	records := must(provisionerA.Bucket(ctx, BucketOptions{Name: "pipeline"}))(t)
	must(records.Put(ctx, "pipeline", []byte("of acme")))(t)
	short := func() context.Context {
		c, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		t.Cleanup(cancel)
		return c
	}

	own := must(a.Bucket(ctx, BucketOptions{Name: "pipeline"}))(t)
	if v, _, err := own.Get(ctx, "pipeline"); err != nil || string(v) != "of acme" {
		t.Errorf("own record: %q, %v", v, err)
	}
	if _, err := own.Put(short(), "pipeline", []byte("forged")); err == nil {
		t.Error("a pipeline wrote its own settings")
	}
	services := must(a.Bucket(ctx, BucketOptions{Name: "services"}))(t)
	must(services.Put(ctx, "ingest.x", []byte("here")))(t)

	foreign := must(b.Bucket(ctx, BucketOptions{Name: "pipeline"}))(t)
	if v, _, err := foreign.Get(ctx, "pipeline"); !schema.Is(err, schema.NotFound) {
		t.Errorf("bolt reads acme's record: %q, %v", v, err)
	}
	if _, err := b.Bucket(short(), BucketOptions{Name: "providers"}); err == nil {
		t.Error("a pipeline opened the house's providers")
	}
	if err := b.Prepare(short(), LogOptions{Quota: 1 << 20}); err == nil {
		t.Error("a pipeline changed its quota")
	}
	if err := b.Remove(short()); err == nil {
		t.Error("a pipeline removed its log")
	}
	heard := make(chan string, 1)
	stop := must(a.Answer("head.latest", func(_ context.Context, q []byte, reply func([]byte) error) error {
		heard <- string(q)
		return reply([]byte("answer of acme"))
	}))(t)
	defer stop()
	if err := b.Ask(short(), "head.latest", []byte("q"), func([]byte) error { return nil }); !schema.Is(err, schema.Unavailable) {
		t.Errorf("bolt asks acme's ingest: %v", err)
	}
	if _, err := provisionerA.Keep(ctx, Rejects, "", []byte("{}"), []byte("raw")); err != nil {
		t.Fatal(err)
	}
	if all, n, err := b.List(ctx, Rejects, 0, 10, 1<<20); err != nil || n != 0 || len(all) != 0 {
		t.Errorf("bolt sees %d rejects of acme, %v", n, err)
	}
	if len(heard) != 0 {
		t.Error("acme heard bolt's question")
	}
	_ = provisionerB
}
