package batch

import (
	"encoding/binary"
	"slices"
)

// Bounds of a session, which a message holds whole.
const (
	// MaxSessionKey is the longest key of a session, in bytes.
	MaxSessionKey = 1 << 10
	// MaxReceived is the most messages of QoS 2 that a session may have received and not released.
	MaxReceived = 4096
	// MaxFilters is the most topic filters that a session may have subscribed to.
	MaxFilters = 16
	// MaxFilter is the longest of these, in bytes.
	MaxFilter = 1 << 10
)

// The fewest bytes that a session, and a filter, take.
const (
	leastSession = 1 + 8 + 1 + 1 + 1
	leastFilter  = 1 + 1
)

// Session is what has to be known of a client of MQTT beyond its connection, also after a restart. The message that holds
// what was received says so itself: the one is never in the log without the other. A session in a later message replaces
// the one with the same key.
type Session struct {
	Key      string   // whose it is
	Left     int64    // when its last connection ended, nanoseconds; 0: it has one
	Expiry   uint32   // for how many seconds it is kept after that; 0: it has ended
	Received []uint16 // identifiers of messages of QoS 2 that are not released, ascending
	Filters  []Filter // what it has subscribed to
}

// Filter is a subscription of a session.
type Filter struct {
	Name string
	QoS  byte
}

// Size returns how many bytes a session takes in a message at most.
func (s *Session) Size() int {
	size := leastSession + 6 + len(s.Key) + 3*len(s.Received)
	for _, f := range s.Filters {
		size += leastFilter + 1 + len(f.Name)
	}
	return size
}

func appendSessions(dst []byte, h *Header) []byte {
	dst = binary.AppendUvarint(dst, h.SessionsFrom)
	dst = binary.AppendUvarint(dst, uint64(len(h.Sessions)))
	for i := range h.Sessions {
		s := &h.Sessions[i]
		dst = binary.LittleEndian.AppendUint64(appendText(dst, s.Key), uint64(s.Left))
		dst = binary.AppendUvarint(dst, uint64(s.Expiry))
		dst = binary.AppendUvarint(dst, uint64(len(s.Received)))
		before := uint16(0)
		for _, id := range s.Received {
			dst = binary.AppendUvarint(dst, uint64(id-before))
			before = id
		}
		dst = binary.AppendUvarint(dst, uint64(len(s.Filters)))
		for _, f := range s.Filters {
			dst = append(appendText(dst, f.Name), f.QoS)
		}
	}
	return dst
}

func (d *decoder) sessions(h *Header) {
	h.SessionsFrom = d.uvarint()
	n := d.number(leastSession)
	h.Sessions = slices.Grow(h.Sessions, n)
	for range n {
		s := Session{Key: string(d.bounded(MaxSessionKey))}
		if b := d.take(8); b != nil {
			s.Left = int64(binary.LittleEndian.Uint64(b))
		}
		expiry := d.uvarint()
		if s.Expiry = uint32(expiry); uint64(s.Expiry) != expiry {
			d.fail("a session that lasts too long")
		}
		s.Received = d.received()
		filters := d.number(leastFilter)
		if filters > MaxFilters {
			d.fail("too many filters")
		}
		for range filters {
			f := Filter{Name: string(d.bounded(MaxFilter))}
			if b := d.take(1); b != nil {
				f.QoS = b[0]
			}
			s.Filters = append(s.Filters, f)
		}
		if d.err != nil {
			return
		}
		h.Sessions = append(h.Sessions, s)
	}
}

// received reads the identifiers of a session.
func (d *decoder) received() (ids []uint16) {
	n := d.number(1)
	if n > MaxReceived {
		d.fail("too many messages that are not released")
		return nil
	}
	id := uint64(0)
	for i := range n {
		step := d.uvarint()
		if id += step; step > 0xffff || id > 0xffff || step == 0 && i > 0 {
			d.fail("identifiers that do not ascend")
			return nil
		}
		ids = append(ids, uint16(id))
	}
	return ids
}

// bounded reads a text of at most so many bytes.
func (d *decoder) bounded(most int) []byte {
	text := d.text()
	if len(text) > most {
		d.fail("a text too long")
		return nil
	}
	return text
}
