package control

import (
	"strconv"
	"strings"

	"berth/schema"
)

// units are what may follow a number, the larger ones first.
var units = []struct {
	suffix string
	factor int64
}{
	{"Ti", 1 << 40},
	{"Gi", 1 << 30},
	{"Mi", 1 << 20},
	{"Ki", 1 << 10},
	{"T", 1e12},
	{"G", 1e9},
	{"M", 1e6},
	{"k", 1e3},
	{"K", 1e3},
}

// None is how people write that there is no limit.
const None = "none"

// ParseAmount reads a number such as 20000, 20k, 1.5M, 512MiB or 2GB; none is 0.
func ParseAmount(s string) (int64, error) {
	if s == None {
		return 0, nil
	}
	number, factor := strings.TrimSuffix(s, "B"), int64(1)
	for _, u := range units {
		if rest, ok := strings.CutSuffix(number, u.suffix); ok {
			number, factor = rest, u.factor
			break
		}
	}
	if n, err := strconv.ParseInt(number, 10, 64); err == nil && n >= 0 && n <= 1<<62/factor {
		return n * factor, nil
	}
	f, err := strconv.ParseFloat(number, 64)
	if err != nil || !(f >= 0 && f*float64(factor) < 1<<62) || strings.ContainsAny(number, "eExXpP_nN") {
		return 0, schema.Errorf(schema.Invalid, "%q is no number", s).WithNext("give one such as 20000, 20k, 1.5M, 512MiB, or none")
	}
	return int64(f * float64(factor)), nil
}

// FormatAmount writes a number so that ParseAmount reads it back, short where it is round.
func FormatAmount(n int64, bytes bool) string {
	if n == 0 {
		return None
	}
	for _, u := range units {
		if binary := strings.HasSuffix(u.suffix, "i"); binary != bytes || n%u.factor != 0 {
			continue
		}
		text := strconv.FormatInt(n/u.factor, 10) + u.suffix
		if bytes {
			text += "B"
		}
		return text
	}
	return strconv.FormatInt(n, 10)
}
