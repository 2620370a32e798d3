package promises

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/plgd-dev/go-coap/v3/message"
	"github.com/plgd-dev/go-coap/v3/message/codes"
	"github.com/plgd-dev/go-coap/v3/udp/coder"

	"berth/internal/gateways"
	"berth/internal/houseapi"
)

// shake opens a session of DTLS with a pre-shared key.
func (s *senders) shake(identity, key string) (net.Conn, error) {
	s.Helper()
	c, err := gateways.DialDTLS(s.ctx, s.provider.Address(), identity, key)
	if err == nil {
		s.Cleanup(func() { _ = c.Close() })
	}
	return c, err
}

// posts sends a reading of gateway g within a session, and expects 2.04.
func (s *senders) posts(c net.Conn, id int32) {
	s.Helper()
	m := message.Message{Type: message.Confirmable, Code: codes.POST, MessageID: id, Token: message.Token("t"), Payload: []byte("m v=1")}
	for _, part := range []string{"readings", "g"} {
		m.Options = m.Options.Add(message.Option{ID: message.URIPath, Value: []byte(part)})
	}
	buf := make([]byte, 1024)
	n, err := coder.DefaultCoder.Encode(m, buf)
	if err == nil {
		_, err = c.Write(buf[:n])
	}
	if err != nil {
		s.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(recovery))
	if n, err = c.Read(buf); err != nil || n < 4 || codes.Code(buf[1]) != codes.Changed || buf[3] != byte(id) {
		s.Fatalf("answered %x, %v", buf[:n], err)
	}
}

// endsWithin waits until a session is ended by the port.
func (s *senders) endsWithin(c net.Conn, which string) {
	s.Helper()
	_ = c.SetReadDeadline(time.Now().Add(ended))
	if _, err := c.Read(make([]byte, 100)); err == nil || strings.Contains(err.Error(), "timeout") {
		s.Errorf("the session %s goes on: %v", which, err)
	}
}

// TestAPreSharedKeyIsReplacedWithoutAPause gives a gateway a new key while its session by the old one goes on; then one until the
// next is used; then the key is revoked: sessions end within seconds.
func TestAPreSharedKeyIsReplacedWithoutAPause(t *testing.T) {
	t.Parallel()
	s := newSenders(t)
	old := s.run("gateway", "add", "provider1", "g", "--psk")
	in := func(key string) net.Conn {
		t.Helper()
		c, err := s.shake("g", key)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	first := in(old)
	s.posts(first, 1)
	next := s.run("gateway", "rotate", "provider1", "g")
	s.posts(first, 2)
	s.posts(in(old), 1)
	second := in(next)
	s.posts(second, 1)
	s.gateway("g", func(g *houseapi.Gateway) bool { return g.Used != nil && g.Previous != nil && g.Clear == nil })
	last := s.run("gateway", "rotate", "provider1", "g", "--until-used")
	s.endsWithin(first, "of a key that was replaced twice")
	s.posts(second, 2)
	third := in(last)
	s.posts(third, 1)
	s.endsWithin(second, "of a key that was replaced until the next was used")
	s.run("gateway", "revoke", "provider1", "g")
	s.endsWithin(third, "of a key that was revoked")
	for _, key := range []string{old, next, last} {
		if _, err := s.shake("g", key); err == nil {
			t.Error("a session is opened after the end")
		}
	}
}
