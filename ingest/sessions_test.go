package ingest_test

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	packets5 "github.com/eclipse/paho.golang/packets"
	packets3 "github.com/eclipse/paho.mqtt.golang/packets"

	"berth/internal/bus"
)

// exact is a gateway that sends readings without a time by MQTT 3.1.1 or 5 at QoS 2, each under a sensor of its own, and keeps
// to [MQTT-4.3.3-1] and [MQTT-4.4.0-1] whatever happens to its connection.
type exact struct {
	h     *house
	five  bool
	conn  net.Conn
	in    *bufio.Reader
	sent  int            // messages that were given an identifier
	ids   map[uint16]int // message by identifier, of those that are not complete
	rec   map[uint16]bool
	begun bool // something was answered: from then on the session is there
}

func (c *exact) write(p packets3.ControlPacket) error { return p.Write(c.conn) }

func packet3[P packets3.ControlPacket](kind byte) P {
	p, ok := packets3.NewControlPacket(kind).(P)
	if !ok {
		panic("the codec has no such packet")
	}
	return p
}

// connect connects and goes on with what is not complete.
func (c *exact) connect(address string) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	c.h.check(conn.SetDeadline(time.Now().Add(time.Minute)))
	c.conn, c.in = conn, bufio.NewReader(conn)
	present, err := c.introduce()
	if err != nil {
		return err
	}
	if c.begun && !present {
		c.h.t.Fatal("the session is said to be gone")
	}
	for id := range uint16(8) {
		if c.rec[id] {
			err = errors.Join(err, c.release(id))
		} else if _, open := c.ids[id]; open {
			err = errors.Join(err, c.publish(id, true))
		}
	}
	return err
}

// introduce says who it is, and returns whether its session is there.
func (c *exact) introduce() (present bool, err error) {
	if c.five {
		minute := uint32(60)
		err := c.write5(&packets5.Connect{
			ProtocolName: "MQTT", ProtocolVersion: 5, ClientID: "exact", KeepAlive: 60, Properties: &packets5.Properties{SessionExpiryInterval: &minute},
			UsernameFlag: true, Username: "crane-1", PasswordFlag: true, Password: []byte(enrolmentKey),
		})
		if err != nil {
			return false, err
		}
		got, err := packets5.ReadPacket(c.in)
		if err != nil {
			return false, err
		}
		if ack, ok := got.Content.(*packets5.Connack); ok && ack.ReasonCode == 0 {
			return ack.SessionPresent, nil
		}
		return false, fmt.Errorf("answered %s", got)
	}
	p := packet3[*packets3.ConnectPacket](packets3.Connect)
	p.ProtocolName, p.ProtocolVersion, p.ClientIdentifier, p.Keepalive = "MQTT", 4, "exact", 60
	p.UsernameFlag, p.Username, p.PasswordFlag, p.Password = true, "crane-1", true, []byte(enrolmentKey)
	if err := c.write(p); err != nil {
		return false, err
	}
	got, err := packets3.ReadPacket(c.in)
	if err != nil {
		return false, err
	}
	if ack, ok := got.(*packets3.ConnackPacket); ok && ack.ReturnCode == 0 {
		return ack.SessionPresent, nil
	}
	return false, fmt.Errorf("answered %s", got)
}

func (c *exact) write5(p io.WriterTo) error {
	_, err := p.WriteTo(c.conn)
	return err
}

func (c *exact) publish(id uint16, again bool) error {
	topic := fmt.Sprintf("readings/crane-1/s%d", c.ids[id])
	if c.five {
		return c.write5(&packets5.Publish{Topic: topic, QoS: 2, PacketID: id, Payload: []byte("1"), Duplicate: again, Properties: &packets5.Properties{}})
	}
	p := packet3[*packets3.PublishPacket](packets3.Publish)
	p.TopicName, p.Qos, p.MessageID, p.Payload, p.Dup = topic, 2, id, []byte("1"), again
	return c.write(p)
}

func (c *exact) release(id uint16) error {
	p := packet3[*packets3.PubrelPacket](packets3.Pubrel)
	p.MessageID = id
	return c.write(p)
}

// next sends the next message if an identifier is free for it. The lowest are used again at once.
func (c *exact) next() error {
	for id := uint16(1); id < 5; id++ {
		if _, open := c.ids[id]; !open {
			c.ids[id] = c.sent
			c.sent++
			return c.publish(id, false)
		}
	}
	return nil
}

