package gate

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/plgd-dev/go-coap/v3/message"
	"github.com/plgd-dev/go-coap/v3/message/codes"

	"berth/internal/lossytest"
	"berth/schema"
)

// expectNothing checks that there is no answer to anything before an answer to a ping.
func (c *coapClient) expectNothing() {
	c.t.Helper()
	c.ping()
}

// ping sends a ping, which is answered with a reset (RFC 7252 §4.3).
func (c *coapClient) ping() {
	c.t.Helper()
	c.next++
	c.send([]byte{0x40, 0, byte(c.next >> 8), byte(c.next)})
	if m := c.expect(message.Reset, "0.00"); m.MessageID != c.next {
		c.t.Fatalf("message %d is reset, want %d", m.MessageID, c.next)
	}
}

// TestCoAPWaitsForTheLog: an acknowledgement without an answer goes out before the sender repeats itself; the answer is a
// message of its own then, which is repeated until it is acknowledged (RFC 7252 §5.2.2, §4.2).
func TestCoAPWaitsForTheLog(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for ACK_TIMEOUT")
	}
	f := start(t, nil)
	c := f.dialCoAP(t)
	f.log.Hold(true)
	first, second := to("g", enrolmentKey, "m a=1"), to("g", enrolmentKey, "m a=2")
	second.token = "u"
	c.send(c.bytes(&first))
	f.eventually(t, "it is in hand", func() bool { _, n := f.committer.Totals(); return n == 1 })
	if m := c.expect(message.Acknowledgement, "0.00"); m.MessageID != first.id || len(m.Token) > 0 {
		t.Errorf("acknowledged %d %q", m.MessageID, m.Token)
	}
	c.send(c.bytes(&first)) // as its sender does that did not hear it
	c.expect(message.Acknowledgement, "0.00")
	c.send(c.bytes(&second))
	if m := c.expect(message.Acknowledgement, "0.00"); m.MessageID != second.id {
		t.Errorf("acknowledged %d, want %d", m.MessageID, second.id)
	}
	f.log.Hold(false)
	answers := map[string]int32{}
	for range 2 {
		m := c.expect(message.Confirmable, "2.04")
		answers[string(m.Token)] = m.MessageID
	}
	if len(answers) != 2 {
		t.Fatalf("answered %v", answers)
	}
	c.send(c.bytes(&first)) // the answer was not heard
	c.expect(message.Acknowledgement, "0.00")
	if m := c.expect(message.Confirmable, "2.04"); m.MessageID != answers["t"] {
		t.Errorf("%d is answered again, want %d", m.MessageID, answers["t"])
	}
	c.send([]byte{0x60, 0, byte(answers["t"] >> 8), byte(answers["t"])}) // acknowledged
	if m := c.expect(message.Confirmable, "2.04"); m.MessageID != answers["u"] {
		t.Errorf("%d is repeated, want %d", m.MessageID, answers["u"])
	}
	c.send([]byte{0x70, 0, byte(answers["u"] >> 8), byte(answers["u"])}) // reset
	c.send(c.bytes(&second))                                             // a repetition that was late
	c.expect(message.Acknowledgement, "0.00")
	if diff := cmp.Diff([]string{"g m.a 1", "g m.a 2"}, f.readings(t)); diff != "" {
		t.Error(diff)
	}
}

// TestCoAPTakesAMessageOnce: RFC 7252 §4.5.
func TestCoAPTakesAMessageOnce(t *testing.T) {
	f := start(t, nil)
	c := f.dialCoAP(t)
	good, bad, other := to("g", enrolmentKey, "m a=1"), to("g", enrolmentKey, "m b"), to("g", enrolmentKey, "m a=2")
	for range 3 {
		c.ask(good, "2.04")
	}
	good.id, other.id = 7, 7
	c.ask(good, "2.04")
	c.ask(other, "2.04") // the same identifier too early: it is another message
	c.ask(good, "2.04")
	bad.id = 8
	before := c.ask(bad, "4.00")
	again := c.ask(bad, "4.00")
	if string(before.Payload) != string(again.Payload) || len(again.Payload) == 0 {
		t.Errorf("said %q, and then %q", before.Payload, again.Payload)
	}
	d := f.dialCoAP(t) // the same message from elsewhere is another
	d.ask(good, "2.04")
	if diff := cmp.Diff([]string{"g m.a 1", "g m.a 1", "g m.a 1", "g m.a 1", "g m.a 2", "g m.a 1"}, f.readings(t)); diff != "" {
		t.Error(diff)
	}
	if totals := f.books(t); totals.FramesCommitted != 6 || totals.FramesRejected != 1 {
		t.Errorf("%+v", totals)
	}
}

