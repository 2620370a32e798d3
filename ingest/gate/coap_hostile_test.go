package gate

import (
	"bytes"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pion/dtls/v3"
	"github.com/plgd-dev/go-coap/v3/message"
	"github.com/plgd-dev/go-coap/v3/message/codes"
	"golang.org/x/net/ipv4"

	"berth/ingest/gate/coap"
	"berth/ingest/gate/coap/packet"
)

// answersTo sends a datagram and returns all that is answered to it before a ping that follows is.
func (c *coapClient) answersTo(data []byte) (answers [][]byte) {
	c.t.Helper()
	c.send(data)
	c.next++
	ping := []byte{0x40, 0, byte(c.next >> 8), byte(c.next)}
	c.send(ping)
	pong := append([]byte{0x70, 0}, ping[2:]...)
	for {
		_ = c.SetReadDeadline(time.Now().Add(time.Minute))
		buf := make([]byte, 64<<10)
		n, err := c.Read(buf)
		if err != nil {
			c.t.Fatalf("after %x: %v", data, err)
		}
		if bytes.Equal(buf[:n], pong) {
			return answers
		}
		answers = append(answers, buf[:n])
	}
}

// TestCoAPNeverAmplifies: what is answered to an address, which may be another's, is at most three times what came from there
// (RFC 7252 §11.3): of every kind of datagram, also with a key, which says nothing of the address, and when it comes again.
func TestCoAPNeverAmplifies(t *testing.T) {
	f := start(t, func(f *fixture, _ *Options) { f.pipeline.Settings.Approve = true })
	c := f.dialCoAP(t)
	of := func(a ask, change func(a *ask)) []byte { change(&a); return c.bytes(&a) }
	same := func(*ask) {}
	core := ask{method: codes.GET, path: []string{".well-known", "core"}, format: -1}
	hello := captureHello(t)
	datagrams := map[string][]byte{
		"a ping": {0x40, 0, 0, 9}, "the shortest request": {0x40, 1, 0, 9}, "the shortest POST": {0x40, 2, 0, 9}, "a format error": {0x40, 2, 0, 9, 0xff},
		"a token that is cut": {0x48, 2, 0, 9}, "a critical option": {0x40, 2, 0, 9, 0x90}, "a proxy": {0x40, 2, 0, 9, 0xd1, 22, 'c'},
		"what there is": c.bytes(&core), "what there is, without confirmation": of(core, func(a *ask) { a.plain, a.token = true, "12345678" }),
		"what there is, in another format": of(core, func(a *ask) { a.more = message.Options{number(message.Accept, 50)} }),
		"elsewhere":                        of(ask{path: []string{"x"}, format: -1}, same), "another method": of(to("g", "", ""), func(a *ask) { a.method = 7 }),
		"readings alone": of(ask{path: []string{"readings"}, format: -1}, same), "no key": of(ask{path: []string{"readings", "g"}, format: -1}, same),
		"an unknown key": of(to("g", "x", "m a=1"), same), "one that waits": of(to("new", enrolmentKey, "m a=1"), same),
		"a block":  of(to("g", "x", strings.Repeat("x", 16)), func(a *ask) { a.more = message.Options{number(message.Block1, 8)} }),
		"too long": of(to("g", "x", strings.Repeat("#", 9000)), same), "a hello": hello, "two hellos": append(slices.Clone(hello), hello...),
		"a hello that is cut": hello[:len(hello)-1], "of no session": {23, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 1, 0, 1, 0},
		"taken": of(to("own", "gk_own", "m a=1"), same), "of somebody else": of(to("g", "gk_own", "m a=1"), same),
		"a format that there is not": of(to("own", "gk_own", ""), func(a *ask) { a.format = 41 }), "nothing good": of(to("own", "gk_own", "m"), same),
		"a good block": of(to("own", "gk_own", strings.Repeat("#", 16)), func(a *ask) { a.more = message.Options{number(message.Block1, 8)} }),
		"partly":       of(to("own", "gk_own", "m\nm a=1"), same), "too long, with a key": of(to("own", "gk_own", strings.Repeat("#", 9000)), same),
	}
	for name, data := range datagrams {
		c := f.dialCoAP(t)
		answers := c.answersTo(data)
		f.eventually(t, "nothing is on its way", func() bool { _, n := f.committer.Totals(); return n == 0 })
		answers = append(answers, c.answersTo(data)...) // again
		if len(answers) > 2 {
			t.Errorf("%s: %d answers to two datagrams", name, len(answers))
		}
		for _, answer := range answers {
			if len(answer) > 3*len(data) {
				t.Errorf("%s: %d bytes are answered by %d, %x", name, len(data), len(answer), answer)
			}
		}
	}
}

