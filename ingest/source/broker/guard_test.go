package broker

import (
	"bytes"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// wire is a connection of which only the reading matters.
type wire struct {
	net.Conn
	in io.Reader
}

func (w wire) Read(p []byte) (int, error)       { return w.in.Read(p) }
func (w wire) SetWriteDeadline(time.Time) error { return nil }
func (w wire) Close() error                     { return nil }

// seen returns what the client reads of bytes that a broker sends, and why it ends.
func seen(sent []byte) (read []byte, why error) {
	g := newGuard(wire{in: bytes.NewReader(sent)}, func(err error) { why = err })
	read, _ = io.ReadAll(g)
	return read, why
}

// packet returns a packet with a body.
func packet(first byte, body []byte) []byte {
	p := []byte{first}
	for n := len(body); ; {
		b := byte(n & 0x7f)
		if n >>= 7; n > 0 {
			b |= 0x80
		}
		p = append(p, b)
		if n == 0 {
			return append(p, body...)
		}
	}
}

func publishOf(topic string, size int) []byte {
	body := append([]byte{byte(len(topic) >> 8), byte(len(topic))}, topic...)
	return packet(0x32, append(append(body, 0, 7), make([]byte, size)...))
}

func TestWhatIsShortIsSeenAsItIs(t *testing.T) {
	var sent []byte
	for _, size := range []int{0, 1, 100, 127, 128, 16383, 16384, MaxPayload} {
		sent = append(sent, publishOf("plant/a", size)...)
		sent = append(sent, packet(0xd0, nil)...)
		sent = append(sent, packet(0x90, []byte{0, 1, 1})...)
	}
	if got, why := seen(sent); !bytes.Equal(got, sent) || !errors.Is(why, io.EOF) {
		t.Errorf("%d of %d bytes are seen, %v", len(got), len(sent), why)
	}
}

// TestOfWhatIsTooLongTheClientSeesTheBeginning: enough of it to be refused as too long, whatever its topic, and what comes behind
// it whole.
func TestOfWhatIsTooLongTheClientSeesTheBeginning(t *testing.T) {
	for _, topic := range []string{"a", strings.Repeat("a", 0xffff)} {
		sent := slices.Concat(publishOf(topic, 20*MaxPayload), publishOf("b", 3))
		got, _ := seen(sent)
		in := bytes.NewReader(got)
		for i, want := range []struct {
			topic string
			least int
		}{{topic, MaxPayload + 1}, {"b", 3}} {
			p, err := packets.ReadPacket(in)
			if err != nil {
				t.Fatal(err)
			}
			message, ok := p.(*packets.PublishPacket)
			if !ok || message.TopicName != want.topic || len(message.Payload) < want.least || len(message.Payload) > maxBody || message.MessageID != 7 {
				t.Errorf("packet %d is seen as %.60s", i, p)
			}
		}
		if in.Len() > 0 {
			t.Errorf("%d bytes more are seen", in.Len())
		}
	}
}

func TestWhatABrokerMayNotSendEndsTheConnection(t *testing.T) {
	for name, sent := range map[string][]byte{
		"two codes for one subscription": packet(0x90, []byte{0, 1, 1, 1}),
		"no code":                        packet(0x90, []byte{0, 1}),
		"a long packet":                  packet(0x40, make([]byte, maxOther+1)),
		"a length without an end":        {0x30, 0xff, 0xff, 0xff, 0xff, 0x01},
	} {
		if got, why := seen(sent); len(got) > 0 || why == nil || errors.Is(why, io.EOF) {
			t.Errorf("%s: %d bytes are seen, %v", name, len(got), why)
		}
	}
}

// FuzzGuard: whatever a broker sends, the client sees packets that are no longer than they may be, and no more than was sent.
func FuzzGuard(f *testing.F) {
	f.Add(publishOf("a", 3))
	f.Add(slices.Concat(packet(0x20, []byte{0, 0}), packet(0x90, []byte{0, 1, 0x80})))
	f.Add(packet(0x90, []byte{0, 1, 1, 1}))
	f.Add([]byte{0x30, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Fuzz(func(t *testing.T, sent []byte) {
		got, why := seen(sent)
		if why == nil {
			t.Fatal("it does not end")
		}
		if len(got) > len(sent) {
			t.Fatalf("%d bytes are seen of %d", len(got), len(sent))
		}
		in := bytes.NewReader(got)
		for in.Len() > 0 {
			if _, err := in.ReadByte(); err != nil {
				t.Fatal(err)
			}
			length := 0
			for shift := 0; in.Len() > 0; shift += 7 {
				b, _ := in.ReadByte()
				length |= int(b&0x7f) << shift
				if b < 0x80 {
					break
				}
			}
			if length > maxBody {
				t.Fatalf("a packet of %d bytes is seen", length)
			}
			if _, err := in.Seek(int64(min(length, in.Len())), io.SeekCurrent); err != nil {
				t.Fatal(err)
			}
		}
	})
}