// TestCoAPWithoutConfirmation: RFC 7252 §5.2.3, RFC 7967.
func TestCoAPWithoutConfirmation(t *testing.T) {
	f := start(t, nil)
	c := f.dialCoAP(t)
	a := to("g", enrolmentKey, "m a=1")
	a.plain = true
	c.send(c.bytes(&a))
	if m := c.expect(message.NonConfirmable, "2.04"); string(m.Token) != "t" {
		t.Errorf("answered token %q", m.Token)
	}
	c.send(c.bytes(&a)) // again: nothing
	a = to("g", enrolmentKey, "m a=2")
	a.plain, a.token = true, ""
	c.send(c.bytes(&a))
	a = to("g", enrolmentKey, "m a=3")
	a.plain, a.more = true, message.Options{number(message.NoResponse, 2)}
	c.send(c.bytes(&a))
	a = to("g", enrolmentKey, "m a=4")
	a.plain, a.more = true, message.Options{{ID: 9}} // §5.4.1: it is rejected, without a word
	c.send(c.bytes(&a))
	f.eventually(t, "all are in the log", func() bool { return len(f.readings(t)) == 3 })
	c.expectNothing()
	a = to("g", "nonsense", "m a=5")
	a.plain = true
	c.send(c.bytes(&a))
	c.expect(message.NonConfirmable, "4.01")
	if diff := cmp.Diff([]string{"g m.a 1", "g m.a 2", "g m.a 3"}, f.readings(t)); diff != "" {
		t.Error(diff)
	}
}

// TestCoAPWhatIsNoRequest: RFC 7252 §3, §4.1 to §4.3.
func TestCoAPWhatIsNoRequest(t *testing.T) {
	f := start(t, nil)
	c := f.dialCoAP(t)
	for _, c2 := range []struct {
		name  string
		data  string
		reset bool
	}{
		{"nothing", "", false},
		{"short", "\x40\x02\x00", false},
		{"version 2", "\x80\x02\x00\x01", false},
		{"a token of 9 bytes", "\x49\x02\x00\x01123456789", true},
		{"a token that is cut off", "\x44\x02\x00\x01ab", true},
		{"an empty message that is not", "\x40\x00\x00\x01\xff", true},
		{"an empty message with a token", "\x41\x00\x00\x01a", true},
		{"an empty message without confirmation", "\x50\x00\x00\x01", false},
		{"a marker without a payload", "\x40\x02\x00\x01\xb8readings\xff", true},
		{"an option of a reserved length", "\x40\x02\x00\x01\xbf", true},
		{"an option that is cut off", "\x40\x02\x00\x01\xb8read", true},
		{"a response", "\x40\x44\x00\x01", true},
		{"a response without confirmation", "\x50\x44\x00\x01", false},
		{"an acknowledgement of nothing", "\x60\x44\x00\x01", false},
		{"a request that acknowledges", "\x60\x02\x00\x01", false},
		{"a reserved class", "\x40\x21\x00\x01", true},
		{"without confirmation, and wrong", "\x50\x02\x00\x01\xff", false},
	} {
		c.send([]byte(c2.data))
		if c2.reset {
			if m := c.expect(message.Reset, "0.00"); m.MessageID != 1 || len(m.Token) > 0 {
				t.Errorf("%s: %v", c2.name, m)
			}
		}
		c.ping()
	}
	f.books(t)
}

// blocks sends a body in blocks of a size and expects these codes, the last of which is that of the whole.
func (c *coapClient) blocks(a ask, szx int, last string) *message.Message {
	c.t.Helper()
	size, body := 16<<szx, a.body
	for n := 0; ; n++ {
		from, end := n*size, min((n+1)*size, len(body))
		block, code := n<<4|szx, last
		if end < len(body) {
			block, code = block|8, "2.31"
		}
		part := a
		part.body, part.more = body[from:end], slices.Concat(a.more, message.Options{number(message.Block1, block)})
		m := c.ask(part, code)
		if got, err := m.Options.GetUint32(message.Block1); err != nil || int(got) != block {
			c.t.Fatalf("answered block %d, %v, want %d", got, err, block)
		}
		if end == len(body) {
			return m
		}
	}
}