// TestCoAPAnswersOfTheirOwnDoNotAmplify: with all their repetitions, which nobody acknowledges.
func TestCoAPAnswersOfTheirOwnDoNotAmplify(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for an acknowledgement")
	}
	f := start(t, nil)
	c := f.dialCoAP(t)
	f.log.Hold(true)
	a := to("own", "gk_own", "m\nm a=1")
	data := c.bytes(&a)
	c.send(data)
	sum, buf := 0, make([]byte, 2000)
	for i := range 2 {
		_ = c.SetReadDeadline(time.Now().Add(time.Minute))
		n, err := c.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		if sum += n; i == 0 {
			f.log.Hold(false)
			continue
		}
		const repetitions = 4 // MAX_RETRANSMIT
		if codes.Code(buf[1]) != codes.BadRequest || n < 4+1+1+8 || sum+repetitions*n > 3*len(data) {
			t.Errorf("%d bytes are answered by %x, five times", len(data), buf[:n])
		}
	}
}

// recorder notes what is sent by a socket.
type recorder struct {
	*net.UDPConn
	mu   sync.Mutex // guards sent
	sent [][]byte
}

// WriteTo writes, and notes it.
func (r *recorder) WriteTo(p []byte, to net.Addr) (int, error) {
	r.mu.Lock()
	r.sent = append(r.sent, bytes.Clone(p))
	r.mu.Unlock()
	return r.UDPConn.WriteTo(p, to)
}

// TestCoAPReplayWithinDTLS records all that a gateway sends, and sends it again, from its own address and from another: nothing is
// taken and nothing answered, and the session goes on (RFC 6347 §4.1.2.6).
func TestCoAPReplayWithinDTLS(t *testing.T) {
	for name, more := range map[string][]dtls.ClientOption{"by its address": nil, "by its identifier": {dtls.WithConnectionIDGenerator(dtls.RandomCIDGenerator(4))}} {
		t.Run(name, func(t *testing.T) {
			f := start(t, nil)
			r := &recorder{UDPConn: listenUDP(t)}
			c, err := f.dialDTLS(t, r, psk("psk", "gk_psk", dtls.TLS_PSK_WITH_AES_128_CCM_8, more...))
			if err != nil {
				t.Fatal(err)
			}
			before := len(r.sent)
			c.askWithin(within("psk", "m a=1"), "2.04")
			c.askWithin(within("psk", "m a=2"), "2.04")
			stranger := f.dialCoAP(t)
			for i, data := range r.sent[before:] {
				if answers := stranger.answersTo(data); len(answers) > 0 {
					t.Errorf("record %d from another address is answered %x", i, answers)
				}
				if _, err := r.UDPConn.WriteTo(data, stranger.RemoteAddr()); err != nil {
					t.Fatal(err)
				}
			}
			c.askWithin(within("psk", "m a=3"), "2.04") // and nothing else was answered before
			for _, data := range r.sent[:before] {      // the handshake
				stranger.answersTo(data)
			}
			c.askWithin(within("psk", "m a=4"), "2.04")
			if diff := cmp.Diff([]string{"psk m.a 1", "psk m.a 2", "psk m.a 3", "psk m.a 4"}, f.readings(t)); diff != "" {
				t.Error(diff)
			}
			f.books(t)
		})
	}
}

