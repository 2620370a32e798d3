package gate

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/ipv4"
)

// BenchmarkCoAP is confirmable CoAP end to end: UDP, decoding, batches, a log on disk, the answer; with the senders on the same
// machine, which write and read many datagrams in a call. An op is a message. Beside it BenchmarkMQTT has QoS 1 and mosquitto.
func BenchmarkCoAP(b *testing.B) {
	for _, k := range []struct{ senders, window, readings int }{{1, 100, 1}, {50, 20, 1}, {50, 20, 50}, {1000, 1, 1}} {
		b.Run(fmt.Sprintf("readings=%d/senders=%d/window=%d", k.readings, k.senders, k.window), func(b *testing.B) {
			f := start(b, realLog(b))
			text, readings := payload(k.readings)
			each := (b.N + k.senders - 1) / k.senders
			var wg sync.WaitGroup
			b.ResetTimer()
			for i := range k.senders {
				c := f.dialCoAP(b)
				a := to(fmt.Sprintf("gateway%d", i), enrolmentKey, text)
				a.token = "four"
				data := c.bytes(&a)
				wg.Go(func() {
					if err := pumpCoAP(c.UDPConn, data, each, k.window); err != nil {
						b.Error(err)
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(each*k.senders)/b.Elapsed().Seconds(), "messages/s")
			b.ReportMetric(float64(each*k.senders*readings)/b.Elapsed().Seconds(), "readings/s")
			b.StopTimer()
		})
	}
}

// pumpCoAP sends n copies of a request with a token of four bytes, of which each has a number of its own, and waits for their
// answers, window at a time. What is lost it sends again.
func pumpCoAP(c *net.UDPConn, request []byte, n, window int) error {
	p := ipv4.NewPacketConn(c)
	out, in := make([]ipv4.Message, window), make([]ipv4.Message, window)
	for i := range window {
		out[i].Buffers, in[i].Buffers = [][]byte{append([]byte(nil), request...)}, [][]byte{make([]byte, 512)}
	}
	for from := 0; from < n; {
		count := min(window, n-from)
		waits := make(map[uint32]bool, count)
		for i := range count {
			data := out[i].Buffers[0]
			binary.BigEndian.PutUint16(data[2:], uint16(from+i))
			binary.BigEndian.PutUint32(data[4:], uint32(from+i))
			waits[uint32(from+i)] = true
		}
		for again := true; len(waits) > 0; {
			if again {
				for sent := 0; sent < count; {
					k, err := p.WriteBatch(out[sent:count], 0)
					if err != nil {
						return err
					}
					sent += k
				}
			}
			_ = c.SetReadDeadline(time.Now().Add(2 * time.Second))
			k, err := p.ReadBatch(in, 0)
			if again = errors.Is(err, os.ErrDeadlineExceeded); err != nil && !again {
				return err
			}
			for _, m := range in[:max(k, 0)] {
				data := m.Buffers[0][:m.N]
				if m.N == 4 && data[1] == 0 {
					continue // acknowledged; the answer comes by itself
				}
				if m.N < 8 || data[1] != 2<<5|4 {
					return fmt.Errorf("answered %x", data)
				}
				if data[0]&0x30 == 0 { // by itself
					if _, err := c.Write([]byte{0x60, 0, data[2], data[3]}); err != nil {
						return err
					}
				}
				delete(waits, binary.BigEndian.Uint32(data[4:]))
			}
		}
		from += count
	}
	return nil
}
