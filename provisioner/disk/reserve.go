package disk

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"berth/schema"
)

// DefaultReserve is what is kept free unless set otherwise.
const DefaultReserve = "5%,2GiB"

// Reserve is what is kept free of a disk: a share of it, a size, or the less of the two.
type Reserve struct {
	share float64 // of the disk; 0: none is given
	size  uint64  // 0: none is given
}

// ParseReserve reads a reserve such as "5%", "2GiB" or "5%,2GiB", the less of the two. An empty one is DefaultReserve.
func ParseReserve(text string) (Reserve, error) {
	if text == "" {
		text = DefaultReserve
	}
	var r Reserve
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		if number, ok := strings.CutSuffix(part, "%"); ok {
			share, err := strconv.ParseFloat(number, 64)
			if err != nil || !(share > 0 && share <= 90) {
				return Reserve{}, wrong(text)
			}
			r.share = share / 100
			continue
		}
		size, ok := parseSize(part)
		if !ok {
			return Reserve{}, wrong(text)
		}
		r.size = size
	}
	return r, nil
}

func wrong(text string) error {
	return schema.Errorf(schema.Invalid, "%q is no reserve of a disk", text).WithNext("give a share up to 90%%, a size, or both: 5%%,2GiB")
}

// units are those of sizes, the largest first.
var units = []struct {
	name string
	size uint64
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}}

func parseSize(text string) (uint64, bool) {
	for _, u := range units {
		if number, ok := strings.CutSuffix(text, u.name); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
			return uint64(n * float64(u.size)), err == nil && n > 0 && n < 1<<20
		}
	}
	return 0, false
}

// Size returns a size as people read it.
func Size(n uint64) string {
	for _, u := range units {
		if n >= u.size {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(u.size), u.name)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}

// Of returns what is kept free of a disk of the given size.
func (r Reserve) Of(size uint64) uint64 {
	reserve := uint64(math.MaxUint64)
	if r.share > 0 {
		reserve = uint64(r.share * float64(size))
	}
	if r.size > 0 {
		reserve = min(reserve, r.size)
	}
	return reserve
}
