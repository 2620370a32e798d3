package reports

import (
	"encoding/json"
	"math"
	"strconv"

	"berth/internal/api"
)

// appendSeriesAnswer appends an answer as encoding/json writes it, byte for byte, and without its work for each number: a
// wall of charts has hundreds of thousands.
func appendSeriesAnswer(dst []byte, a *api.SeriesAnswer) ([]byte, error) {
	dst = appendText(append(dst, `{"gateway":`...), a.Gateway)
	dst, err := a.From.AppendText(append(dst, `,"from":"`...))
	if err != nil {
		return dst, err
	}
	if dst, err = a.To.AppendText(append(dst, `","to":"`...)); err != nil {
		return dst, err
	}
	dst = appendText(append(dst, `","source":`...), a.Source)
	dst = appendNumber(append(dst, `,"step_seconds":`...), api.Number(a.Step))
	dst = append(dst, `,"series":`...)
	if a.Series == nil {
		dst = append(dst, "null"...)
	} else {
		dst = append(dst, '[')
		for i := range a.Series {
			if i > 0 {
				dst = append(dst, ',')
			}
			if dst, err = appendSeries(dst, &a.Series[i]); err != nil {
				return dst, err
			}
		}
		dst = append(dst, ']')
	}
	end, err := json.Marshal(a.Complete)
	return append(append(dst, ','), end[1:]...), err
}

// appendSeries appends a series.
func appendSeries(dst []byte, s *api.Series) ([]byte, error) {
	dst = appendText(append(dst, `{"sensor":`...), s.Sensor)
	dst = appendText(append(dst, `,"kind":`...), s.Kind)
	dst = strconv.AppendBool(append(dst, `,"raw":`...), s.Raw)
	if s.Time == nil {
		dst = append(dst, `,"time_ms":null`...)
	}
	dst = appendList(dst, "time_ms", s.Time, func(dst []byte, n int64) []byte { return strconv.AppendInt(dst, n, 10) })
	dst = appendList(dst, "min", s.Min, appendNumber)
	dst = appendList(dst, "max", s.Max, appendNumber)
	dst = appendList(dst, "mean", s.Mean, appendNumber)
	dst = appendList(dst, "count", s.Count, func(dst []byte, n uint64) []byte { return strconv.AppendUint(dst, n, 10) })
	if len(s.Text) > 0 {
		texts, err := json.Marshal(s.Text)
		if err != nil {
			return dst, err
		}
		dst = append(append(dst, `,"text":`...), texts...)
	}
	return append(appendNumber(append(dst, `,"gap_seconds":`...), api.Number(s.Gap)), '}'), nil
}

// appendText appends a text in quotes.
func appendText(dst []byte, text string) []byte {
	quoted, _ := json.Marshal(text) // whatever the text is, JSON has a form of it
	return append(dst, quoted...)
}

// appendList appends a field that is a list, unless there is none.
func appendList[T any](dst []byte, name string, list []T, one func([]byte, T) []byte) []byte {
	if list == nil {
		return dst
	}
	dst = append(append(append(dst, `,"`...), name...), `":`...)
	dst = append(dst, '[')
	for i, v := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = one(dst, v)
	}
	return append(dst, ']')
}

// appendNumber appends a number as an api.Number writes itself.
func appendNumber(dst []byte, n api.Number) []byte {
	f := float64(n)
	if size := math.Abs(f); size == 0 || size >= 1e-6 && size < 1e21 { // as encoding/json decides; NaN is neither
		return strconv.AppendFloat(dst, f, 'f', -1, 64)
	}
	text, _ := n.MarshalJSON() // a number has a text, if need be in quotes
	return append(dst, text...)
}