// answer reads an answer: a PUBREC, else a PUBCOMP, that succeeds. In 5 it has four bytes then, too.
func (c *exact) answer() (id uint16, received bool, err error) {
	var p [4]byte
	if _, err := io.ReadFull(c.in, p[:]); err != nil {
		return 0, false, err
	}
	c.begun = true
	if p[0]>>4 != packets3.Pubrec && p[0]>>4 != packets3.Pubcomp || p[1] != 2 {
		return 0, false, fmt.Errorf("answered %x", p)
	}
	return binary.BigEndian.Uint16(p[2:]), p[0]>>4 == packets3.Pubrec, nil
}

// read reads an answer and goes on.
func (c *exact) read() error {
	id, received, err := c.answer()
	if err != nil {
		return err
	}
	if !received {
		delete(c.rec, id)
		delete(c.ids, id)
		return nil
	}
	if _, open := c.ids[id]; !open {
		return nil
	}
	c.rec[id] = true
	return c.release(id)
}

func newExact(h *house, five bool) *exact {
	return &exact{h: h, five: five, ids: map[uint16]int{}, rec: map[uint16]bool{}}
}

// TestQoS2SurvivesAKillBetweenPubrecAndPubrel: the identifier is known after the restart, whether what it came with is in
// the keyspace meanwhile or not.
func TestQoS2SurvivesAKillBetweenPubrecAndPubrel(t *testing.T) {
	for name, five := range versions {
		t.Run(name, func(t *testing.T) { testKillBetweenPubrecAndPubrel(t, five) })
	}
}

// versions are those of MQTT; whether each is 5.
var versions = map[string]bool{"3.1.1": false, "5": true}

func testKillBetweenPubrecAndPubrel(t *testing.T, five bool) {
	w := newCrashWorld(t)
	c := newExact(w.house, five)
	check := w.house.check
	p := w.begin(nil)
	check(c.connect(p.address))
	check(c.next())
	if _, received, err := c.answer(); err != nil || !received {
		t.Fatalf("there is no PUBREC: %v", err)
	}
	// The PUBREC is taken for lost.
	for _, end := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM, syscall.SIGKILL} {
		if end == syscall.SIGTERM { // what was written last is not the session: the log is trimmed up to it alone
			before := w.house.logEnd()
			_ = c.conn.Close()
			w.house.until("the end of the connection is in the log", func() bool { return w.house.logEnd() > before })
			w.address = p.address
			w.put("other", 1, 3, w.start)
			w.hangUp()
		}
		_ = p.cmd.Process.Signal(end)
		_ = p.cmd.Wait()
		_ = c.conn.Close()
		p = w.begin(nil)
		check(c.connect(p.address)) // and publishes again
		if id, received, err := c.answer(); err != nil || !received || id != 1 {
			t.Fatalf("answered for %d, received %v, %v", id, received, err)
		}
		if n := w.house.readings(true); n != 1 {
			t.Fatalf("%d readings, want 1", n)
		}
	}
	check(c.release(1))
	check(c.read())
	die(p.cmd.Process.Pid) // directly after the PUBCOMP
	_ = p.cmd.Wait()
	p = w.begin(nil)
	check(c.connect(p.address))
	check(c.next()) // the same identifier is another message
	for len(c.ids) > 0 {
		check(c.read())
	}
	if n := w.house.readings(true); n != 2 {
		t.Errorf("%d readings, want 2", n)
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	_ = p.cmd.Wait()
	_ = c.conn.Close()
}

// TestQoS2IsStoredOnceWhateverHappens cuts connections, kills and restarts at random; every message is stored once in the
// end, though each gets a time only where it arrives.
func TestQoS2IsStoredOnceWhateverHappens(t *testing.T) {
	for name, five := range versions {
		t.Run(name, func(t *testing.T) { testStoredOnceWhateverHappens(t, five) })
	}
}

