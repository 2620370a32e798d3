package source

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"berth/ingest/commit"
	"berth/ingest/commit/committest"
	"berth/ingest/format"
	"berth/ingest/gate/intake"
	"berth/ingest/witness"
	"berth/internal/api"
	"berth/internal/credentials"
	"berth/internal/headapi"
	"berth/internal/mosquittotest"
	"berth/schema"
	"berth/schema/batch"
	"berth/schema/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var secret = bytes.Repeat([]byte{7}, credentials.SecretSize)

// fixture is an intake before a log in memory, with sources.
type fixture struct {
	*Sources
	in        *intake.Intake
	log       *committest.Log
	committer *commit.Committer
	interner  *batch.Interner
	settings  record.Settings

	mu      sync.Mutex // guards what follows
	away    bool       // the log is
	rejects []api.Reject
}

// keysOf returns the keys of a provider, of which none matters here.
func keysOf(s record.Settings) *intake.Keys {
	return intake.NewKeys(&record.Pipeline{Settings: s}, nil, intake.Around{Witness: witness.New(), Now: time.Now}, nil)
}

func start(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{log: committest.New(), interner: batch.NewInterner(1000), settings: record.DefaultSettings()}
	quiet := slog.New(slog.DiscardHandler)
	f.committer = commit.New(commit.Options{Writer: f.log, Logger: quiet})
	f.in = intake.New(intake.Options{
		Committer: f.committer, Logger: quiet, Keys: keysOf(f.settings),
		Decoders: format.New(format.NewTable(format.TableOptions{Interner: f.interner})),
		Ready: func() bool {
			f.mu.Lock()
			defer f.mu.Unlock()
			return !f.away
		},
		Rejects: func(r *record.Reject, raw []byte) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.rejects = append(f.rejects, api.Reject{Reject: *r, Kept: len(raw), Raw: bytes.Clone(raw)})
			return nil
		},
	})
	f.Sources = New(Options{Intake: f.in, Secret: secret, Logger: quiet})
	t.Cleanup(func() { f.stop(t) })
	return f
}

func (f *fixture) stop(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := f.Stop(ctx); err != nil {
		t.Errorf("stop: %v", err)
	}
	f.in.Stop()
	_ = f.committer.Close(ctx)
}

// set makes the log away, or here.
func (f *fixture) setAway(away bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.away = away
}

// kept returns the rejects.
func (f *fixture) kept() []api.Reject {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.rejects)
}

// readings returns what is in the log, one reading a line, as "gateway sensor value".
func (f *fixture) readings(t *testing.T) []string {
	t.Helper()
	var got []string
	for _, m := range f.log.Messages() {
		_, rows, err := batch.Decode(m, f.interner)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows.Rows {
			for i, sensor := range row.Shape.Sensors {
				got = append(got, fmt.Sprintf("%s %s %s", row.Shape.Gateway, sensor, rows.Value(int(row.First)+i, row.Shape.Kinds[i])))
			}
		}
	}
	return got
}

// sourceOf returns the record of a source of a broker.
func sourceOf(b *mosquittotest.Broker, topics ...record.TopicRule) record.Source {
	return record.Source{Name: "plant", Kind: record.SourceMQTT, URL: b.URL, Topics: topics, ClientID: "berth-test"}
}

// status returns how the one source does.
func (f *fixture) status(t *testing.T) headapi.Source {
	t.Helper()
	all := f.Status()
	if len(all) != 1 {
		t.Fatalf("%d sources", len(all))
	}
	return all[0]
}

// eventually waits until it is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for begun := time.Now(); time.Since(begun) < time.Minute; <-tick.C {
		if so() {
			return
		}
	}
	t.Fatalf("it is not so after a minute: %s", what)
}

func (f *fixture) connected(t *testing.T) {
	t.Helper()
	eventually(t, "it is connected", func() bool { return f.status(t).State == headapi.SourceConnected })
}

// publisher is a client that keeps what the broker has not acknowledged.
func publisher(t *testing.T, b *mosquittotest.Broker) mqtt.Client {
	t.Helper()
	o := mqtt.NewClientOptions().AddBroker("tcp://" + b.Host + ":" + b.Port).SetClientID("publisher").SetCleanSession(false).
		SetConnectRetry(true).SetConnectRetryInterval(10 * time.Millisecond).SetMaxReconnectInterval(10 * time.Millisecond)
	c := mqtt.NewClient(o)
	if token := c.Connect(); !token.WaitTimeout(time.Minute) || token.Error() != nil {
		t.Fatal(token.Error())
	}
	t.Cleanup(func() { c.Disconnect(100) })
	return c
}

