package mqtt

import (
	"crypto/rand"
	"time"

	"berth/ingest/gate/intake"
	"berth/ingest/gate/mqtt/packet"
	"berth/schema"
)

const (
	// maxConnect is the longest CONNECT, in bytes: what a stranger can have us keep.
	maxConnect = intake.SmallBuffer
	// maxClientID is the longest client identifier, in bytes; [MQTT-3.1.3-5] asks for 23.
	maxClientID = 256
	// receiveMaximum is how many messages of QoS 1 and 2 a client of MQTT 5 may have unanswered.
	receiveMaximum = 512
	// aliasMaximum is how many topic aliases a client of MQTT 5 may use.
	aliasMaximum = 10
)

// connect reads the CONNECT, authenticates the sender and accepts the connection.
func (s *connection) connect(in *intake.Input) error {
	s.SetDeadline(s.Conn.Deadline)
	c, err := s.readConnect(in)
	if err != nil {
		return err
	}
	if s.version = c.Version; s.version != packet.V5 {
		s.version = packet.V311
	}
	if c.MaximumSize > 0 || c.NoReasons {
		s.options = &options{maximumSize: c.MaximumSize, noReasons: c.NoReasons}
	}
	if c.AuthMethod != "" {
		return &packet.Error{Code: packet.BadAuthentication, Text: "there are no authentication methods here"} // [MQTT5-4.12.0-1]
	}
	assigned, err := checkClientID(c)
	if err != nil {
		return err
	}
	if err := s.authenticate(c); err != nil {
		return err
	}
	return s.accept(c, assigned)
}

// readConnect reads the CONNECT, which must come in time and be small.
func (s *connection) readConnect(in *intake.Input) (*packet.Connect, error) {
	for {
		data := in.Data()
		h, err := packet.ParseHeader(data)
		if err != nil {
			return nil, err
		}
		if level := packet.LevelOf(data); level != 0 {
			s.version = formOf(level) // in which it is refused
		}
		switch {
		case h.Size > 0 && h.Whole() > maxConnect && len(data) >= intake.FirstBytes:
			return nil, &packet.Error{Code: packet.TooLarge, Text: "a CONNECT is longer than 4096 bytes"}
		case h.Size > 0 && len(data) >= h.Whole():
			c, err := packet.ReadConnect(data[h.Size:h.Whole()])
			in.Consume(h.Whole())
			if err == nil && c.Version == packet.V5 && !h.Shortest() {
				err = errLength
			}
			return c, err
		}
		if err := in.Read(maxConnect); err != nil {
			return nil, err
		}
	}
}

// checkClientID checks the client identifier, and makes one if there is none [MQTT-3.1.3-6].
func checkClientID(c *packet.Connect) (assigned string, err error) {
	switch {
	case len(c.ClientID) > maxClientID:
		return "", &packet.Error{Code: packet.InvalidClientID, Text: "a client identifier is longer than 256 bytes"} // [MQTT-3.1.3-9] [MQTT5-3.1.3-8]
	case c.ClientID != "":
		return "", nil
	case c.Version != packet.V5 && !c.Clean:
		return "", &packet.Error{Code: packet.InvalidClientID, Text: "a session that is kept needs a client identifier"} // [MQTT-3.1.3-8]
	}
	c.ClientID = "auto-" + rand.Text()
	return c.ClientID, nil // [MQTT5-3.1.3-7] [MQTT5-3.2.2-16]
}

// authenticate finds out who shows which key.
func (s *connection) authenticate(c *packet.Connect) error {
	user, key := c.User, string(c.Password)
	cert := s.Conn.Certificate
	if c.HasUser && !c.HasPassword && (cert == nil || user != "" && user != cert.Gateway) {
		user, key = "", c.User // as ThingsBoard's devices show their token
	}
	return s.Authenticate(user, key)
}

// accept takes the client up and says so.
func (s *connection) accept(c *packet.Connect, assigned string) error {
	if full := s.In.Full(); full != nil && s.version != packet.V5 {
		return schema.Errorf(schema.Unavailable, "%s", full.Shown()) // its messages could only be closed upon
	}
	a := packet.Accepted{
		AssignedID: assigned, ReceiveMaximum: receiveMaximum, AliasMaximum: aliasMaximum, MaximumSize: maxPacket,
	}
	s.expiry = expiryOf(c)
	if a.HasExpiry = s.version == packet.V5 && s.expiry != seconds(c.ExpirySecs); a.HasExpiry {
		a.ExpirySecs = uint32(s.expiry / time.Second)
	}
	a.KeepAlive = s.setSilence(c.KeepAlive)
	var old *state
	s.state, old, a.SessionPresent = s.l.sessions.enter(s, s.ID.Gateway+"\x00"+c.ClientID, c.Clean)
	if !s.state.await(takeOverWait) {
		return errBehind
	}
	if err := s.Admit(); err != nil {
		return err
	}
	if s.resumed = a.SessionPresent; !s.resumed || !s.keeps() {
		if err := s.replace(old); err != nil {
			return err
		}
	}
	answer := packet.AppendConnack(nil, s.version, &a)
	if !s.takes(len(answer)) {
		return errAnswer
	}
	if err := s.Recheck(); err != nil {
		return err
	}
	s.l.sessions.accept(s)
	s.will, s.willed = c.Will, c.Will != nil
	s.Say(func(out []byte) []byte { return append(out, answer...) }) // [MQTT-3.2.0-1]
	return s.greet()
}

// expiryOf returns for how long a session is to be kept after its connection.
func expiryOf(c *packet.Connect) time.Duration {
	switch {
	case c.Version == packet.V5:
		return min(seconds(c.ExpirySecs), maxExpiry)
	case c.Clean:
		return 0
	default:
		return maxExpiry // [MQTT-3.1.2-4]
	}
}

func seconds(n uint32) time.Duration { return time.Duration(n) * time.Second }

// setSilence sets how long nothing may come, and returns the keep-alive that a client of MQTT 5 is told to use instead of
// its own, 0 if that holds.
func (s *connection) setSilence(keepAlive uint16) (instead uint16) {
	most := min(s.In.Limits.Idle*2/3, 0xffff*time.Second)
	asked := time.Duration(keepAlive) * time.Second
	if asked == 0 || asked > most {
		asked = most
		if s.version == packet.V5 {
			instead = uint16(max(most/time.Second, 1)) // [MQTT5-3.2.2-21] [MQTT5-3.1.2-21]
		}
	}
	s.silence = asked * 3 / 2 // [MQTT-3.1.2-24] [MQTT5-3.1.2-22]
	return instead
}
