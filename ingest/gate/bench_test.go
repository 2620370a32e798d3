package gate

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/ingest/commit"
	"berth/internal/bus"
	"berth/internal/bus/bustest"
	"berth/schema/batch"
)

// realLog puts the gate before a log on disk.
func realLog(b *testing.B) func(f *fixture, o *Options) {
	b.Helper()
	house := bustest.New(b)
	_, pipeline := house.Provider("provider1", bus.LogOptions{})
	log, err := house.Connect(pipeline).OpenLog(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	var encoder batch.Encoder
	var w *bus.Writer
	w, _, err = log.Claim(b.Context(), "bench", 0, func([]byte) ([]byte, error) {
		return encoder.Encode(nil, &batch.Header{Kind: batch.Claim, Claim: "bench"}), nil
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(w.Close)
	return func(f *fixture, o *Options) {
		_ = f.committer.Close(b.Context())
		f.committer = commit.New(commit.Options{
			Writer: w, Logger: o.Logger,
			Follow: func(_ uint64, _ *batch.Header, rows *batch.Rows) { commit.GiveRows(rows) },
		})
		o.Committer = f.committer
	}
}

// payload returns line protocol of about so many readings.
func payload(readings int) (string, int) {
	if readings == 1 {
		return "weather,place=berlin temperature=21.5", 1
	}
	var b strings.Builder
	n := 0
	for ; n < readings; n += 10 {
		fmt.Fprintf(&b, "truck,model=G-2000,fleet=South s0=%d.25,s1=%d,s2=21.5,s3=0.25,s4=1024,s5=%d,s6=3,s7=-12.125,s8=0,s9=77 %d\n",
			n%90, n%360, n*7%1000, time.Now().UnixNano()+int64(n)*1000)
	}
	return b.String(), n
}

// BenchmarkFrames is the acknowledged path end to end: TCP, decoding, batches, a log on disk, ACK; with the senders on
// the same machine. An op is a frame.
func BenchmarkFrames(b *testing.B) {
	for _, k := range []struct{ conns, window, readings int }{{1, 1000, 1}, {50, 100, 1}, {1000, 1, 1}, {1, 20, 1000}, {10, 10, 1000}} {
		b.Run(fmt.Sprintf("readings=%d/conns=%d/window=%d", k.readings, k.conns, k.window), func(b *testing.B) {
			f := start(b, realLog(b))
			text, readings := payload(k.readings)
			var wg sync.WaitGroup
			each := (b.N + k.conns - 1) / k.conns
			conns := make([]*client, k.conns)
			for i := range conns {
				conns[i] = f.hello(b, fmt.Sprintf("gateway%d", i), enrolmentKey)
			}
			b.ResetTimer()
			for _, c := range conns {
				wg.Go(func() { c.pump(text, each, k.window) })
			}
			wg.Wait()
			b.ReportMetric(float64(each*k.conns)/b.Elapsed().Seconds(), "frames/s")
			b.ReportMetric(float64(each*k.conns*readings)/b.Elapsed().Seconds(), "readings/s")
			b.StopTimer()
		})
	}
}

// pump sends n frames, at most window of them unanswered, and waits for all answers.
func (c *client) pump(text string, n, window int) {
	out := make([]byte, 0, 64<<10)
	acked, sent := 0, 0
	for acked < n {
		for sent < n && sent-acked < window && len(out)+len(text) < 60<<10 || len(out) == 0 && sent < n && sent-acked < window {
			sent++
			out = append(out, "PUT "...)
			out = strconv.AppendInt(out, int64(sent), 10)
			out = append(out, " line "...)
			out = strconv.AppendInt(out, int64(len(text)), 10)
			out = append(append(out, '\n'), text...)
		}
		if len(out) > 0 {
			if _, err := c.Write(out); err != nil {
				c.t.Error(err)
				return
			}
			out = out[:0]
			if sent < n && sent-acked < window {
				continue
			}
		}
		line, err := c.in.ReadSlice('\n')
		number, ok := bytes.CutPrefix(bytes.TrimSpace(line), []byte("ACK "))
		seq, bad := strconv.Atoi(string(number))
		if err != nil || !ok || bad != nil {
			c.t.Errorf("got %q, %v", line, err)
			return
		}
		acked = seq
	}
}

// BenchmarkWrite is the same by HTTP. An op is a request.
func BenchmarkWrite(b *testing.B) {
	for _, k := range []struct{ conns, readings int }{{1, 1}, {50, 1}, {10, 1000}, {4, 50_000}} {
		b.Run(fmt.Sprintf("readings=%d/conns=%d", k.readings, k.conns), func(b *testing.B) {
			f := start(b, realLog(b))
			text, readings := payload(k.readings)
			url := "http://" + f.Addr().String() + "/write"
			transport := &http.Transport{MaxIdleConnsPerHost: k.conns}
			defer transport.CloseIdleConnections()
			each := (b.N + k.conns - 1) / k.conns
			var wg sync.WaitGroup
			b.ResetTimer()
			for i := range k.conns {
				wg.Go(func() {
					for range each {
						r, err := http.NewRequestWithContext(b.Context(), http.MethodPost, url, strings.NewReader(text))
						if err != nil {
							b.Error(err)
							return
						}
						r.SetBasicAuth(fmt.Sprintf("gateway%d", i), enrolmentKey)
						answer, err := transport.RoundTrip(r)
						if err != nil {
							b.Error(err)
							return
						}
						_, _ = io.Copy(io.Discard, answer.Body)
						_ = answer.Body.Close()
						if answer.StatusCode != http.StatusNoContent {
							b.Errorf("answered %s", answer.Status)
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(each*k.conns)/b.Elapsed().Seconds(), "frames/s")
			b.ReportMetric(float64(each*k.conns*readings)/b.Elapsed().Seconds(), "readings/s")
			b.StopTimer()
		})
	}
}
