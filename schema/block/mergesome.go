package block

import (
	"maps"
	"slices"
)

// mergeReadings bounds how many readings MergeSome merges at once, unless one sensor alone has more.
const mergeReadings = 1 << 20

// MergeSome merges as [Merge] does, all sensors, some at a time in order of their names, so that a day of a large gateway
// fits into memory. It ends with the first error.
func MergeSome(sources []Source, from, to int64, yield func([]Series)) error {
	counts := make(map[string]uint64)
	for _, source := range sources {
		for i := range source.size() {
			sensor, _, _ := source.ends(i)
			counts[sensor] += source.count(i)
		}
	}
	sensors := slices.Sorted(maps.Keys(counts))
	for len(sensors) > 0 {
		n, readings := 0, uint64(0)
		for n < len(sensors) && (n == 0 || readings+counts[sensors[n]] <= mergeReadings) {
			readings += counts[sensors[n]]
			n++
		}
		some := sensors[:n]
		series, err := Merge(sources, func(sensor string) bool {
			_, ok := slices.BinarySearch(some, sensor)
			return ok
		}, from, to)
		if err != nil {
			return err
		}
		yield(series)
		sensors = sensors[n:]
	}
	return nil
}
