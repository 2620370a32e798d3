package record

import (
	"slices"

	"berth/schema"
)

// MostSensors is the highest limit of a gateway's sensors: so many with the longest names fit the row of a gateway, a
// block and a rollup (see keyspace.MaxData).
const MostSensors = 10_000

// Limits bound what one provider can cost. What a record does not name has its default; 0 is no limit where there may be
// none.
type Limits struct {
	Connections           int64 `json:"connections"`             // at once, of the provider
	ConnectionsPerAddress int64 `json:"connections_per_address"` // at once, of one remote address
	ConnectionsPerGateway int64 `json:"connections_per_gateway"` // at once, of one gateway; a relay's are the provider's alone
	SensorsPerGateway     int64 `json:"sensors_per_gateway"`
	Gateways              int64 `json:"gateways"`

	ReadingsPerSecond        int64 `json:"readings_per_second"` // of the provider, refused ones too
	BytesPerSecond           int64 `json:"bytes_per_second"`    // of the provider's payloads, decompressed
	GatewayReadingsPerSecond int64 `json:"gateway_readings_per_second"`
	GatewayBytesPerSecond    int64 `json:"gateway_bytes_per_second"`

	LogBytes      int64 `json:"log_bytes"`
	KeyspaceBytes int64 `json:"keyspace_bytes"`
}

// Limit is one of the Limits, and what it may be.
type Limit struct {
	Name    string // of the field in JSON
	Default int64
	Least   int64
	Most    int64
	None    bool // 0 is allowed, and no limit
	Field   func(*Limits) *int64
}

// most bounds numbers that nothing else does: it is exact in JSON, and so are sums of a few.
const most = 1 << 50

// limits is the table of the Limits. The defaults are far above what an honest provider of one machine reaches: they stop
// what ran wild.
var limits = []Limit{
	{Name: "readings_per_second", Default: 20_000_000, Least: 1, Most: most, None: true, Field: func(l *Limits) *int64 { return &l.ReadingsPerSecond }},
	{Name: "bytes_per_second", Default: 1 << 30, Least: 1, Most: most, None: true, Field: func(l *Limits) *int64 { return &l.BytesPerSecond }},
	{Name: "gateway_readings_per_second", Default: 10_000_000, Least: 1, Most: most, None: true, Field: func(l *Limits) *int64 { return &l.GatewayReadingsPerSecond }},
	{Name: "gateway_bytes_per_second", Default: 512 << 20, Least: 1, Most: most, None: true, Field: func(l *Limits) *int64 { return &l.GatewayBytesPerSecond }},
	{Name: "connections", Default: 20_000, Least: 1, Most: most, Field: func(l *Limits) *int64 { return &l.Connections }},
	{Name: "connections_per_address", Default: 20_000, Least: 1, Most: most, Field: func(l *Limits) *int64 { return &l.ConnectionsPerAddress }},
	{Name: "connections_per_gateway", Default: 100, Least: 1, Most: most, Field: func(l *Limits) *int64 { return &l.ConnectionsPerGateway }},
	{Name: "gateways", Default: 100_000, Least: 1, Most: most, Field: func(l *Limits) *int64 { return &l.Gateways }},
	{Name: "sensors_per_gateway", Default: 1_000, Least: 1, Most: MostSensors, Field: func(l *Limits) *int64 { return &l.SensorsPerGateway }},
	{Name: "log_bytes", Default: 1 << 30, Least: 16 << 20, Most: 1 << 42, Field: func(l *Limits) *int64 { return &l.LogBytes }},
	{Name: "keyspace_bytes", Default: 1 << 40, Least: 1 << 20, Most: most, None: true, Field: func(l *Limits) *int64 { return &l.KeyspaceBytes }},
}

// EachLimit returns what the limits are called and may be, in the order in which people are shown them.
func EachLimit() []Limit { return slices.Clone(limits) }

// DefaultLimits returns the limits of a new provider.
func DefaultLimits() Limits {
	var l Limits
	for _, each := range limits {
		*each.Field(&l) = each.Default
	}
	return l
}

// validate returns an Invalid error that names the first limit which cannot be.
func (l Limits) validate() error {
	for _, each := range limits {
		n := *each.Field(&l)
		if n == 0 && each.None {
			continue
		}
		switch {
		case n < each.Least && each.None:
			return schema.Errorf(schema.Invalid, "the limit %s=%d is below %d", each.Name, n, each.Least).WithNext("0 is no limit")
		case n < each.Least:
			return schema.Errorf(schema.Invalid, "the limit %s=%d is below %d", each.Name, n, each.Least)
		case n > each.Most:
			return schema.Errorf(schema.Invalid, "the limit %s=%d is above %d", each.Name, n, each.Most)
		}
	}
	return nil
}