// TestCoAPBlocks: RFC 7959 §2.5, §2.9.
func TestCoAPBlocks(t *testing.T) {
	f := start(t, nil)
	c := f.dialCoAP(t)
	var want []string
	for szx, size := range map[int]int{0: 1000, 2: 16 << 2, 6: 50_000} {
		c.blocks(to("g", enrolmentKey, sized(szx, size)), szx, "2.04")
		want = append(want, fmt.Sprintf("g m.a %d", szx))
	}
	largest := sized(9, schema.MaxFrame-50)
	c.blocks(to("g", enrolmentKey, largest), 6, "2.04")
	want = append(want, "g m.a 9")
	if m := c.blocks(to("g", enrolmentKey, strings.Repeat("# comment\n", 20)+"m b"), 1, "4.00"); !strings.Contains(string(m.Payload), "line 21") {
		t.Errorf("said %q", m.Payload)
	}
	block := func(n, more, szx int, body string) ask {
		a := to("g", enrolmentKey, body)
		a.more = message.Options{number(message.Block1, n<<4|more<<3|szx)}
		return a
	}
	sixteen := "m a=77 # 4567890"[:16]
	c.ask(block(1, 0, 0, "x"), "4.08")
	c.ask(block(0, 1, 0, "#23456789012345\n"), "2.31")
	c.ask(block(2, 1, 0, sixteen), "4.08")             // one is missing
	c.ask(block(0, 1, 0, "#23456789012345\n"), "2.31") // as it was
	c.ask(block(0, 1, 0, "#23456789012345\n"), "2.31") // it begins anew
	c.ask(block(1, 0, 0, "m a=78"), "2.04")
	c.ask(block(1, 0, 0, "m a=79"), "4.08") // it was taken
	c.ask(block(0, 1, 0, "short"), "4.00")
	c.ask(block(0, 0, 0, strings.Repeat("x", 17)), "4.00")
	c.ask(block(0, 1, 7, sixteen), "4.00")
	for _, a := range []ask{block(schema.MaxFrame/1024, 1, 6, strings.Repeat("x", 1024)), func() ask {
		a := block(0, 1, 0, sixteen)
		a.more = append(a.more, number(message.Size1, schema.MaxFrame+1))
		return a
	}()} {
		m := c.ask(a, "4.13")
		if n, err := m.Options.GetUint32(message.Size1); err != nil || n != schema.MaxFrame {
			t.Errorf("the longest is said to be %d, %v", n, err)
		}
	}
	long := to("g", enrolmentKey, strings.Repeat("#", 20_000)) // in one datagram
	m := c.ask(long, "4.13")
	if n, err := m.Options.GetUint32(message.Block1); err != nil || n&7 != 6 {
		t.Errorf("blocks of %d are asked for, %v", n, err)
	}
	if diff := cmp.Diff(append(want, "g m.a 78"), f.readings(t)); diff != "" {
		t.Error(diff)
	}
	f.stop(t)
	f.books(t)
}

// TestCoAPSlows: nobody is read less here, so who is too fast, and everybody while the log cannot keep up, is told when to come
// again (RFC 8516, RFC 7252 §5.9.3.4).
func TestCoAPSlows(t *testing.T) {
	age := func(m *message.Message) uint32 {
		n, err := m.Options.GetUint32(message.MaxAge)
		if err != nil || n == 0 {
			t.Errorf("it is not said when to come again: %d, %v", n, err)
		}
		return n
	}
	f := start(t, func(f *fixture, _ *Options) { f.pipeline.Settings.Limits.GatewayReadingsPerSecond = 2 })
	c := f.dialCoAP(t)
	sent := 0
	for ; sent < 100; sent++ {
		a := to("g", enrolmentKey, "m a=1,b=2,c=3,d=4")
		c.send(c.bytes(&a))
		if m := c.receive(time.Minute); m == nil || dotted(m.Code) != "2.04" {
			if m == nil || dotted(m.Code) != "4.29" {
				t.Fatalf("answered %v", m)
			}
			age(m)
			break
		}
	}
	if sent == 0 || sent > 20 {
		t.Errorf("%d were taken", sent)
	}
	c.ask(to("own", "gk_own", "m a=1"), "2.04") // another is not slowed
	f.SetFull(schema.Errorf(schema.Limited, "the keyspace is full"))
	age(c.ask(to("own", "gk_own", "m a=2"), "4.29"))
	f.SetFull(nil)
	f.committer.Hold(true)
	slowed := to("own", "gk_own", "m a=3")
	slowed.id = 9
	age(c.ask(slowed, "5.03"))
	f.committer.Hold(false)
	c.ask(slowed, "2.04") // the same message comes again, and is taken now
	c.ask(to("own", "gk_own", "m a=4"), "2.04")
	f.books(t)
}

