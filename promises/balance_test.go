package promises

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite" // the test alters files behind the keyspace's back

	"berth/internal/api"
	"berth/internal/gateways"
	"berth/promises/install"
)

// TestTheBooksBalance recounts the books by `provisioner audit`, again and again, while gateways send, send frames that
// are refused whole and in part, and while ingest, reports and the provisioner are killed: they balance each time. Then a
// block is removed and another altered behind the keyspace's back, and the audit names both.
func TestTheBooksBalance(t *testing.T) {
	t.Parallel()
	rounds := *audits
	if testing.Short() {
		rounds = 1
	}
	k := newKept(t)
	fleet, err := gateways.New(gateways.Options{
		Address: k.tenant.Address(), Key: k.tenant.EnrolmentKey, Gateways: 10, Sensors: 4, Window: 64, Rate: 300,
		Start: time.Now().Add(-30 * time.Hour).Truncate(time.Hour), Step: 5 * time.Second,
	})
	k.must(err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		fleet.Run(ctx)
	}()
	defer func() { cancel(); <-ended }()

	for range rounds {
		for _, victim := range []string{"", "ingest", "reports", "provisioner"} {
			k.mischief()
			acked := fleet.Stats().Acked
			k.killDuringAudit(victim)
			k.until("frames are acknowledged", func() error {
				if now := fleet.Stats().Acked; now < acked+1_000 {
					return fmt.Errorf("%d of 1000", now-acked)
				}
				return nil
			})
			r := k.balanced("after a kill of " + victim)
			t.Logf("after a kill of %q: %d readings accepted, %d looked up in %d messages, %d stored in %d blocks, %d rollups and %d newest compared, in %v",
				victim, r.Books.Readings.Accepted, r.Log.Readings, r.Log.Messages, r.Keyspace.Identities, r.Keyspace.Blocks, r.Keyspace.Rollups,
				r.Keyspace.Latest, r.Ended.Sub(r.Begun).Round(time.Millisecond))
		}
	}
	if testing.Short() {
		return // rollups count half a minute after their blocks
	}
	k.until("rollups count", func() error {
		if r := k.balanced("under load"); r.Keyspace.Rollups < 20 {
			return fmt.Errorf("%d", r.Keyspace.Rollups)
		}
		return nil
	})
	cancel()
	<-ended
	k.bites()
}

// mischief sends frames that are refused whole or in part, one that is sent again, and one that breaks off.
func (k *kept) mischief() {
	k.t.Helper()
	now := time.Now().UnixNano()
	again := fmt.Sprintf("boiler temperature=21 %d", now)
	for range 2 {
		k.eventuallyAnswered(again, "ACK 1")
	}
	k.eventuallyAnswered("boiler temperature=warm", "NAK 1")
	k.until("a body is answered", func() error {
		if answer := k.post("", fmt.Sprintf("m a=1 %d\nm b\nm c=2", now)); !strings.HasPrefix(answer, "400 ") {
			return errors.New(answer)
		}
		return nil
	})
	k.say(fmt.Appendf(nil, "HELLO own %s\nPUT 1 line 100\nm a=1", k.key))
}

func (k *kept) eventuallyAnswered(payload, want string) {
	k.t.Helper()
	k.until(payload+" is answered", func() error {
		if answer := k.put(payload); !strings.HasPrefix(answer, want) {
			return errors.New(answer)
		}
		return nil
	})
}

func (k *kept) audit() (*api.Audit, error) { return audit(k.t.Context(), k.install, "provider1") }