func publish(t *testing.T, c mqtt.Client, topic, payload string) {
	t.Helper()
	if token := c.Publish(topic, 1, false, payload); !token.WaitTimeout(time.Minute) || token.Error() != nil {
		t.Fatalf("publish to %s: %v", topic, token.Error())
	}
}

// TestMessagesAreReadings: whose they are is told by the source's own topics, then by the provider's, then by those that every
// provider has; what cannot be taken is counted, kept, and acknowledged, so that it holds up nothing.
func TestMessagesAreReadings(t *testing.T) {
	b := mosquittotest.Start(t, mosquittotest.Options{})
	f := start(t)
	f.settings.Topics = []record.TopicRule{{Pattern: "shop/{gateway}/{sensor}"}, {Pattern: "plant/#", Gateway: "not this one"}}
	f.in.SetKeys(keysOf(f.settings))
	f.Set([]record.Source{sourceOf(b,
		record.TopicRule{Pattern: "plant/{gateway}/{sensor}"}, record.TopicRule{Pattern: "packs/+", Gateway: "packer", Format: "senml+json"},
		record.TopicRule{Pattern: "shop/#"}, record.TopicRule{Pattern: "readings/#"}, record.TopicRule{Pattern: "lines", Format: "line"},
	)})
	f.connected(t)
	p := publisher(t, b)
	publish(t, p, "plant/boiler7/temperature", "21.5")
	publish(t, p, "packs/a", `[{"n":"b","u":"V","v":1}]`)
	publish(t, p, "shop/till/open", "true")
	publish(t, p, "readings/gw1", `{"c": 2}`)
	publish(t, p, "lines", "cpu,host=h1 idle=3\ncpu,host=h2 idle=x\ncpu,host=h3 idle=4")
	publish(t, p, "shop/nobody", "1")         // no rule's
	publish(t, p, "packs/b", "[")             // cannot be read
	publish(t, p, "readings/g\u00a0/a", "1")  // no gateway's name
	publish(t, p, "elsewhere/boiler7/a", "1") // is not subscribed to
	publish(t, p, "plant/boiler7/temperature", "22")
	want := []string{
		"boiler7 temperature 21.5", "packer b,unit=V 1", "till open true", "gw1 c 2", "h1 cpu.idle 3", "h3 cpu.idle 4", "boiler7 temperature 22",
	}
	eventually(t, "the last is acknowledged", func() bool { s := f.status(t); return s.Taken == 6 && s.InHand == 0 })
	if diff := cmp.Diff(want, f.readings(t)); diff != "" {
		t.Error(diff)
	}
	totals, _ := f.committer.Totals()
	if totals.FramesCommitted != 6 || totals.FramesRejected != 3 || totals.Accepted != 7 || totals.Rejected != 1 ||
		totals.Reasons["topic"] != 1 || totals.Reasons["gateway_name"] != 1 || totals.Reasons["syntax"] != 2 {
		t.Errorf("%+v", totals)
	}
	if s := f.status(t); s.Refused != 3 || s.Last.IsZero() {
		t.Errorf("%+v", s)
	}
	kept := f.kept()
	if len(kept) != 4 || kept[0].Protocol != protocol || strings.TrimSpace(string(kept[0].Raw)) != "cpu,host=h2 idle=x" || kept[2].Gateway != "packer" || kept[0].Address != b.Host+":"+b.Port {
		t.Errorf("kept: %+v", kept)
	}
}

