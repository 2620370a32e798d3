package coap

import (
	"errors"
	"hash/maphash"
	"net"
	"net/netip"
	"sync"
	"syscall"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"berth/ingest/gate/coap/dtls"
	"berth/ingest/gate/coap/packet"
)

const (
	// maxDatagram is the longest datagram that is read. RFC 7252 §4.6 would have no more than 1152 bytes sent; what is longer
	// than this is to be sent in blocks.
	maxDatagram = 8 << 10
	// together is how many datagrams are read, and written, in one call.
	together = 16
	// maxOut is how many answers may wait to be written. More are lost, as datagrams are: who is not answered asks again.
	maxOut = 8 << 10
	// receiveBuffer is what the system is asked to keep until it is read, in bytes.
	receiveBuffer = 4 << 20
)

// batches are what reads and writes many datagrams in one call.
type batches interface {
	ReadBatch(ms []ipv4.Message, flags int) (int, error)
	WriteBatch(ms []ipv4.Message, flags int) (int, error)
}

var (
	_ batches = (*ipv4.PacketConn)(nil)
	_ batches = (*ipv6.PacketConn)(nil)
)

// socket is the UDP socket. Where it is bound to no address, answers leave from the one that was asked.
type socket struct {
	conn *net.UDPConn
	many batches
	any  bool // it is bound to no address
	in   []ipv4.Message
}

func newSocket(c *net.UDPConn) (*socket, error) {
	s := &socket{conn: c, in: make([]ipv4.Message, together)}
	_ = c.SetReadBuffer(receiveBuffer) // as much as the system allows
	address, ok := c.LocalAddr().(*net.UDPAddr)
	if !ok {
		return nil, errors.New("it is no UDP socket")
	}
	s.any = address.IP.IsUnspecified()
	var err error
	if address.IP.To4() != nil {
		p := ipv4.NewPacketConn(c)
		s.many = p
		if s.any {
			err = p.SetControlMessage(ipv4.FlagDst|ipv4.FlagInterface, true)
		}
	} else {
		p := ipv6.NewPacketConn(c)
		s.many = p
		if s.any {
			err = p.SetControlMessage(ipv6.FlagDst|ipv6.FlagInterface, true)
		}
	}
	if err != nil {
		return nil, err
	}
	memory := make([]byte, together*maxDatagram)
	for i := range s.in {
		s.in[i].Buffers = [][]byte{memory[i*maxDatagram : (i+1)*maxDatagram]}
		if s.any {
			s.in[i].OOB = make([]byte, 64)
		}
	}
	return s, nil
}

// read waits for datagrams and returns how many there are.
func (s *socket) read() (int, error) { return s.many.ReadBatch(s.in, 0) }

// datagram returns a datagram that was read, good until the next read, and who sent it; false when it was cut off.
func (s *socket) datagram(i int) (data []byte, from *peer, whole bool) {
	m := &s.in[i]
	p := &peer{}
	p.addr, _ = m.Addr.(*net.UDPAddr)
	if s.any && m.NN > 0 {
		p.route = append([]byte(nil), m.OOB[:m.NN]...)
		p.group = isGroup(p.route, p.addr)
	}
	return m.Buffers[0][:m.N], p, m.Flags&syscall.MSG_TRUNC == 0
}

// isGroup reports whether a datagram was sent to many (RFC 7252 §8).
func isGroup(route []byte, from *net.UDPAddr) bool {
	var four ipv4.ControlMessage
	if four.Parse(route) == nil && four.Dst != nil {
		return four.Dst.IsMulticast() || four.Dst.Equal(net.IPv4bcast)
	}
	var six ipv6.ControlMessage
	if from != nil && six.Parse(route) == nil && six.Dst != nil {
		return six.Dst.IsMulticast()
	}
	return false
}

// peer is where a datagram is from and an answer goes to.
type peer struct {
	addr  *net.UDPAddr
	route []byte // as the system says by which address it came, where there are several
	group bool   // it was sent to many

	session *dtls.Session // within which it came; nil: in clear
}

