package gateways

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/csv"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakePort answers Berth frames as ingest does, and ends each connection after so many of them without answering the
// last. It keeps the lines that it acknowledged or received.
type fakePort struct {
	net.Listener
	cutAfter int

	mu    sync.Mutex // guards lines
	lines map[string]int
}

func newFakePort(t *testing.T, cutAfter int) *fakePort {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &fakePort{Listener: listener, cutAfter: cutAfter, lines: map[string]int{}}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { p.serve(conn) })
		}
	})
	t.Cleanup(func() { _ = listener.Close(); wg.Wait() })
	return p
}

func (p *fakePort) serve(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	if hello, err := in.ReadString('\n'); err != nil || !strings.HasPrefix(hello, "HELLO ") {
		return
	}
	_, _ = io.WriteString(conn, "OK\n")
	for n := 1; ; n++ {
		var seq, length int
		head, err := in.ReadString('\n')
		if err != nil {
			return
		}
		if _, err := fmt.Sscanf(head, "PUT %d line %d\n", &seq, &length); err != nil || seq != n {
			return
		}
		payload := make([]byte, length)
		if _, err := io.ReadFull(in, payload); err != nil {
			return
		}
		p.mu.Lock()
		for line := range strings.Lines(string(payload)) {
			p.lines[line]++
		}
		p.mu.Unlock()
		if p.cutAfter > 0 && n == p.cutAfter {
			return // received, never acknowledged
		}
		_, _ = fmt.Fprintf(conn, "ACK %d\n", n)
	}
}

func TestFleetKeepsAFrameUntilItIsAcknowledged(t *testing.T) {
	port := newFakePort(t, 5)
	fleet, err := New(Options{Address: port.Addr().String(), Key: "k", Gateways: 3, Sensors: 2, PerFrame: 2, Frames: 20, Window: 3})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	fleet.Run(ctx)

	stats := fleet.Stats()
	if stats.Acked != 60 || stats.Readings != 240 {
		t.Errorf("acknowledged %d frames, %d readings; want 60, 240", stats.Acked, stats.Readings)
	}
	if stats.Again == 0 || stats.Reconnects == 0 {
		t.Errorf("sent %d again over %d reconnects; the port ends every connection after 5 frames", stats.Again, stats.Reconnects)
	}
	port.mu.Lock()
	defer port.mu.Unlock()
	if len(port.lines) != 120 {
		t.Errorf("the port received %d different lines, want 120", len(port.lines))
	}
}

// A fleet says what it lacks before it sends anything.
func TestFleetRefusesWhatItCannotSpeak(t *testing.T) {
	for want, o := range map[string]Options{
		"is not simulated":       {Protocol: "berth,smtp"},
		"SenML by mqtt5":         {Protocol: "mqtt5", Format: "senml+json"},
		"CoAP is not sent":       {Protocol: "coap", TLS: &tls.Config{}},
		"no pre-shared key":      {Protocol: "coaps"},
		"cannot all have one":    {Protocol: "berth,coaps", PSK: "k", Gateways: 2},
		`the format "sparkplug"`: {Format: "sparkplug"},
		"":                       {Protocol: "coaps", PSK: "k", Identity: "relay", Gateways: 2, Format: "senml+cbor"},
	} {
		if _, err := New(o); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", o, err, want)
		}
	}
}

// answerCSV writes what the API would answer for the fleet's gateway after the change that a test plants.
func answerCSV(f *Fleet, plant func(n, s int) (copies int, value string)) string {
	var text strings.Builder
	out := csv.NewWriter(&text)
	_ = out.Write([]string{"gateway", "sensor", "time", "time_ms", "time_ns", "kind", "value"})
	g := f.gateways[0]
	for n := range int(g.sent.Load()) * f.options.PerFrame {
		for s := range f.options.Sensors {
			v := valueAt(0, s, n)
			copies, value := plant(n, s)
			if value == "" {
				value = v.String()
			}
			for range copies {
				_ = out.Write([]string{g.name, sensorName(s), "", "", strconv.FormatInt(f.timeAt(n), 10), v.Kind().String(), value})
			}
		}
	}
	out.Flush()
	return text.String()
}