func testStoredOnceWhateverHappens(t *testing.T, five bool) {
	rounds, messages := 4, 200
	if testing.Short() {
		rounds, messages = 2, 60
	}
	w := newCrashWorld(t)
	c := newExact(w.house, five)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	p := w.begin(nil)
	restart := func(end syscall.Signal) {
		_ = p.cmd.Process.Signal(end)
		_ = p.cmd.Wait()
		p = w.begin(nil)
		if p.address == "" {
			t.Fatalf("an instance does not start:\n%s", p.errs.String())
		}
	}
	wrong := func(err error) bool {
		return err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, net.ErrClosed) &&
			!errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) && !strings.Contains(err.Error(), "refused")
	}
	err := io.EOF // there is no connection yet
	for killed := 0; c.sent < messages || len(c.ids) > 0; {
		if wrong(err) {
			t.Fatal(err)
		}
		if err != nil {
			if c.conn != nil {
				_ = c.conn.Close()
			}
			if err = c.connect(p.address); err != nil {
				continue
			}
		}
		switch n := random.IntN(40); {
		case n == 0:
			_ = c.conn.Close() // whatever is on its way
			err = net.ErrClosed
		case n == 1 && killed < rounds && c.sent > killed*messages/rounds:
			killed++
			restart(map[bool]syscall.Signal{true: syscall.SIGTERM, false: syscall.SIGKILL}[killed%3 == 0])
			err = io.EOF
		case n < 20 && c.sent < messages:
			err = c.next()
		case len(c.ids) > 0:
			err = c.read()
		}
	}
	if got := w.house.readings(true); got != messages {
		t.Errorf("%d readings of %d messages", got, messages)
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	_ = p.cmd.Wait()
	_ = c.conn.Close()
	if got := w.house.readings(false); got != messages {
		t.Errorf("%d readings of %d messages are in the keyspace", got, messages)
	}
}

// logEnd returns the sequence of the log's last message.
func (h *house) logEnd() uint64 {
	h.t.Helper()
	log, err := h.provisioner.OpenLog(h.t.Context())
	h.check(err)
	state, err := log.State(h.t.Context())
	h.check(err)
	return state.Last
}

// TestSessionPresentTellsTheTruthAfterARestart, of MQTT 5: a session is there with what it has subscribed to, unless it was
// ended, replaced, or its time is over.
func TestSessionPresentTellsTheTruthAfterARestart(t *testing.T) {
	h := newHouse(t, bus.LogOptions{})
	var ahead atomic.Int64
	h.options.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	i := h.start()
	minute := uint32(60)
	var conn net.Conn
	write := func(p io.WriterTo) {
		t.Helper()
		_, err := p.WriteTo(conn)
		h.check(err)
	}
	read := func() any {
		t.Helper()
		got, err := packets5.ReadPacket(conn)
		h.check(err)
		return got.Content
	}
	connect := func(clean, present bool) {
		t.Helper()
		var err error
		conn, err = net.Dial("tcp", i.Addr().String())
		h.check(err)
		h.check(conn.SetDeadline(time.Now().Add(time.Minute)))
		write(&packets5.Connect{
			ProtocolName: "MQTT", ProtocolVersion: 5, ClientID: "c", CleanStart: clean, Properties: &packets5.Properties{SessionExpiryInterval: &minute},
			UsernameFlag: true, Username: "crane-1", PasswordFlag: true, Password: []byte(enrolmentKey),
		})
		if ack, ok := read().(*packets5.Connack); !ok || ack.ReasonCode != 0 || ack.SessionPresent != present {
			t.Fatalf("answered %+v, want a session that is present: %v", ack, present)
		}
	}
	subscribed := func(code byte) {
		t.Helper()
		write(&packets5.Unsubscribe{PacketID: 2, Topics: []string{"commands/crane-1/#"}, Properties: &packets5.Properties{}})
		if ack, ok := read().(*packets5.Unsuback); !ok || ack.Reasons[0] != code {
			t.Fatalf("unsubscribing is answered %+v, want %#x", ack, code)
		}
	}
	subscribe := func() {
		t.Helper()
		write(&packets5.Subscribe{PacketID: 1, Subscriptions: []packets5.SubOptions{{Topic: "commands/crane-1/#"}}, Properties: &packets5.Properties{}})
		if ack, ok := read().(*packets5.Suback); !ok || ack.Reasons[0] != 0 {
			t.Fatalf("subscribing is answered %+v", ack)
		}
	}
	restart := func(after time.Duration) {
		t.Helper()
		go func(c net.Conn) { _, _ = io.Copy(io.Discard, c); _ = c.Close() }(conn)
		h.stop(i)
		ahead.Add(int64(after))
		i = h.start()
	}
	connect(false, false)
	subscribe()
	restart(0)
	connect(false, true)
	subscribed(0)
	subscribe()
	_ = conn.Close()
	connect(true, false) // another session, in place of that
	restart(0)
	connect(false, true)
	subscribed(0x11)
	restart(2 * time.Minute)
	connect(false, false)
	var none uint32
	write(&packets5.Disconnect{Properties: &packets5.Properties{SessionExpiryInterval: &none}})
	_, _ = io.Copy(io.Discard, conn)
	restart(0)
	connect(false, false)
	h.stop(i)
	_ = conn.Close()
}
