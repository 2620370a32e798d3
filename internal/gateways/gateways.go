// Package gateways simulates field gateways that behave as good ones do: they send without waiting, keep a frame until it
// is acknowledged, reconnect, and send the rest again. They remember what was acknowledged, and afterwards [Check]
// compares it with what the API answers: lost, duplicated, wrong.
//
// Its one invariant: the value of a reading is a function of gateway, sensor and time alone, so that any number of
// frames can be remembered as one number a gateway.
package gateways

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"berth/schema"
)

// Options say what a fleet of gateways is and does.
type Options struct {
	Address  string        // host:port of the provider
	Key      string        // enrolment key, or the gateway's own when there is but one
	Prefix   string        // of the gateways' names; a four-digit number follows. Default "sim"
	Gateways int           // default 1
	Sensors  int           // of each gateway, one reading each per timestamp; default 8
	PerFrame int           // timestamps in a frame; default 1
	Rate     float64       // frames a second of each gateway; 0: as fast as they are acknowledged
	Window   int           // frames of one gateway that may be unacknowledged; default 64
	Frames   int           // each gateway stops after so many; 0: when the context ends
	Protocol string        // one of Protocols, or several with commas between, which the gateways take in turn; default "berth"
	Format   string        // "line" (default), "senml+json" or "senml+cbor"
	TLS      *tls.Config   // whom to trust of the port by TLS; nil: connections are plain
	PSK      string        // pre-shared key that coaps shows
	Identity string        // whose it is, a relay; empty: the gateway's, which is the only one then
	Start    time.Time     // of the first timestamp; default an hour ago, whole seconds
	Step     time.Duration // between timestamps; default 10 ms
	Logger   *slog.Logger
}

