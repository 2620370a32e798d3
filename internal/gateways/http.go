package gateways

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"time"
)

// speakHTTP posts frames, lines to the Influx write endpoint, one at a time on a kept connection; 204 is the acknowledgement.
func (f *Fleet) speakHTTP(ctx context.Context, g *gateway) error {
	transport := &http.Transport{MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute, TLSClientConfig: f.options.TLS}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: answerLimit}
	var pace *time.Ticker
	if f.options.Rate > 0 {
		pace = time.NewTicker(time.Duration(float64(time.Second) / f.options.Rate))
		defer pace.Stop()
	}
	var payload []byte
	for frame := g.acked.Load(); !f.done(frame); frame++ {
		if pace != nil {
			select {
			case <-ctx.Done():
				return nil
			case <-pace.C:
			}
		}
		if frame < g.sent.Load() {
			g.again.Add(1)
		} else {
			g.sent.Store(frame + 1)
		}
		payload = f.appendFrame(payload[:0], g, frame)
		sent := time.Now()
		if err := f.post(ctx, client, g.name, payload); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("post frame %d: %w", frame, err)
		}
		f.latency.add(time.Since(sent))
		g.acked.Store(frame + 1)
	}
	return nil
}

// post sends one payload and expects 204.
func (f *Fleet) post(ctx context.Context, client *http.Client, name string, payload []byte) error {
	path, contentType := "/write", "text/plain; charset=utf-8"
	if f.senml() {
		path, contentType = "/api/v1/readings", "application/"+f.options.Format
	}
	scheme := "http://"
	if f.options.TLS != nil {
		scheme = "https://"
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, scheme+f.options.Address+path, bytes.NewReader(payload))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", contentType)
	request.SetBasicAuth(name, f.options.Key)
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close() //nolint:errcheck // nothing was written
	text, err := io.ReadAll(io.LimitReader(answer.Body, 4<<10))
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusNoContent {
		return fmt.Errorf("answered %s: %s", answer.Status, text)
	}
	return nil
}