// TestCoAPWhatThereWasNoRoomForIsTakenAgain: who is told to come again, since the queue is full, may send the same message.
func TestCoAPWhatThereWasNoRoomForIsTakenAgain(t *testing.T) {
	f := start(t, smallQueue)
	c := f.dialCoAP(t)
	f.log.Hold(true)
	sent, answers := map[int32]ask{}, map[int32]string{}
	hear := func(wanted int32) string { // reads until there is an answer to it
		for answers[wanted] == "" {
			m := c.receive(time.Minute)
			if m == nil {
				t.Fatalf("there is no answer to message %d", wanted)
			}
			if m.Code != codes.Empty || m.Type == message.Reset {
				answers[m.MessageID] = dotted(m.Code)
			}
		}
		return answers[wanted]
	}
	var late ask
	for late.id == 0 { // each waits for the log, until there is no room for one
		a := to("g", enrolmentKey, fmt.Sprintf("m a=%d", len(sent)))
		c.send(c.bytes(&a))
		sent[a.id] = a
		c.next++
		c.send([]byte{0x40, 0, byte(c.next >> 8), byte(c.next)})
		hear(c.next)
		for id, code := range answers {
			if code == "5.03" {
				late = sent[id]
			}
		}
		if len(sent) > 1000 {
			t.Fatal("there is always room")
		}
	}
	f.log.Hold(false)
	f.eventually(t, "all others are in the log", func() bool { _, n := f.committer.Totals(); return n == 0 })
	delete(answers, late.id)
	c.send(c.bytes(&late))
	if got := hear(late.id); got != "2.04" {
		t.Errorf("the same message is answered %s", got)
	}
	if totals := f.books(t); totals.FramesGivenUp == 0 || totals.FramesCommitted+totals.FramesGivenUp != uint64(len(sent))+1 {
		t.Errorf("of %d messages, one of them twice: %+v", len(sent), totals)
	}
}

// TestCoAPOfWhoRequiresTLS: plain CoAP can be read by others.
func TestCoAPOfWhoRequiresTLS(t *testing.T) {
	f := start(t, func(f *fixture, _ *Options) { f.pipeline.Settings.RequireTLS = true })
	f.dialCoAP(t).ask(to("own", "gk_own", "m a=1"), "4.03")
}

// TestCoAPRevoked: a key that is revoked opens nothing from then on.
func TestCoAPRevoked(t *testing.T) {
	f := start(t, nil)
	c := f.dialCoAP(t)
	c.ask(to("own", "gk_own", "m a=1"), "2.04")
	keys := ownKeys()
	for k, v := range keys {
		v.Revoked = time.Unix(1_700_000_000, 0)
		keys[k] = v
	}
	f.Set(f.pipeline, keys)
	c.ask(to("own", "gk_own", "m a=2"), "4.01")
}

// TestCoAPRejectsAreKept: what an authenticated sender is refused is kept, once.
func TestCoAPRejectsAreKept(t *testing.T) {
	f := start(t, nil)
	c := f.dialCoAP(t)
	a := to("own", "gk_own", "m b")
	for range 2 {
		c.send(c.bytes(&a))
		c.expect(message.Acknowledgement, "4.00")
	}
	f.stop(t)
	if len(f.rejects) != 1 || f.rejects[0].Protocol != "coap" || f.rejects[0].Gateway != "own" || string(f.rejects[0].Raw) != "m b" {
		t.Errorf("%+v", f.rejects)
	}
}