// hash adds what tells peers apart.
func (p *peer) hash(h *maphash.Hash) {
	if p.session != nil { // wherever it is from
		maphash.WriteComparable(h, p.session.Number)
		return
	}
	a := p.address()
	ip := a.Addr().As16()
	_, _ = h.Write(ip[:]) // it never returns an error
	_, _ = h.WriteString(a.Addr().Zone())
	_, _ = h.Write([]byte{byte(a.Port()), byte(a.Port() >> 8)})
}

// is reports whether both are the same.
func (p *peer) is(other *peer) bool {
	return p.session == other.session && (p.session != nil || p.address() == other.address())
}

// address returns where the peer is.
func (p *peer) address() netip.AddrPort {
	if p.addr == nil {
		return netip.AddrPort{}
	}
	a := p.addr.AddrPort()
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// outbox are the answers that wait to be written. It is for concurrent use.
type outbox struct {
	mu     sync.Mutex // guards what follows
	wake   sync.Cond  // signaled when there is something, or it is closed
	data   []byte
	items  []item
	closed bool
}

// item is an answer in an outbox.
type item struct {
	to         *peer
	begin, end int
}

func (o *outbox) begin() { o.wake.L = &o.mu }

// put adds an answer of at most so many bytes.
func (o *outbox) put(to *peer, a *packet.Answer, most int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.items) >= maxOut {
		return
	}
	from := len(o.data)
	if to.session == nil {
		o.data = packet.Append(o.data, a, most)
	} else {
		var err error
		if o.data, err = to.session.Seal(o.data, packet.Append(nil, a, most)); err != nil {
			return // the session is used up
		}
	}
	o.items = append(o.items, item{to, from, len(o.data)})
}

// putRaw adds a datagram as it is.
func (o *outbox) putRaw(to *peer, data []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.items) >= maxOut {
		return
	}
	from := len(o.data)
	o.data = append(o.data, data...)
	o.items = append(o.items, item{to, from, len(o.data)})
}

// flush has what was put written.
func (o *outbox) flush() {
	o.mu.Lock()
	if len(o.items) > 0 {
		o.wake.Signal()
	}
	o.mu.Unlock()
}

// close has what is left written, and ends writeAll.
func (o *outbox) close() {
	o.mu.Lock()
	o.closed = true
	o.wake.Signal()
	o.mu.Unlock()
}

// writeAll writes answers until the outbox is closed and empty.
func (o *outbox) writeAll(s *socket) {
	var data []byte
	var items []item
	ms := make([]ipv4.Message, together)
	for i := range ms {
		ms[i].Buffers = make([][]byte, 1)
	}
	for {
		o.mu.Lock()
		for len(o.items) == 0 && !o.closed {
			o.wake.Wait()
		}
		if len(o.items) == 0 {
			o.mu.Unlock()
			return
		}
		data, o.data = o.data, data[:0]
		items, o.items = o.items, items[:0]
		o.mu.Unlock()
		for rest := items; len(rest) > 0; {
			n := min(len(rest), together)
			s.write(ms[:n], rest[:n], data)
			rest = rest[n:]
		}
		clear(items)
		if cap(data) > maxSpare { // a burst is over
			data, items = nil, nil
		}
	}
}

// maxSpare is how many bytes of room for answers are kept from one time to the next.
const maxSpare = 64 << 10

// write writes some answers. One that cannot be written is lost, as datagrams are.
func (s *socket) write(ms []ipv4.Message, items []item, data []byte) {
	for i, it := range items {
		ms[i].Buffers[0], ms[i].Addr, ms[i].OOB = data[it.begin:it.end], it.to.addr, it.to.route
	}
	for len(ms) > 0 {
		n, err := s.many.WriteBatch(ms, 0)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		ms = ms[max(n, 1):]
	}
}