// TestCoAPToManyIsNotAnswered: no group is joined, but another program of the machine may have joined one (RFC 7252 §8.1, §8.2: what
// is not confirmable may be ignored, and an error is never said; what is confirmable must not be sent to many).
func TestCoAPToManyIsNotAnswered(t *testing.T) {
	group := net.IPv4(224, 0, 1, 187) // All CoAP Nodes
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Skipf("there is no loopback interface: %v", err)
	}
	member, err := net.ListenMulticastUDP("udp4", lo, &net.UDPAddr{IP: group})
	if err != nil {
		t.Skipf("no group can be joined here: %v", err)
	}
	defer member.Close()
	f := start(t, nil)
	any4, err := net.ListenUDP("udp4", nil) // Linux gives what is sent to a group of IPv4 to no socket that takes IPv6 too
	if err != nil {
		t.Fatal(err)
	}
	many := coap.New(f.in)
	if err := many.Serve(any4); err != nil {
		t.Fatal(err)
	}
	defer many.Stop(t.Context())
	port := any4.LocalAddr().(*net.UDPAddr).Port //nolint:forcetypeassert // of a test
	udp := listenUDP(t)
	defer udp.Close()
	if err := ipv4.NewPacketConn(udp).SetMulticastInterface(lo); err != nil {
		t.Fatal(err)
	}
	c := &coapClient{t: t, next: 100}
	core := ask{method: codes.GET, path: []string{".well-known", "core"}, format: -1, plain: true, token: "t"}
	unknown := ask{path: []string{"x"}, format: -1, plain: true, token: "t"}
	good := to("own", "gk_own", "m a=1")
	good.plain = true
	sure := to("own", "gk_own", "m a=2")
	all := [][]byte{c.bytes(&core), c.bytes(&unknown), c.bytes(&good), c.bytes(&sure), {0x40, 0, 0, 1}, {0x40, 2, 0, 1, 0xff}, captureHello(t)}
	for _, data := range all {
		if _, err := udp.WriteToUDP(data, &net.UDPAddr{IP: group, Port: port}); err != nil {
			t.Skipf("nothing can be sent to a group here: %v", err)
		}
	}
	ping := []byte{0x40, 0, 0, 7}
	if _, err := udp.WriteToUDP(ping, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}); err != nil {
		t.Fatal(err)
	}
	_ = udp.SetReadDeadline(time.Now().Add(time.Minute))
	buf := make([]byte, 2000)
	n, err := udp.Read(buf)
	if err != nil || packet.Type(buf[0]>>4&3) != packet.Reset || buf[3] != 7 {
		t.Errorf("the first answer is %x, %v, want that to the ping", buf[:n], err)
	}
	if got := f.readings(t); len(got) > 0 {
		t.Errorf("stored are %q", got)
	}
	f.eventually(t, "all are counted", func() bool { return f.books(t).Strangers == uint64(len(all)) })
}

// TestCoAPBodiesInBlocksAreBounded: a gateway has sixteen at once, and all together the memory that payloads may take. Who is
// beyond either is told when to come again.
func TestCoAPBodiesInBlocksAreBounded(t *testing.T) {
	f := start(t, func(_ *fixture, o *Options) { o.Memory = 128 << 10 })
	c := f.dialCoAP(t)
	block := func(gateway, key string, tag, n int) ask {
		a := to(gateway, key, strings.Repeat("#", 1024))
		a.more = message.Options{number(message.Block1, n<<4|1<<3|6), {ID: 292, Value: []byte{byte(tag)}}} // Request-Tag
		return a
	}
	waits := func(a ask) {
		t.Helper()
		if age, err := c.ask(a, "5.03").Options.GetUint32(message.MaxAge); err != nil || age == 0 {
			t.Errorf("it is not said when to come again: %d, %v", age, err)
		}
	}
	for tag := range 16 {
		c.ask(block("own", "gk_own", tag, 0), "2.31")
	}
	waits(block("own", "gk_own", 16, 0))
	c.ask(block("relay", "gk_relay", 0, 0), "2.31") // another is not held up
	for tag := range 2 {
		for n := 1; n < 5; n++ { // the fifth takes a larger buffer
			c.ask(block("own", "gk_own", tag, n), "2.31")
		}
	}
	for n := 1; n < 4; n++ {
		c.ask(block("relay", "gk_relay", 0, n), "2.31")
	}
	waits(block("relay", "gk_relay", 0, 4))
	f.stop(t)
	f.books(t)
}
