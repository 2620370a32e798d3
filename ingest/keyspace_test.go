package ingest

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"berth/ingest/format"
	"berth/ingest/head"
	"berth/internal/keyspace"
	"berth/internal/keyspace/open"
	"berth/schema"
	"berth/schema/batch"
	"berth/schema/catalog"
)

// TestKnownSaysSoWhenItCannotTell asks for gateways of the keyspace, of the head and of neither: while the log is still
// being read, the last may be in the log.
func TestKnownSaysSoWhenItCannotTell(t *testing.T) {
	backend, err := open.Open("sqlite:"+t.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := backend.Create(t.Context(), "harbor"); err != nil {
		t.Fatal(err)
	}
	w, err := backend.Writer(t.Context(), "harbor")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Close() }()
	entry := catalog.Entry{Gateway: "stored"}
	entry.Observe("rpm", 1, schema.IntValue(1), schema.Position{Sequence: 1})
	_, err = w.Write(t.Context(), &keyspace.Changes{Gateways: []keyspace.Gateway{{
		Name: "stored", Position: schema.Position{Sequence: 1}, Entry: catalog.EncodeEntry(nil, &entry),
	}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, live := range []bool{true, false} {
		first, claim := uint64(1), uint64(1)
		if !live {
			claim = 9
		}
		h := head.New(head.Options{}, first, claim)
		if live {
			rows := &batch.Rows{Rows: []batch.Row{{
				Shape: batch.NewInterner(1).Shape("followed", []string{"rpm"}, []schema.Kind{schema.Int}, nil), Time: 1,
			}}, Bits: []uint64{1}}
			h.Follow(2, &batch.Header{Kind: batch.Data}, rows)
		}
		i := &Ingest{head: h}
		if err := i.keyspace.Set(w); err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]bool{"stored": true, "followed": true, "stranger": !live} {
			sensors, ok := i.known(name)
			if ok != want {
				t.Errorf("live %v: %s is known: %v, want %v", live, name, ok, want)
			}
			if found := name == "stored" || name == "followed" && live; found != (len(sensors) == 1) {
				t.Errorf("live %v: the sensors of %s are %v", live, name, sensors)
			}
		}
	}
}

// silent is a keyspace that does not answer.
type silent struct{ keyspace.Writer }

func (silent) Gateway(ctx context.Context, _ string) (keyspace.Gateway, error) {
	<-ctx.Done()
	return keyspace.Gateway{}, ctx.Err()
}

// TestASilentKeyspaceHoldsUpFewFrames: one goroutine decodes what comes by UDP of all gateways, and must not wait for the keyspace for
// each that it meets for the first time since the start.
func TestASilentKeyspaceHoldsUpFewFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &Ingest{head: head.New(head.Options{}, 1, 1), table: format.NewTable(format.TableOptions{})}
		if err := i.keyspace.Set(silent{}); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		for n := range 1000 {
			if _, ok := i.known(fmt.Sprint("gateway-", n)); !ok {
				t.Fatal("it says that there is no such gateway, though it cannot tell")
			}
			if known, sure := i.introduced(fmt.Sprint("new-", n)); known || sure {
				t.Fatalf("it says that a gateway is known: %v, and that this is sure: %v", known, sure)
			}
		}
		if took := time.Since(begun); took > rowWait {
			t.Errorf("a thousand gateways waited for %v", took)
		}
		<-time.After(rowRest)
		before := time.Now()
		if i.known("later"); time.Since(before) < rowWait {
			t.Error("the keyspace is not asked again later")
		}
	})
}
