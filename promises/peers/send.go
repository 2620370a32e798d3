package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"berth/internal/trucks"
)

// client asks and sends; it keeps as many connections as there are workers.
var client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true}, Timeout: 5 * time.Minute}

// load is all that is sent, cut into requests beforehand, so that the sender does nothing but send.
type load struct {
	fleet    *trucks.Fleet
	bodies   [][]byte
	readings int
	bytes    int
}

// generate makes the load.
func generate(o *options) (*load, error) {
	l := &load{fleet: trucks.New(trucks.Options{Trucks: o.trucks, Days: o.days, Start: o.start, Readings: o.readings})}
	body := make([]byte, 0, o.batch)
	err := l.fleet.Drive(func(lines []byte, _ int) error {
		for len(lines) > 0 {
			end := bytes.IndexByte(lines, '\n') + 1
			if len(body)+end > o.batch && len(body) > 0 {
				l.bodies, body = append(l.bodies, body), make([]byte, 0, o.batch)
			}
			body, lines = append(body, lines[:end]...), lines[end:]
		}
		return nil
	})
	l.bodies, l.readings = append(l.bodies, body), l.fleet.Readings()
	for _, b := range l.bodies {
		l.bytes += len(b)
	}
	return l, err
}

// sending is how a load was taken.
type sending struct {
	took     time.Duration
	cpu      time.Duration // of the sender
	slowed   int64         // requests that were told to wait
	p50, p99 time.Duration // of a request
}

// send sends the load with several workers, each a request at a time, and waits for all acknowledgements.
func (l *load) send(ctx context.Context, r *running, workers int) (s sending, err error) {
	var wg sync.WaitGroup
	var next, slowed atomic.Int64
	times := make([]time.Duration, len(l.bodies))
	errs := make([]error, workers)
	begun, cpu := time.Now(), ownCPU()
	for w := range workers {
		wg.Go(func() {
			for errs[w] == nil {
				i := int(next.Add(1)) - 1
				if i >= len(l.bodies) {
					return
				}
				sent := time.Now()
				errs[w] = post(ctx, r, l.bodies[i], &slowed)
				times[i] = time.Since(sent)
			}
		})
	}
	wg.Wait()
	s.took, s.cpu, s.slowed = time.Since(begun), ownCPU()-cpu, slowed.Load()
	slices.Sort(times)
	s.p50, s.p99 = times[len(times)/2], times[len(times)*99/100]
	return s, errors.Join(errs...)
}

// post sends one request until it is acknowledged, again when it is told to wait.
func post(ctx context.Context, r *running, body []byte, slowed *atomic.Int64) error {
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, r.write, bytes.NewReader(body))
		if err != nil {
			return err
		}
		if r.key != "" {
			request.Header.Set("Authorization", "Bearer "+r.key)
		}
		answer, err := client.Do(request)
		if err != nil {
			return err
		}
		text, err := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if err != nil {
			return err
		}
		switch answer.StatusCode {
		case http.StatusNoContent:
			return nil
		case http.StatusTooManyRequests, http.StatusServiceUnavailable:
			slowed.Add(1)
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(100 * time.Millisecond):
			}
		default:
			return fmt.Errorf("a request was answered %s: %.300s", answer.Status, text)
		}
	}
}