// TestNothingIsAcknowledgedBeforeTheLogHasIt: the log confirms nothing, and the broker is killed: it has all of it still. Then
// everything comes again, and in the end the broker has nothing left.
func TestNothingIsAcknowledgedBeforeTheLogHasIt(t *testing.T) {
	const n = 200
	b := mosquittotest.Start(t, mosquittotest.Options{InFlight: n})
	f := start(t)
	f.Set([]record.Source{sourceOf(b, record.TopicRule{Pattern: "plant/{gateway}"})})
	f.connected(t)
	f.log.Hold(true)
	send := func(sensor string, n int) {
		p := publisher(t, b)
		defer p.Disconnect(100) // before the broker is killed: the client's own store races with itself when it resumes
		for i := range n {
			publish(t, p, "plant/g", fmt.Sprintf(`{"ts": %d, "values": {%q: %d}}`, time.Now().UnixMilli()+int64(i), sensor, i))
		}
	}
	send("n", n)
	eventually(t, "all are in hand", func() bool { return f.status(t).InHand == n })
	b.Save()
	b.Kill()
	eventually(t, "it is seen that the broker is away", func() bool { return f.status(t).State == headapi.SourceAway && f.Trouble() != "" })
	b.Run()
	f.connected(t)
	if !f.status(t).Resumed {
		t.Error("the broker has not kept the session")
	}
	eventually(t, "all come again", func() bool { return f.status(t).InHand == n })
	f.log.Hold(false)
	eventually(t, "all are acknowledged", func() bool { s := f.status(t); return s.InHand == 0 && s.Taken == n })
	// As many again: the broker sends each of them only when it has read the acknowledgement of one before.
	send("m", n)
	eventually(t, "as many again are acknowledged", func() bool { s := f.status(t); return s.InHand == 0 && s.Taken == 2*n })
	counted := func() map[string]int {
		got := map[string]int{}
		for _, r := range f.readings(t) {
			got[r]++
		}
		return got
	}
	before := counted()
	if len(before) != 2*n {
		t.Errorf("%d of %d readings", len(before), 2*n)
	}
	// What the broker knows to be acknowledged does not come again.
	b.Save()
	b.Kill()
	b.Run()
	send("last", 1)
	eventually(t, "the last is taken", func() bool { return counted()["g last 0"] > 0 })
	after := counted()
	for i := range n {
		if r := fmt.Sprint("g n ", i); after[r] != before[r] {
			t.Errorf("%s came %d times, and %d once it was acknowledged", r, before[r], after[r])
		}
	}
}

// TestARestartTakesWhatWasPublishedMeanwhile: the broker's session outlives the client.
func TestARestartTakesWhatWasPublishedMeanwhile(t *testing.T) {
	b := mosquittotest.Start(t, mosquittotest.Options{})
	plant := sourceOf(b, record.TopicRule{Pattern: "plant/{gateway}/{sensor}"})
	f := start(t)
	f.Set([]record.Source{plant})
	f.connected(t)
	f.stop(t)
	p := publisher(t, b)
	for i := range 10 {
		publish(t, p, "plant/g/n", fmt.Sprint(i))
	}
	f = start(t)
	f.Set([]record.Source{plant})
	eventually(t, "all are taken", func() bool { return f.status(t).Taken == 10 })
	if got := f.readings(t); got[0] != "g n 0" || got[9] != "g n 9" {
		t.Errorf("not in their order: %q", got)
	}
}

// TestRetainedMessages: they come again with every subscription; those without a time are not taken, and counted.
func TestRetainedMessages(t *testing.T) {
	b := mosquittotest.Start(t, mosquittotest.Options{})
	p := publisher(t, b)
	retain := func(topic, payload string) {
		if token := p.Publish(topic, 1, true, payload); !token.WaitTimeout(time.Minute) || token.Error() != nil {
			t.Fatal(token.Error())
		}
	}
	retain("plant/old", `{"a": 1}`)
	retain("plant/timed", fmt.Sprintf(`{"ts": %d, "values": {"a": 2}}`, time.Now().UnixMilli()))
	f := start(t)
	f.Set([]record.Source{sourceOf(b, record.TopicRule{Pattern: "plant/{gateway}"})})
	eventually(t, "both came", func() bool { s := f.status(t); return s.Taken == 1 && s.Retained == 1 && s.InHand == 0 })
	retain("plant/old", `{"a": 3}`) // it is new to who is subscribed
	eventually(t, "it is taken", func() bool { return f.status(t).Taken == 2 })
	if diff := cmp.Diff([]string{"timed a 2", "old a 3"}, f.readings(t)); diff != "" {
		t.Error(diff)
	}
	if totals, _ := f.committer.Totals(); totals.Reasons[intake.ReasonRetained] != 1 || len(f.kept()) != 0 {
		t.Errorf("%+v, kept %d", totals, len(f.kept()))
	}
}

// TestAMessageThatIsTooLongIsSkipped: it is refused and acknowledged, and never wholly in memory.
func TestAMessageThatIsTooLongIsSkipped(t *testing.T) {
	b := mosquittotest.Start(t, mosquittotest.Options{})
	f := start(t)
	f.Set([]record.Source{sourceOf(b, record.TopicRule{Pattern: "plant/{gateway}/{sensor}"})})
	f.connected(t)
	p := publisher(t, b)
	publish(t, p, "plant/g/a", strings.Repeat("x", 5<<20))
	publish(t, p, "plant/g/b", strings.Repeat("x", schema.MaxFrame+1))
	publish(t, p, "plant/g/c", "1")
	eventually(t, "the last is taken", func() bool { s := f.status(t); return s.Taken == 1 && s.Refused == 2 && s.InHand == 0 })
	if got := f.readings(t); !slices.Equal(got, []string{"g c 1"}) {
		t.Errorf("%.100q", got)
	}
	if kept := f.kept(); len(kept) != 2 || kept[0].Code != schema.TooLarge || kept[0].Sensor != "a" {
		t.Errorf("%d are kept", len(kept))
	}
}

