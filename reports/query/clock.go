package query

import (
	"strconv"
	"time"

	"berth/internal/api"
	"berth/schema"
)

// Clock writes times in one zone.
type Clock struct{ zone *time.Location }

// Clock returns a clock in the provider's zone as it is set now.
func (e *Engine) Clock() Clock {
	name := e.settings().Timezone
	if zone := e.zone.Load(); zone != nil && zone.String() == name {
		return Clock{zone}
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		zone = time.UTC
	}
	e.zone.Store(zone)
	return Clock{zone}
}

// Zone returns the clock's zone.
func (c Clock) Zone() *time.Location { return c.zone }

// Time returns a time in the clock's zone.
func (c Clock) Time(ns int64) time.Time { return time.Unix(0, ns).In(c.zone) }

// Format returns a time as RFC 3339 with offset and as many decimals as it has.
func (c Clock) Format(ns int64) string { return c.Time(ns).Format(time.RFC3339Nano) }

// Reading returns a reading as the API answers it.
func (c Clock) Reading(sensor string, t int64, v schema.Value) api.Reading {
	return api.Reading{
		Sensor: sensor,
		Time:   c.Time(t),
		Millis: Millis(t),
		Nanos:  strconv.FormatInt(t, 10),
		Kind:   v.Kind().String(),
		Value:  api.Value{Value: v},
	}
}

// Millis returns nanoseconds as whole milliseconds, rounded down also before 1970.
func Millis(ns int64) int64 {
	return schema.Start(ns, int64(time.Millisecond)) / int64(time.Millisecond)
}
