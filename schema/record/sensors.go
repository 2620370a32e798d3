package record

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"berth/schema"
)

// SensorsKey is the key of the Sensors in the bucket "pipeline".
const SensorsKey = "sensors"

// Sensors are what a provider says about its sensors, by their names: it holds for the sensor of that name of every gateway.
// Those of which nothing is said are not in it. The provider's reports writes it.
type Sensors struct {
	Version int               `json:"version"`
	Sensors map[string]Sensor `json:"sensors"`
}

// Sensor is what is said about a sensor. The zero Sensor says nothing.
type Sensor struct {
	Label    string        `json:"label,omitempty"`    // how people call it
	Unit     string        `json:"unit,omitempty"`     // of its values, such as °C
	Decimals *int          `json:"decimals,omitempty"` // to show numbers with; nil: as many as they have
	Interval time.Duration `json:"interval,omitempty"` // between its readings, ns; 0: what is usual
	Counter  bool          `json:"counter,omitempty"`  // its value only rises, but for resets: what counts is the increase
}

// Limits of what is said about sensors.
const (
	MostSaid     = 5000 // in one record, which is one message of NATS
	mostLabel    = 100  // characters
	mostUnit     = 20
	mostDecimals = 12
)

// IsZero reports whether nothing is said.
func (s Sensor) IsZero() bool { return s == Sensor{} }

// Validate returns an Invalid error that names the first that cannot be.
func (s Sensor) Validate() error {
	switch {
	case !plain(s.Label, mostLabel):
		return schema.Errorf(schema.Invalid, "the name to show %q is longer than %d characters, or has some that do not print", s.Label, mostLabel)
	case !plain(s.Unit, mostUnit):
		return schema.Errorf(schema.Invalid, "the unit %q is longer than %d characters, or has some that do not print", s.Unit, mostUnit)
	case s.Decimals != nil && (*s.Decimals < 0 || *s.Decimals > mostDecimals):
		return schema.Errorf(schema.Invalid, "%d decimals are not between 0 and %d", *s.Decimals, mostDecimals)
	case s.Interval < 0 || s.Interval > 366*24*time.Hour || s.Interval > 0 && s.Interval < time.Millisecond:
		return schema.Errorf(schema.Invalid, "an interval of %v is not between 1 ms and 366 days", s.Interval)
	}
	return nil
}

// plain reports whether a text can be shown on one line and is not too long.
func plain(s string, most int) bool {
	return utf8.ValidString(s) && utf8.RuneCountInString(s) <= most && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// Validate returns an Invalid error that names the first that cannot be.
func (s *Sensors) Validate() error {
	if len(s.Sensors) > MostSaid {
		return schema.Errorf(schema.Invalid, "%d sensors are more than the %d of which something can be said", len(s.Sensors), MostSaid)
	}
	for name, sensor := range s.Sensors {
		if err := schema.CheckSensor(name); err != nil {
			return err
		}
		if err := sensor.Validate(); err != nil {
			return err
		}
	}
	return nil
}