// TestWhatIsInHandIsBounded: of a broker that knows no bound of its own no more is read than there is room for.
func TestWhatIsInHandIsBounded(t *testing.T) {
	b := mosquittotest.Start(t, mosquittotest.Options{})
	f := start(t)
	f.Set([]record.Source{sourceOf(b, record.TopicRule{Pattern: "plant/{gateway}"})})
	f.connected(t)
	f.log.Hold(true)
	p := publisher(t, b)
	large := strings.Repeat(" ", 512<<10)
	const n = 40 // 20 MB
	for i := range n {
		publish(t, p, "plant/g", fmt.Sprintf(`{"n": %d}%s`, i, large))
	}
	most := maxBytes>>19 + 1
	eventually(t, "there is no room", func() bool { return f.status(t).InHand >= most-1 })
	if in := f.status(t).InHand; in > most {
		t.Errorf("%d in hand", in)
	}
	f.log.Hold(false)
	eventually(t, "all are taken", func() bool { return f.status(t).Taken == n })
}

// TestWhoIsNotLetIn: the state says why, and it goes on by itself.
func TestWhoIsNotLetIn(t *testing.T) {
	b := mosquittotest.Start(t, mosquittotest.Options{Users: map[string]string{"berth": "right"}})
	f := start(t)
	plant := sourceOf(b, record.TopicRule{Pattern: "plant/{gateway}/{sensor}"})
	with := func(password string) []record.Source {
		s := plant
		sealed, err := credentials.Seal(secret, []byte(password))
		if err != nil {
			t.Fatal(err)
		}
		s.User, s.Sealed, s.Changed = "berth", sealed, time.Now()
		return []record.Source{s}
	}
	away := func(why string) {
		t.Helper()
		eventually(t, why, func() bool { s := f.status(t); return s.State == headapi.SourceAway && strings.Contains(s.Detail, why) })
		if !strings.Contains(f.Trouble(), "plant is not connected") {
			t.Errorf("nothing is said of it: %q", f.Trouble())
		}
	}
	f.Set([]record.Source{plant})
	away("does not let the client in")
	f.Set(with("wrong"))
	away("does not let the client in")
	other := with("right")
	sealed, err := credentials.Seal(bytes.Repeat([]byte{8}, credentials.SecretSize), []byte("right"))
	if err != nil {
		t.Fatal(err)
	}
	other[0].Sealed = sealed
	f.Set(other)
	away("cannot be opened")
	f.Set(with("right"))
	f.connected(t)
	if f.Trouble() != "" {
		t.Error(f.Trouble())
	}
}

// TestARefusedSubscriptionIsSeen: SUBACK says so, of each filter; the others' messages are taken.
func TestARefusedSubscriptionIsSeen(t *testing.T) {
	b := mosquittotest.Start(t, mosquittotest.Options{Refuse: "secret/+"})
	f := start(t)
	f.Set([]record.Source{sourceOf(b, record.TopicRule{Pattern: "secret/{gateway}"}, record.TopicRule{Pattern: "plant/{gateway}/{sensor}"})})
	eventually(t, "it is refused", func() bool { return f.status(t).State == headapi.SourceRefused })
	if s := f.status(t); !strings.Contains(s.Detail, "secret/+") || strings.Contains(s.Detail, "plant") || f.Trouble() == "" {
		t.Errorf("%+v", s)
	}
	publish(t, publisher(t, b), "plant/g/a", "1")
	eventually(t, "it is taken", func() bool { return f.status(t).Taken == 1 })
}

