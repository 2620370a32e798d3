package gate

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/internal/testport"
)

// BenchmarkMQTT is QoS 1 end to end: TCP, decoding, batches, a log on disk, PUBACK; with the senders on the same machine.
// An op is a message. Beside it the same messages to mosquitto, where that is installed, which stores nothing.
func BenchmarkMQTT(b *testing.B) {
	for _, k := range []struct {
		conns, window, readings int
	}{{1, 500, 1}, {50, 100, 1}, {50, 100, 50}, {1000, 1, 1}} {
		text, readings := payload(k.readings)
		name := fmt.Sprintf("readings=%d/conns=%d/window=%d", k.readings, k.conns, k.window)
		for _, level := range []byte{4, 5} {
			b.Run(fmt.Sprintf("berth/level=%d/%s", level, name), func(b *testing.B) {
				f := start(b, realLog(b))
				pumpMQTT(b, f.Addr().String(), level, k.conns, k.window, text, readings)
			})
		}
		b.Run("mosquitto/level=4/"+name, func(b *testing.B) {
			pumpMQTT(b, mosquitto(b), 4, k.conns, k.window, text, readings)
		})
	}
}

// mosquitto starts a broker that anybody may use, and returns its address.
func mosquitto(b *testing.B) string {
	b.Helper()
	program, err := exec.LookPath("mosquitto")
	if err != nil {
		b.Skip("mosquitto is not installed: apt install mosquitto")
	}
	address := testport.Address(b)
	config := filepath.Join(b.TempDir(), "mosquitto.conf")
	_, port, _ := net.SplitHostPort(address)
	text := "listener " + port + " 127.0.0.1\nallow_anonymous true\npersistence false\nmax_inflight_messages 0\nset_tcp_nodelay true\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(program, "-c", config)
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 500 {
		if c, err := net.Dial("tcp", address); err == nil {
			_ = c.Close()
			return address
		}
		<-tick.C
	}
	b.Fatal("mosquitto does not listen")
	return ""
}

// pumpMQTT publishes b.N messages over so many connections, at most window of each unanswered.
func pumpMQTT(b *testing.B, address string, level byte, conns, window int, text string, readings int) {
	b.Helper()
	each := (b.N + conns - 1) / conns
	all := make([]net.Conn, conns)
	for i := range all {
		c, err := net.Dial("tcp", address)
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		name := fmt.Sprintf("gateway%d", i)
		connect := field("MQTT") + string([]byte{level, 0xc2, 0, 0}) + strings.Repeat("\x00", int(level-4)) + field(name) + field(name) + field(enrolmentKey)
		if _, err := io.WriteString(c, "\x10"+string([]byte{byte(len(connect))})+connect); err != nil {
			b.Fatal(err)
		}
		var head [2]byte
		if _, err := io.ReadFull(c, head[:]); err != nil {
			b.Fatal(err)
		}
		if ack := make([]byte, head[1]); head[0] != 0x20 {
			b.Fatalf("answered %x", head)
		} else if _, err := io.ReadFull(c, ack); err != nil || ack[1] != 0 {
			b.Fatalf("CONNACK %x, %v", ack, err)
		}
		all[i] = c
	}
	b.ResetTimer()
	var wg sync.WaitGroup
	for i, c := range all {
		wg.Go(func() {
			if err := pumpOne(c, fmt.Sprintf("readings/gateway%d", i), level, each, window, text); err != nil {
				b.Error(err)
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(each*conns)/b.Elapsed().Seconds(), "messages/s")
	b.ReportMetric(float64(each*conns*readings)/b.Elapsed().Seconds(), "readings/s")
	b.StopTimer()
}

func field(text string) string {
	return string(binary.BigEndian.AppendUint16(nil, uint16(len(text)))) + text
}

// pumpOne publishes n messages on one connection and waits for their PUBACKs.
func pumpOne(c net.Conn, topic string, level byte, n, window int, text string) error {
	room := make(chan struct{}, window)
	failed := make(chan error, 1)
	go func() {
		in := bufio.NewReader(c)
		var ack [4]byte
		for i := range n {
			if _, err := io.ReadFull(in, ack[:]); err != nil {
				failed <- err
				return
			}
			if id := binary.BigEndian.Uint16(ack[2:]); ack[0] != 0x40 || id != uint16(i%0xffff+1) {
				failed <- fmt.Errorf("message %d is answered %x", i, ack)
				return
			}
			<-room
		}
		failed <- nil
	}()
	out := bufio.NewWriterSize(c, 32<<10)
	names, length := field(topic), 2+len(topic)+2+int(level-4)+len(text)
	header := binary.AppendUvarint([]byte{0x32}, uint64(length))
	for i := range n {
		select {
		case room <- struct{}{}:
		default:
			if err := out.Flush(); err != nil {
				return err
			}
			room <- struct{}{}
		}
		id := binary.BigEndian.AppendUint16(nil, uint16(i%0xffff+1))
		if level == 5 {
			id = append(id, 0)
		}
		_, _ = out.Write(header) // an error stays with the writer
		_, _ = out.WriteString(names)
		_, _ = out.Write(id)
		_, _ = out.WriteString(text)
	}
	if err := out.Flush(); err != nil {
		return err
	}
	return <-failed
}
