package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"berth/internal/api"
	"berth/internal/trucks"
	"berth/promises/install"
)

// openBerth starts an installation, all embedded, with one provider to whom a relay speaks for all trucks.
func openBerth(ctx context.Context, o *options, dir string) (*running, error) {
	if err := install.Build(ctx, dir); err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "berth")
	in, err := install.New(ctx, dir, data, o.log)
	if err != nil {
		return nil, err
	}
	in.Keyspaces = o.keyspaces
	if _, err := in.Start(ctx); err != nil {
		return nil, err
	}
	if err := in.AwaitWeb(ctx); err != nil {
		in.Stop()
		return nil, err
	}
	b := &berth{options: o, base: "http://" + in.Web + "/api/v1/providers/provider1"}
	key, err := b.provide(ctx, in)
	if err != nil {
		in.Stop()
		return nil, err
	}
	r := &running{pid: in.PID(), dir: data, write: "http://" + b.port + "/write?precision=ns", key: key, stop: in.Stop}
	r.settle, r.count = b.settle, b.count
	r.ask = [questions]func(context.Context, *trucks.Fleet, int) (int, error){b.last, b.day, b.maxima}
	return r, nil
}

// berth asks an installation.
type berth struct {
	options *options
	base    string // URL of the provider's API
	token   string
	port    string // host:port of the provider
}

// provide adds the provider and returns the relay's key.
func (b *berth) provide(ctx context.Context, in *install.Install) (key string, err error) {
	p, err := in.Add(ctx, "provider1")
	if err != nil {
		return "", err
	}
	b.port = p.Address()
	if _, err := in.CLI(ctx, "set", p.Name, "--gateway-tag", trucks.GatewayTag, "--attribute-tags", strings.Join(trucks.AttributeTags, ",")); err != nil {
		return "", err
	}
	if b.token, err = in.Token(ctx, p.Name); err != nil {
		return "", err
	}
	out, err := in.CLI(ctx, "gateway", "add", p.Name, "sender", "--relay", "-o", "json")
	if err != nil {
		return "", err
	}
	var answer struct {
		Key string `json:"key"`
	}
	err = json.Unmarshal(out, &answer)
	return answer.Key, err
}

// settle waits until the log is trimmed and the head is empty: all that was sent, of days that have ended, is in blocks then,
// and its rollups count. Parts of such days are closed two minutes after their last reading.
func (b *berth) settle(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for begun := time.Now(); ; {
		var books api.Books
		if err := get(ctx, b.base+"/books", b.token, &books); err != nil {
			return err
		}
		if books.Log.Messages <= 1 && books.Head.Readings == 0 {
			return nil
		}
		if time.Since(begun) > 6*time.Minute {
			return fmt.Errorf("six minutes after the last reading the log has %d messages and the head %d readings", books.Log.Messages, books.Head.Readings)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// sensors are the names of all sensors of a truck.
func sensors() url.Values {
	values := url.Values{}
	for _, m := range trucks.Measurements {
		for _, field := range m.Fields {
			values.Add("sensor", m.Name+"."+field)
		}
	}
	return values
}

// count adds up the counts of every sensor's days.
func (b *berth) count(ctx context.Context) (n int64, err error) {
	values := sensors()
	values.Set("from", b.options.start.Format(time.RFC3339))
	values.Set("to", b.options.start.AddDate(0, 0, b.options.days).Format(time.RFC3339))
	for {
		var answer api.FleetSeries
		if err := get(ctx, b.base+"/series?"+values.Encode(), b.token, &answer); err != nil {
			return 0, err
		}
		for _, g := range answer.Gateways {
			for _, s := range g.Series {
				for _, c := range s.Count {
					n += int64(c)
				}
			}
		}
		if answer.Next == "" {
			return n, nil
		}
		values.Set("after", answer.Next)
	}
}

// last asks for the latest positions of all trucks.
func (b *berth) last(ctx context.Context, _ *trucks.Fleet, _ int) (int, error) {
	values := url.Values{"sensor": {"readings.latitude", "readings.longitude"}}
	found := 0
	for {
		var answer api.FleetLatest
		if err := get(ctx, b.base+"/latest?"+values.Encode(), b.token, &answer); err != nil {
			return 0, err
		}
		for _, g := range answer.Gateways {
			found += len(g.Readings)
		}
		if answer.Next == "" {
			return found, nil
		}
		values.Set("after", answer.Next)
	}
}

// day asks for all readings of a truck's day.
func (b *berth) day(ctx context.Context, f *trucks.Fleet, n int) (int, error) {
	from, to := day(f, n, b.options.days)
	values := url.Values{"from": {from.Format(time.RFC3339)}, "to": {to.Format(time.RFC3339)}, "format": {"columns"}}
	var answer struct {
		Columns []struct {
			Sensors []struct {
				Values []json.RawMessage `json:"values"`
			} `json:"sensors"`
		} `json:"columns"`
	}
	err := get(ctx, b.base+"/gateways/"+trucks.Name(n%b.options.trucks)+"/readings?"+values.Encode(), b.token, &answer)
	found := 0
	for _, c := range answer.Columns {
		for _, s := range c.Sensors {
			found += len(s.Values)
		}
	}
	return found, err
}

// maxima asks for the daily maximum of every truck's velocity.
func (b *berth) maxima(ctx context.Context, f *trucks.Fleet, _ int) (int, error) {
	values := url.Values{
		"sensor": {"readings.velocity"}, "value": {"max"}, "points": {strconv.Itoa(b.options.days + 2)},
		"from": {b.options.start.Format(time.RFC3339)}, "to": {f.End().Format(time.RFC3339)},
	}
	found := 0
	for {
		var answer api.FleetSeries
		if err := get(ctx, b.base+"/series?"+values.Encode(), b.token, &answer); err != nil {
			return 0, err
		}
		for _, g := range answer.Gateways {
			found += len(g.Series[0].Max)
		}
		if answer.Next == "" {
			return found, nil
		}
		values.Set("after", answer.Next)
	}
}