func TestTLS(t *testing.T) {
	b := mosquittotest.Start(t, mosquittotest.Options{TLS: true})
	ca, err := os.ReadFile(b.CA)
	if err != nil {
		t.Fatal(err)
	}
	f := start(t)
	plant := sourceOf(b, record.TopicRule{Pattern: "plant/{gateway}/{sensor}"})
	f.Set([]record.Source{plant})
	eventually(t, "who is not trusted", func() bool { return strings.Contains(f.status(t).Detail, "unknown authority") })
	plant.CA = string(ca)
	f.Set([]record.Source{plant})
	f.connected(t)
	if err := b.Publish(t.Context(), "plant/g/a", "1"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is taken", func() bool { return f.status(t).Taken == 1 })
	plain := plant
	plain.URL, plain.CA = "tcp://"+b.Host+":"+b.Port, ""
	f.Set([]record.Source{plain})
	eventually(t, "plain is not understood", func() bool { return f.status(t).State == headapi.SourceAway })
}

// TestAnOldInstanceGivesWay: the broker lets the later of two clients in; the one whose log is another's does not come again.
func TestAnOldInstanceGivesWay(t *testing.T) {
	b := mosquittotest.Start(t, mosquittotest.Options{})
	older, newer := start(t), start(t)
	plant := []record.Source{sourceOf(b, record.TopicRule{Pattern: "plant/{gateway}/{sensor}"})}
	older.Set(plant)
	older.connected(t)
	newer.Set(plant)
	newer.connected(t)
	older.setAway(true) // it has learned that the log is another's
	eventually(t, "the older waits", func() bool { return older.status(t).State == headapi.SourceWaiting })
	newer.connected(t)
	publish(t, publisher(t, b), "plant/g/a", "1")
	eventually(t, "the newer takes it", func() bool { return newer.status(t).Taken == 1 })
	if older.status(t).Taken != 0 {
		t.Error("the older took it too")
	}
}

// TestAFullKeyspaceLeavesMessagesWithTheBroker: it passes, so nothing is refused and acknowledged for it.
func TestAFullKeyspaceLeavesMessagesWithTheBroker(t *testing.T) {
	b := mosquittotest.Start(t, mosquittotest.Options{})
	f := start(t)
	f.Set([]record.Source{sourceOf(b, record.TopicRule{Pattern: "plant/{gateway}/{sensor}"})})
	f.connected(t)
	f.in.SetFull(schema.Errorf(schema.Limited, "the keyspace is full"))
	p := publisher(t, b)
	publish(t, p, "plant/g/a", "1")
	eventually(t, "it waits", func() bool { return f.status(t).State == headapi.SourceWaiting })
	f.in.SetFull(nil)
	eventually(t, "it is taken", func() bool { return f.status(t).Taken == 1 })
	if totals, _ := f.committer.Totals(); totals.FramesRejected != 0 {
		t.Errorf("%+v", totals)
	}
}

// TestASourceThatIsRemovedLeavesNothingAtTheBroker: neither its session, which would be filled, nor subscriptions that it had
// before.
func TestASourceThatIsRemovedLeavesNothingAtTheBroker(t *testing.T) {
	b := mosquittotest.Start(t, mosquittotest.Options{})
	plant := sourceOf(b, record.TopicRule{Pattern: "plant/{gateway}/{sensor}"})
	f := start(t)
	p := publisher(t, b)
	f.Set([]record.Source{plant})
	f.connected(t)
	changed := plant
	changed.Topics, changed.Left = []record.TopicRule{{Pattern: "shop/{gateway}/{sensor}"}}, plant.Filters()
	f.Set([]record.Source{changed})
	eventually(t, "the change is live", func() bool { s := f.status(t); return s.State == headapi.SourceConnected && s.Resumed })
	publish(t, p, "plant/g/a", "1")
	publish(t, p, "shop/g/a", "2")
	eventually(t, "it is taken", func() bool { return f.status(t).Taken == 1 })
	if s := f.status(t); s.Refused != 0 {
		t.Errorf("what is not subscribed to any more comes still: %+v", s)
	}
	f.Set(nil)
	publish(t, p, "shop/g/a", "3") // while it leaves, or after
	f.Set([]record.Source{plant})
	f.connected(t)
	if f.status(t).Resumed {
		t.Error("the broker has kept the session")
	}
}

// TestPausesGrow: a broker that is away is not hammered, nor are many back at the same moment.
func TestPausesGrow(t *testing.T) {
	for attempt, ms := range []int{500, 1000, 2000, 4000, 8000, 16000, 30000, 30000} {
		most := time.Duration(ms) * time.Millisecond
		seen := map[time.Duration]bool{}
		for range 50 {
			p := pause(attempt)
			if p < most/2 || p >= most {
				t.Errorf("after attempt %d it pauses %v, want %v to %v", attempt, p, most/2, most)
			}
			seen[p] = true
		}
		if len(seen) < 10 {
			t.Errorf("attempt %d has %d pauses", attempt, len(seen))
		}
	}
	if p := pause(1 << 20); p < pauseMost/2 || p >= pauseMost {
		t.Errorf("in the end it pauses %v", p)
	}
}
