package gateways

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"berth/schema"
)

// API is where and how the API of one provider is asked.
type API struct {
	Base     string // such as http://127.0.0.1:8080
	Provider string
	Token    string // bearer
	Client   *http.Client
}

// Result is what a comparison of the fleet's own record with the API's answers found. Numbers are of readings.
type Result struct {
	Acked      int64    `json:"acked"`      // acknowledged, by the fleet's own record
	Found      int64    `json:"found"`      // answered
	Doubt      int64    `json:"doubt"`      // answered although not acknowledged: sent, its acknowledgement lost
	Lost       int64    `json:"lost"`       // acknowledged and not answered
	Duplicated int64    `json:"duplicated"` // answered more than once
	Wrong      int64    `json:"wrong"`      // answered with another value, or never sent at all
	Incomplete int64    `json:"incomplete"` // gateways whose answer was not complete
	Examples   []string `json:"examples,omitempty"`
}

// Good reports whether nothing was lost, duplicated, wrong or incomplete.
func (r *Result) Good() bool {
	return r.Lost == 0 && r.Duplicated == 0 && r.Wrong == 0 && r.Incomplete == 0
}

const mostExamples = 10

func (r *Result) example(format string, args ...any) {
	if len(r.Examples) < mostExamples {
		r.Examples = append(r.Examples, fmt.Sprintf(format, args...))
	}
}

// Check asks the API for every reading of the fleet and compares. It may run while the fleet sends: what had been
// acknowledged before a gateway's question must be in its answer. An error says that the API could not be asked.
func (f *Fleet) Check(ctx context.Context, api API) (Result, error) {
	var r Result
	for i := range f.gateways {
		if err := f.CheckGateway(ctx, api, i, &r); err != nil {
			return r, fmt.Errorf("check gateway %s: %w", f.gateways[i].name, err)
		}
	}
	return r, nil
}

// CheckGateway does what Check does for one gateway, by its number from 0, and adds to the result.
func (f *Fleet) CheckGateway(ctx context.Context, api API, number int, r *Result) error {
	g := f.gateways[number]
	acked := g.acked.Load()
	if acked == 0 {
		return nil // the API need not know a gateway of which nothing was acknowledged
	}
	query := url.Values{
		"from":   {f.options.Start.UTC().Format(time.RFC3339Nano)},
		"to":     {f.options.Start.AddDate(1, 0, 0).UTC().Format(time.RFC3339Nano)},
		"format": {"csv"},
	}
	answer, err := api.get(ctx, "/gateways/"+url.PathEscape(g.name)+"/readings?"+query.Encode())
	if err != nil {
		return err
	}
	defer answer.Body.Close() //nolint:errcheck // read to its end
	if answer.Header.Get("Berth-Complete") != "true" {
		r.Incomplete++
		r.example("%s: the answer is not complete: %s", g.name, answer.Header.Get("Berth-Incomplete-Reason"))
	}
	c := comparison{fleet: f, gateway: g, result: r, acked: int(acked) * f.options.PerFrame, seen: make([]bool, f.options.Sensors)}
	c.sensors = make(map[string]int, f.options.Sensors)
	for s := range f.options.Sensors {
		c.sensors[f.sensorName(s)] = s
	}
	return c.readAll(answer.Body)
}

// get asks the API and returns an answer of status 200.
func (api API) get(ctx context.Context, path string) (*http.Response, error) {
	address := api.Base + "/api/v1/providers/" + api.Provider + path
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+api.Token)
	client := api.Client
	if client == nil {
		client = http.DefaultClient
	}
	answer, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(answer.Body, 1<<10))
		_ = answer.Body.Close()
		return nil, schema.Errorf(schema.Unavailable, "%s was answered %s: %s", address, answer.Status, text)
	}
	return answer, nil
}

// Books asks for the provider's books and decodes them into v.
func (api API) Books(ctx context.Context, v any) error {
	answer, err := api.get(ctx, "/books")
	if err != nil {
		return err
	}
	defer answer.Body.Close() //nolint:errcheck // read to its end
	return json.NewDecoder(answer.Body).Decode(v)
}

// comparison walks through one gateway's readings, which come in order of time.
type comparison struct {
	fleet   *Fleet
	gateway *gateway
	result  *Result
	sensors map[string]int
	acked   int    // timestamps 0 … acked−1 are acknowledged
	at      int    // the timestamp being read
	seen    []bool // the sensors seen at it
}

// Columns of the API's CSV, by name.
const (
	columnSensor = "sensor"
	columnNanos  = "time_ns"
	columnKind   = "kind"
	columnValue  = "value"
)

// readAll compares row by row to the answer's end. An answer that is cut short is an error, not a loss.
func (c *comparison) readAll(body io.Reader) error {
	rows := csv.NewReader(body)
	rows.ReuseRecord = true
	header, err := rows.Read()
	if err != nil {
		return fmt.Errorf("read the answer's header: %w", err)
	}
	var columns [4]int
	for i, name := range []string{columnSensor, columnNanos, columnKind, columnValue} {
		if columns[i] = slices.Index(header, name); columns[i] < 0 {
			return schema.Errorf(schema.Invalid, "the answer has no column %q", name)
		}
	}
	for {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read the answer: %w", err)
		}
		c.compare(row[columns[0]], row[columns[1]], row[columns[2]], row[columns[3]])
	}
	c.moveTo(max(c.acked, c.at+1))
	c.result.Acked += int64(c.acked) * int64(len(c.seen))
	return nil
}

// compare compares one row.
func (c *comparison) compare(sensor, nanos, kind, value string) {
	name := c.gateway.name
	c.result.Found++
	t, err := strconv.ParseInt(nanos, 10, 64)
	offset := t - c.fleet.options.Start.UnixNano()
	step := int64(c.fleet.options.Step)
	s, known := c.sensors[sensor]
	sent := c.gateway.sent.Load() * int64(c.fleet.options.PerFrame)
	if err != nil || !known || offset < 0 || offset%step != 0 || offset/step >= sent {
		c.result.Wrong++
		c.result.example("%s %s at %s was never sent", name, sensor, nanos)
		return
	}
	n := int(offset / step)
	if n < c.at {
		c.result.Wrong++
		c.result.example("%s %s at %s is out of order", name, sensor, nanos)
		return
	}
	c.moveTo(n)
	if c.seen[s] {
		c.result.Duplicated++
		c.result.example("%s %s at %s is there twice", name, sensor, nanos)
		return
	}
	c.seen[s] = true
	if n >= c.acked {
		c.result.Doubt++
	}
	if want := c.fleet.valueAt(c.gateway.index, s, n); kind != want.Kind().String() || value != want.String() {
		c.result.Wrong++
		c.result.example("%s %s at %s is %s %q, sent was %s %q", name, sensor, nanos, kind, value, want.Kind(), want)
	}
}

// moveTo counts what is missing of the timestamps before n that were acknowledged.
func (c *comparison) moveTo(n int) {
	for ; c.at < n; c.at++ {
		for s, seen := range c.seen {
			if !seen && c.at < c.acked {
				c.result.Lost++
				c.result.example("%s %s at timestamp %d is lost", c.gateway.name, c.fleet.sensorName(s), c.at)
			}
			c.seen[s] = false
		}
	}
}