func TestCheckFindsLostDuplicatedAndWrong(t *testing.T) {
	for _, c := range []struct {
		name                              string
		plant                             func(n, s int) (int, string)
		lost, duplicated, wrong, doubtful int64
		complete                          string
	}{
		{"all there", func(int, int) (int, string) { return 1, "" }, 0, 0, 0, 8, "true"},
		{"in doubt and absent", func(n, _ int) (int, string) { return min(1, max(0, 20-n)), "" }, 0, 0, 0, 0, "true"},
		{"one lost", func(n, s int) (int, string) {
			if n == 4 && s == 1 {
				return 0, ""
			}
			return 1, ""
		}, 1, 0, 0, 8, "true"},
		{"one twice", func(n, s int) (int, string) {
			if n == 19 && s == 0 {
				return 2, ""
			}
			return 1, ""
		}, 0, 1, 0, 8, "true"},
		{"one wrong", func(n, s int) (int, string) {
			if n == 0 && s == 2 {
				return 1, "77"
			}
			return 1, ""
		}, 0, 0, 1, 8, "true"},
		{"not complete", func(int, int) (int, string) { return 1, "" }, 0, 0, 0, 8, "false"},
	} {
		t.Run(c.name, func(t *testing.T) {
			fleet, err := New(Options{Address: "127.0.0.1:1", Sensors: 4, PerFrame: 2})
			if err != nil {
				t.Fatal(err)
			}
			fleet.gateways[0].acked.Store(10)
			fleet.gateways[0].sent.Store(11)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Authorization") != "Bearer secret" || r.URL.Path != "/api/v1/providers/p1/gateways/sim0000/readings" {
					http.Error(w, "no", http.StatusNotFound)
					return
				}
				w.Header().Set("Berth-Complete", c.complete)
				_, _ = io.WriteString(w, answerCSV(fleet, c.plant))
			}))
			defer server.Close()
			result, err := fleet.Check(t.Context(), API{Base: server.URL, Provider: "p1", Token: "secret", Client: server.Client()})
			if err != nil {
				t.Fatal(err)
			}
			if result.Acked != 80 || result.Lost != c.lost || result.Duplicated != c.duplicated || result.Wrong != c.wrong || result.Doubt != c.doubtful {
				t.Errorf("%+v", result)
			}
			if good := c.lost+c.duplicated+c.wrong == 0 && c.complete == "true"; result.Good() != good {
				t.Errorf("good is %v, want %v", result.Good(), good)
			}
		})
	}
}

func TestHistogramIsRightToASixteenth(t *testing.T) {
	var h histogram
	for i := 1; i <= 1000; i++ {
		h.add(time.Duration(i) * time.Microsecond)
	}
	for _, q := range []float64{0.5, 0.99} {
		got, want := h.quantile(q), time.Duration(q*1000)*time.Microsecond
		if got < want || got > want+want/14 {
			t.Errorf("quantile %v is %v, want %v or a little more", q, got, want)
		}
	}
	for d := time.Duration(1); d < time.Hour; d = d*5/4 + 1 {
		if u := upper(bucket(d)); u < d || u > d+d/15 {
			t.Fatalf("%v falls into a step that ends at %v", d, u)
		}
	}
}

// What is sent must read back as the value that the check expects.
func TestFramesSayTheValues(t *testing.T) {
	fleet, err := New(Options{Address: "127.0.0.1:1", Gateways: 3, Sensors: 9, PerFrame: 4})
	if err != nil {
		t.Fatal(err)
	}
	frame := string(fleet.appendFrame(nil, fleet.gateways[2], 5))
	n := 20
	for line := range strings.Lines(frame) {
		head, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		fields, at, _ := strings.Cut(rest, " 1")
		if head != "unit,gateway=sim0002" || "1"+at != strconv.FormatInt(fleet.timeAt(n), 10) {
			t.Errorf("timestamp %d is %q", n, line)
		}
		for s := range 9 {
			v := valueAt(2, s, n)
			want := fieldName(s) + "=" + v.String()
			if kindOf(s) == 4 {
				want = fieldName(s) + "=" + strconv.Quote(v.Text())
			}
			if !strings.Contains(","+fields, ","+want) {
				t.Errorf("timestamp %d lacks %s: %s", n, want, fields)
			}
		}
		n++
	}
	if n != 24 {
		t.Errorf("the frame ends at timestamp %d", n)
	}
}

func BenchmarkAppendFrame(b *testing.B) {
	fleet, err := New(Options{Address: "127.0.0.1:1", Sensors: 10, PerFrame: 100})
	if err != nil {
		b.Fatal(err)
	}
	var dst []byte
	for i := int64(0); b.Loop(); i++ {
		dst = fleet.appendFrame(dst[:0], fleet.gateways[0], i)
	}
	b.ReportMetric(float64(b.N)*1000/b.Elapsed().Seconds(), "readings/s")
}