// TestCoAPAnswersStrangersShortly: what is sent to an address that may not have asked is at most three times what was asked
// (RFC 7252 §11.3).
func TestCoAPAnswersStrangersShortly(t *testing.T) {
	f := start(t, nil)
	c := f.dialCoAP(t)
	core := ask{method: codes.GET, path: []string{".well-known", "core"}, format: -1}
	asks := []ask{core, {path: []string{"readings"}, format: -1}, {path: []string{""}, format: -1}, to("g", "x", ""), {format: -1, method: 9}, {format: -1, token: "12345678"}}
	for _, a := range asks {
		data := c.bytes(&a)
		c.send(data)
		_ = c.SetReadDeadline(time.Now().Add(time.Minute))
		buf := make([]byte, 2000)
		n, err := c.Read(buf)
		if err != nil || n > 3*len(data) {
			t.Errorf("%x is answered %x, %v", data, buf[:n], err)
		}
	}
}

// TestCoAPFlood: datagrams from ever new addresses leave nothing behind.
func TestCoAPFlood(t *testing.T) {
	if !alone(t) {
		return
	}
	f := start(t, nil)
	to1, err := net.ResolveUDPAddr("udp", f.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c := f.dialCoAP(t)
	stranger := to("g", "nonsense", "m a=1")
	block := to("g", "nonsense", strings.Repeat("x", 16))
	block.more = message.Options{number(message.Block1, 8)}
	datagrams := [][]byte{c.bytes(&stranger), c.bytes(&block), {0x40, 0, 0, 1}, {0x40, 2, 0, 1, 0xff}, {22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0}}
	addresses := 4000
	if testing.Short() {
		addresses = 500
	}
	flood := func(from, n int) {
		for i := from; i < from+n; i++ {
			s, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 1, byte(i>>8), byte(i))})
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range datagrams {
				_, _ = s.WriteTo(d, to1)
			}
			_ = s.Close()
			if i%16 == 0 {
				c.ping() // they are read
			}
		}
		c.ping()
	}
	flood(0, 200) // what is made once
	before, goroutines := inUse(), runtime.NumGoroutine()
	flood(200, addresses)
	if grown := inUse() - before; grown > 512<<10 {
		t.Errorf("%d addresses left %.0f bytes", addresses, grown)
	}
	if n := runtime.NumGoroutine(); n > goroutines+2 {
		t.Errorf("there are %d goroutines, and were %d", n, goroutines)
	}
	c.ask(to("own", "gk_own", "m a=1"), "2.04")
	f.eventually(t, "strangers are counted", func() bool { return f.books(t).Strangers > uint64(addresses) })
}

// TestCoAPOverALossyNetwork: of what is sent with confirmation nothing is lost and nothing taken twice, though three of ten
// datagrams are lost in each direction and one of ten comes twice.
func TestCoAPOverALossyNetwork(t *testing.T) {
	f := start(t, nil)
	proxy := lossytest.Start(t, f.Addr(), 0.3)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	clients, each := 8, 40
	if testing.Short() {
		each = 10
	}
	var wg sync.WaitGroup
	for i := range clients {
		conn, err := net.Dial("udp", proxy.LocalAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		udp, ok := conn.(*net.UDPConn)
		if !ok {
			t.Fatalf("a %T", conn)
		}
		c := &coapClient{UDPConn: udp, t: t}
		wg.Go(func() {
			for n := range each {
				if err := c.persist(ctx, fmt.Sprintf("g%d", i), n); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	var want []string
	for i := range clients {
		for n := range each {
			want = append(want, fmt.Sprintf("g%d m.a %d", i, n)) // without a time: taken twice, it would be there twice
		}
	}
	got := f.readings(t)
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	f.books(t)
}

// persist sends a request again and again until it is answered, as RFC 7252 §4.2 would have it, only sooner.
func (c *coapClient) persist(ctx context.Context, gateway string, n int) error {
	a := to(gateway, enrolmentKey, fmt.Sprintf("m a=%d", n))
	a.token = string(binary.BigEndian.AppendUint16(nil, uint16(n)))
	data := c.bytes(&a)
	for ctx.Err() == nil {
		if _, err := c.Write(data); err != nil {
			return err
		}
		for {
			m := c.receive(30 * time.Millisecond)
			if m == nil {
				break // again
			}
			if m.Type == message.Confirmable {
				if _, err := c.Write([]byte{0x60, 0, byte(m.MessageID >> 8), byte(m.MessageID)}); err != nil {
					return err
				}
			}
			if m.Code == codes.Changed && string(m.Token) == a.token {
				return nil
			}
			if m.Code != codes.Empty && m.Code != codes.Changed {
				return fmt.Errorf("answered %s %s", dotted(m.Code), m.Payload)
			}
		}
	}
	return ctx.Err()
}
