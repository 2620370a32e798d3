package reports

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"berth/reports/query"
	"berth/schema"
	"berth/schema/block"
)

// writeColumns writes the readings as api.Columns, a stretch of time after the other: the times of sensors that were read
// together stand once, and nothing is said of each reading but its value.
func (r *Reports) writeColumns(ctx context.Context, out *writing, gateway string, answer *query.Readings) error {
	name, err := json.Marshal(gateway)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(out, `{"gateway":%s,"columns":[`, name); err != nil {
		return err
	}
	separator := "\n"
	err = answer.WalkSeries(ctx, func(series []block.Series) error {
		for _, together := range sameTimes(series) {
			var err error
			if out.text, err = appendColumns(append(out.text[:0], separator...), series, together); err != nil {
				return err
			}
			separator = ",\n"
			if _, err = out.Write(out.text); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("write readings: %w", err)
	}
	return endReadings(out, answer)
}

// sameTimes returns which of the series have the same times, those that have any, in order of the first of each.
func sameTimes(series []block.Series) (groups [][]int) {
	type ends struct {
		count       int
		first, last int64
	}
	known := map[ends][]int{} // groups
	for i := range series {
		times := series[i].Times
		if len(times) == 0 {
			continue
		}
		key := ends{len(times), times[0], times[len(times)-1]}
		at := slices.IndexFunc(known[key], func(g int) bool { return slices.Equal(series[groups[g][0]].Times, times) })
		if at < 0 {
			known[key] = append(known[key], len(groups))
			groups = append(groups, []int{i})
			continue
		}
		g := known[key][at]
		groups[g] = append(groups[g], i)
	}
	return groups
}

// appendColumns appends some series of the same times as an api.Columns.
func appendColumns(dst []byte, series []block.Series, together []int) ([]byte, error) {
	times := series[together[0]].Times
	if whole := func(t int64) bool { return t%int64(time.Millisecond) == 0 }; !slices.ContainsFunc(times, func(t int64) bool { return !whole(t) }) {
		dst = append(dst, `{"time_ms":[`...)
		for i, t := range times {
			dst = strconv.AppendInt(comma(dst, i), query.Millis(t), 10)
		}
	} else {
		dst = append(dst, `{"time_ns":[`...)
		for i, t := range times {
			dst = append(strconv.AppendInt(append(comma(dst, i), '"'), t, 10), '"')
		}
	}
	dst = append(dst, `],"sensors":[`...)
	for n, at := range together {
		var err error
		if dst, err = appendColumn(comma(dst, n), &series[at]); err != nil {
			return dst, err
		}
	}
	return append(dst, "]}"...), nil
}

// comma separates what is not the first of a list from what is before it.
func comma(dst []byte, i int) []byte {
	if i > 0 {
		return append(dst, ',')
	}
	return dst
}

// appendColumn appends the values of a series, and of what kind they are: all, or each.
func appendColumn(dst []byte, s *block.Series) ([]byte, error) {
	name, err := json.Marshal(s.Sensor)
	if err != nil {
		return dst, err
	}
	dst = append(append(dst, `{"sensor":`...), name...)
	if first := s.Kinds[0]; !slices.ContainsFunc(s.Kinds, func(k schema.Kind) bool { return k != first }) {
		dst = append(append(append(dst, `,"kind":"`...), first.String()...), '"')
	} else {
		dst = append(dst, `,"kinds":[`...)
		for i, k := range s.Kinds {
			dst = append(append(append(comma(dst, i), '"'), k.String()...), '"')
		}
		dst = append(dst, ']')
	}
	dst = append(dst, `,"values":[`...)
	for i := range s.Times {
		if dst, err = appendValue(comma(dst, i), s.Value(i)); err != nil {
			return dst, err
		}
	}
	return append(dst, "]}"...), nil
}