// audit runs `provisioner audit`. The error is that it could not be done.
func audit(ctx context.Context, in *install.Install, provider string) (*api.Audit, error) {
	out, err := in.CLI(ctx, "audit", provider, "-o", "json")
	r := &api.Audit{}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == 8 {
		return r, json.Unmarshal(out, r)
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(out, r); err != nil || !r.Balanced {
		return nil, fmt.Errorf("the audit ended well, but says %s: %w", out, err)
	}
	return r, nil
}

// balanced audits until it can be done, and demands that the books balance.
func (k *kept) balanced(when string) *api.Audit {
	k.t.Helper()
	var r *api.Audit
	k.until("an audit is done", func() (err error) {
		r, err = k.audit()
		return err
	})
	if !r.Balanced {
		k.t.Fatalf("%s: %+v", when, r.Findings)
	}
	return r
}

// killDuringAudit kills something while audits run, which may break off then, but must find nothing.
func (k *kept) killDuringAudit(victim string) {
	k.t.Helper()
	killed, done := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			if r, err := k.audit(); err == nil && !r.Balanced {
				done <- fmt.Errorf("%+v", r.Findings)
				return
			}
			select {
			case <-killed:
				done <- nil
				return
			default:
			}
		}
	}()
	switch victim {
	case "":
	case "provisioner":
		k.install.Kill()
		ctx, cancel := context.WithTimeout(k.t.Context(), recovery)
		defer cancel()
		_, err := k.install.Start(ctx)
		k.must(err)
	default:
		k.must(k.install.KillInstance(k.t.Context(), "provider1", victim))
	}
	close(killed)
	if err := <-done; err != nil {
		k.t.Fatalf("an audit during a kill of %q: %v", victim, err)
	}
}

// bites removes the first block of a gateway, whose hour has a rollup, and alters one of another, and audits.
func (k *kept) bites() {
	k.t.Helper()
	k.install.Stop()
	files, err := filepath.Glob(filepath.Join(k.install.Data, "keyspaces", "provider1", "*"))
	k.must(err)
	removed, flipped := false, false
	for _, file := range files {
		if !strings.HasSuffix(file, ".db") || strings.HasSuffix(file, "catalog.db") {
			continue
		}
		db, err := sql.Open("sqlite", file)
		k.must(err)
		if !removed {
			removed = k.change(db, `DELETE FROM blocks WHERE id = (SELECT b.id FROM blocks b JOIN names n ON n.id = b.gateway
				WHERE n.name = 'sim0000' ORDER BY b.day, b.first LIMIT 1)`)
		}
		if !flipped {
			flipped = k.change(db, `UPDATE data SET data = CAST(substr(data, 1, length(data)/2) || X'00FF00FF00' || substr(data, length(data)/2 + 6) AS BLOB)
				WHERE id = (SELECT b.id FROM blocks b JOIN names n ON n.id = b.gateway WHERE n.name = 'sim0001' ORDER BY b.day, b.first LIMIT 1)`)
		}
		k.must(db.Close())
	}
	if !removed || !flipped {
		k.t.Fatalf("nothing was altered in %v", files)
	}
	ctx, cancel := context.WithTimeout(k.t.Context(), recovery)
	defer cancel()
	_, err = k.install.Start(ctx)
	k.must(err)
	var r *api.Audit
	k.until("an audit is done", func() (err error) {
		r, err = k.audit()
		return err
	})
	found := map[string]string{}
	for _, f := range r.Findings {
		found[f.Where+" "+f.What] += f.Text + "\n"
	}
	if r.Balanced || !strings.Contains(found["sim0000 rollup"], "are stored") || !strings.Contains(found["sim0001 block"], "checksum") {
		k.t.Errorf("a block was removed and another altered, and the audit found %+v", r.Findings)
	}
	for key := range found {
		if !strings.HasPrefix(key, "sim0000 ") && !strings.HasPrefix(key, "sim0001 ") {
			k.t.Errorf("found also: %s: %s", key, found[key])
		}
	}
	k.t.Logf("of a removed and an altered block the audit found %d things, the first: %s", r.Found, r.Findings[0].Text)
}

// change runs a statement and reports whether it changed something.
func (k *kept) change(db *sql.DB, statement string) bool {
	k.t.Helper()
	result, err := db.ExecContext(k.t.Context(), statement)
	k.must(err)
	n, err := result.RowsAffected()
	k.must(err)
	return n > 0
}