// withDefaults fills in what is not set.
func (o Options) withDefaults(now time.Time) Options {
	set := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	set(&o.Gateways, 1)
	set(&o.Sensors, 8)
	set(&o.PerFrame, 1)
	set(&o.Window, 64)
	if o.Prefix == "" {
		o.Prefix = "sim"
	}
	if o.Protocol == "" {
		o.Protocol = "berth"
	}
	if o.Format == "" {
		o.Format = "line"
	}
	if o.Start.IsZero() {
		o.Start = now.Add(-time.Hour).Truncate(time.Second)
	}
	if o.Step <= 0 {
		o.Step = 10 * time.Millisecond
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Trust returns how to connect by TLS to a port whose certificate is signed by an authority, given as PEM.
func Trust(ca []byte) (*tls.Config, error) {
	c := &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
	if !c.RootCAs.AppendCertsFromPEM(ca) {
		return nil, schema.Errorf(schema.Invalid, "there is no certificate in what the port's authority is said to be").
			WithNext("provisioner ca prints it")
	}
	return c, nil
}

// Fleet is a number of simulated gateways.
type Fleet struct {
	options  Options
	gateways []*gateway
	latency  histogram
}

// gateway is one simulated gateway. Frame n holds the timestamps n·PerFrame … (n+1)·PerFrame−1; frames are sent in
// order, so what was acknowledged is a prefix.
type gateway struct {
	name     string
	index    int
	protocol string
	acked    atomic.Int64 // frames 0 … acked−1 are acknowledged
	sent     atomic.Int64 // frames 0 … sent−1 have been sent at least once
	again    atomic.Int64 // frames sent more than once
	cuts     atomic.Int64 // connections that ended before the fleet did
}

// protocols maps a protocol's name to how a gateway speaks it until its frames are all acknowledged or the context ends.
// An error ends the connection; the gateway comes again.
var protocols = map[string]func(f *Fleet, ctx context.Context, g *gateway) error{
	"berth": (*Fleet).speakBerth,
	"coap":  (*Fleet).speakCoAP,
	"coaps": (*Fleet).speakCoAPS,
	"http":  (*Fleet).speakHTTP,
	"mqtt":  (*Fleet).speakMQTT3,
	"mqtt5": (*Fleet).speakMQTT5,
}

// Protocols returns the names of the protocols that gateways here speak, sorted. mqtt is 3.1.1; both publish at QoS 1. coap is
// what is sent by UDP, confirmable, and never by TLS; coaps is that within DTLS, by a pre-shared key.
func Protocols() []string { return slices.Sorted(maps.Keys(protocols)) }

// New returns a fleet; Run makes it send. Invalid for a protocol that gateways here do not speak.
func New(o Options) (*Fleet, error) {
	o = o.withDefaults(time.Now())
	if formats[o.Format] == nil {
		return nil, schema.Errorf(schema.Invalid, "the format %q is not simulated", o.Format).WithNext("use line, senml+json or senml+cbor")
	}
	f := &Fleet{options: o}
	spoken := strings.Split(o.Protocol, ",")
	for _, name := range spoken {
		if err := f.speaks(name); err != nil {
			return nil, err
		}
	}
	for i := range o.Gateways {
		f.gateways = append(f.gateways, &gateway{name: fmt.Sprintf("%s%04d", o.Prefix, i), index: i, protocol: spoken[i%len(spoken)]})
	}
	return f, nil
}

// speaks returns why the fleet cannot speak a protocol, nil if it can.
func (f *Fleet) speaks(name string) error {
	o := &f.options
	switch {
	case protocols[name] == nil:
		return schema.Errorf(schema.Invalid, "the protocol %q is not simulated", name).WithNext("use %s", strings.Join(Protocols(), ", "))
	case f.senml() && strings.HasPrefix(name, "mqtt"):
		return schema.Errorf(schema.Invalid, "SenML by %s is not simulated", name).WithNext("use berth, http, coap or coaps")
	case o.TLS != nil && strings.HasPrefix(name, "coap"):
		return schema.Errorf(schema.Invalid, "CoAP is not sent by TLS").WithNext("leave %s out", name)
	case name == "coaps" && o.PSK == "":
		return schema.Errorf(schema.Invalid, "there is no pre-shared key to send CoAP within DTLS").
			WithNext("make one that may speak for many gateways: provisioner gateway add provider1 field --relay --psk")
	case name == "coaps" && o.Identity == "" && o.Gateways > 1:
		return schema.Errorf(schema.Invalid, "%d gateways cannot all have one pre-shared key", o.Gateways).WithNext("say which relay's it is")
	}
	return nil
}

// Run makes every gateway send until its frames are acknowledged or ctx ends. Connections that fail are made again,
// after 50 ms to 1 s, for as long as that takes: what a gateway has to say it keeps.
func (f *Fleet) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, g := range f.gateways {
		wg.Go(func() { f.keepSending(ctx, g) })
	}
	wg.Wait()
}

// keepSending speaks the protocol again and again until the gateway is done or ctx ends.
func (f *Fleet) keepSending(ctx context.Context, g *gateway) {
	wait := 50 * time.Millisecond
	for ctx.Err() == nil && !f.done(g.acked.Load()) {
		before := g.acked.Load()
		err := protocols[g.protocol](f, ctx, g)
		if err == nil || ctx.Err() != nil {
			return
		}
		g.cuts.Add(1)
		f.options.Logger.Debug("connection ended", "gateway", g.name, "error", err)
		if g.acked.Load() > before {
			wait = 50 * time.Millisecond
		}
		pause := time.NewTimer(wait/2 + rand.N(wait/2)) //nolint:gosec // jitter, no secret
		select {
		case <-ctx.Done():
			pause.Stop()
		case <-pause.C:
		}
		wait = min(2*wait, time.Second)
	}
}

func (f *Fleet) done(frames int64) bool {
	return f.options.Frames > 0 && frames >= int64(f.options.Frames)
}

// Stats are a fleet's running totals.
type Stats struct {
	Acked      int64         `json:"frames_acked"`
	Readings   int64         `json:"readings_acked"`
	Sent       int64         `json:"frames_sent"`
	Again      int64         `json:"frames_sent_again"`
	Reconnects int64         `json:"reconnects"`
	P50        time.Duration `json:"ack_p50_ns"` // from a frame's first byte sent to its acknowledgement
	P99        time.Duration `json:"ack_p99_ns"`
}

// Stats returns the totals so far.
func (f *Fleet) Stats() Stats {
	var s Stats
	for _, g := range f.gateways {
		s.Acked += g.acked.Load()
		s.Sent += g.sent.Load()
		s.Again += g.again.Load()
		s.Reconnects += g.cuts.Load()
	}
	s.Readings = s.Acked * int64(f.options.PerFrame) * int64(f.options.Sensors)
	s.P50, s.P99 = f.latency.quantile(0.50), f.latency.quantile(0.99)
	return s
}
