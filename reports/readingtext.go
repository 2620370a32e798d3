package reports

import (
	"encoding/json"
	"math"
	"strconv"
	"time"

	"berth/internal/api"
	"berth/reports/query"
	"berth/schema"
)

// readingText writes readings as encoding/json writes an api.Reading, byte for byte, and without its work for each: an
// answer of thousands of readings has few sensors, and most of its times come for each of them.
type readingText struct {
	clock   query.Clock
	sensors map[string][]byte // what begins a reading of a sensor
	at      int64
	times   []byte // what says that a reading is of the time at; empty: of none yet
}

func newReadingText(clock query.Clock) *readingText {
	return &readingText{clock: clock, sensors: map[string][]byte{}}
}

// append appends a reading.
func (w *readingText) append(dst []byte, sensor string, t int64, v schema.Value) ([]byte, error) {
	begin, known := w.sensors[sensor]
	if !known {
		name, err := json.Marshal(sensor)
		if err != nil {
			return dst, err
		}
		begin = append([]byte(`{"sensor":`), name...)
		w.sensors[sensor] = begin
	}
	if w.at != t || len(w.times) == 0 {
		w.at = t
		w.times = w.clock.Time(t).AppendFormat(append(w.times[:0], `,"time":"`...), time.RFC3339Nano)
		w.times = strconv.AppendInt(append(w.times, `","time_ms":`...), query.Millis(t), 10)
		w.times = strconv.AppendInt(append(w.times, `,"time_ns":"`...), t, 10)
		w.times = append(w.times, `","kind":"`...)
	}
	dst = append(append(append(dst, begin...), w.times...), v.Kind().String()...)
	dst, err := appendValue(append(dst, `","value":`...), v)
	return append(dst, '}'), err
}

// appendValue appends a value as an api.Value writes itself.
func appendValue(dst []byte, v schema.Value) ([]byte, error) {
	switch v.Kind() {
	case schema.Int:
		return strconv.AppendInt(dst, v.Int(), 10), nil
	case schema.Bool:
		return strconv.AppendBool(dst, v.Bool()), nil
	case schema.Float:
		f := v.Float()
		if size := math.Abs(f); size == 0 || size >= 1e-6 && size < 1e21 { // as encoding/json decides; NaN is neither
			return strconv.AppendFloat(dst, f, 'f', -1, 64), nil
		}
	default:
	}
	text, err := json.Marshal(api.Value{Value: v})
	return append(dst, text...), err
}
