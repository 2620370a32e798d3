package format_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"berth/ingest/format"
	"berth/schema"
	"berth/schema/batch"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// modelPack is a pack as it is before it is written: records of labels and values. A value is a string, a bool, []byte
// for data or a literal.
type modelPack []map[string]any

// literal is a number, as JSON writes it.
type literal string

func (l literal) float() float64 {
	f, err := strconv.ParseFloat(string(l), 64)
	if err != nil {
		panic(err)
	}
	return f
}

// nanoseconds returns a number of seconds in nanoseconds; what is less than one is cut off.
func (l literal) nanoseconds() *big.Int {
	r, ok := new(big.Rat).SetString(string(l))
	if !ok {
		panic(l)
	}
	r.Mul(r, new(big.Rat).SetInt64(1e9))
	return new(big.Int).Quo(r.Num(), r.Denom())
}

// asJSON writes a pack as RFC 8428 §5 has it.
func (p modelPack) asJSON() []byte {
	records := []map[string]any{}
	for _, r := range p {
		record := map[string]any{}
		for label, value := range r {
			switch v := value.(type) {
			case literal:
				record[label] = json.Number(v)
			case []byte:
				record[label] = base64.RawURLEncoding.EncodeToString(v)
			default:
				record[label] = v
			}
		}
		records = append(records, record)
	}
	data, err := json.Marshal(records)
	if err != nil {
		panic(err)
	}
	return data
}

// cborLabels are the labels' numbers: RFC 8428 §6, table 4.
var cborLabels = map[string]int{
	"bver": -1, "bn": -2, "bt": -3, "bu": -4, "bv": -5, "bs": -6,
	"n": 0, "u": 1, "v": 2, "vs": 3, "vb": 4, "s": 5, "t": 6, "ut": 7, "vd": 8,
}

// asCBOR writes a pack as RFC 8428 §6 has it; exact says that floats are written as decimal fractions.
func (p modelPack) asCBOR(exact bool) []byte {
	records := []map[any]any{}
	for _, r := range p {
		record := map[any]any{}
		for label, value := range r {
			var key any = label
			if number, ok := cborLabels[label]; ok {
				key = number
			}
			if l, ok := value.(literal); ok {
				value = l.cbor(exact)
			}
			record[key] = value
		}
		records = append(records, record)
	}
	mode, err := cbor.EncOptions{ShortestFloat: cbor.ShortestFloat16}.EncMode()
	if err != nil {
		panic(err)
	}
	data, err := mode.Marshal(records)
	if err != nil {
		panic(err)
	}
	return data
}

// cbor is the number as an integer, a float, or a decimal fraction.
func (l literal) cbor(exact bool) any {
	if f := l.float(); f == 0 && math.Signbit(f) {
		return f // no integer is -0
	}
	if n, err := strconv.ParseInt(string(l), 10, 64); err == nil {
		return n
	}
	mantissa, exponent, _ := strings.Cut(string(l), "e")
	whole, decimals, _ := strings.Cut(mantissa, ".")
	digits := strings.TrimLeft(whole+decimals, "-0")
	if !exact && len(digits) <= 15 { // more would not survive being a float
		return l.float()
	}
	m, err := strconv.ParseInt(whole+decimals, 10, 64)
	if err != nil {
		panic(err)
	}
	e := 0
	if exponent != "" {
		if e, err = strconv.Atoi(exponent); err != nil {
			panic(err)
		}
	}
	return cbor.Tag{Number: 4, Content: []any{e - len(decimals), m}}
}

// base returns the base field in effect at record i: its own, or that of the last record before it that has one.
func (p modelPack) base(i int, label string) any {
	for ; i >= 0; i-- {
		if v, ok := p[i][label]; ok {
			return v
		}
	}
	return nil
}

// whole reports whether the pack is refused as a whole.
func (p modelPack) whole() bool {
	versions := map[string]bool{}
	for i, r := range p {
		v, ok := p.base(i, "bver").(literal)
		if !ok {
			v = "10"
		}
		versions[string(v)] = true
		for label := range r {
			if strings.HasSuffix(label, "_") {
				return true
			}
		}
	}
	understood := regexp.MustCompile(`^([1-9]|10|26)$`)
	for v := range versions {
		if !understood.MatchString(v) {
			return true
		}
	}
	return len(versions) != 1
}

var modelName = regexp.MustCompile(`^[A-Za-z0-9][-A-Za-z0-9:./_]*$`)

// resolve resolves a record by the words of RFC 8428 §4, in the form of readings; false when it is refused.
func (p modelPack) resolve(i int, settings *format.Request) (lines []string, ok bool) {
	r := p[i]
	str := func(v any) string { s, _ := v.(string); return s }
	num := func(v any) literal {
		if l, ok := v.(literal); ok {
			return l
		}
		return "0"
	}
	values := 0
	for _, label := range []string{"v", "vs", "vb", "vd"} {
		if _, there := r[label]; there {
			values++
		}
	}
	_, hasSum := r["s"]
	if values == 0 && !hasSum {
		base := slices.ContainsFunc([]string{"bver", "bn", "bt", "bu", "bv", "bs"}, func(l string) bool { return r[l] != nil })
		regular := slices.ContainsFunc([]string{"n", "u", "t", "ut"}, func(l string) bool { return r[l] != nil })
		return nil, base && !regular
	}
	name := str(p.base(i, "bn")) + str(r["n"])
	if values > 1 || !modelName.MatchString(name) {
		return nil, false
	}
	unit, there := r["u"]
	if !there {
		unit = p.base(i, "bu")
	}
	suffix := ""
	if u := str(unit); u != "" {
		suffix = ",unit=" + strings.NewReplacer(`\`, `\\`, `,`, `\,`, `=`, `\=`).Replace(u)
	}
	at, ok := p.time(i, num, settings)
	if !ok || len(name)+len(",sum")+len(suffix) > schema.MaxSensorName {
		return nil, false
	}
	line := func(sensor string, v schema.Value) {
		text := v.String()
		if v.Kind() == schema.Text {
			text = strconv.Quote(text)
		}
		lines = append(lines, fmt.Sprintf("gw | %s | %s | %s %s", sensor, at, v.Kind(), text))
	}
	value := r["v"]
	if v, is := value.(literal); is {
		f := v.float()
		if b := p.base(i, "bv"); b != nil {
			f += num(b).float()
		}
		if math.IsInf(f, 0) {
			return nil, false
		}
		line(name+suffix, schema.FloatValue(f))
		hasSum = hasSum || p.base(i, "bs") != nil
	}
	if v, is := r["vs"].(string); is {
		line(name+suffix, schema.TextValue(v))
	}
	if v, is := r["vb"].(bool); is {
		line(name+suffix, schema.BoolValue(v))
	}
	if v, is := r["vd"].([]byte); is {
		line(name+suffix, schema.TextValue(base64.RawURLEncoding.EncodeToString(v)))
	}
	if hasSum {
		sum := num(p.base(i, "bs")).float() + num(r["s"]).float()
		if math.IsInf(sum, 0) {
			return nil, false
		}
		line(name+",sum"+suffix, schema.FloatValue(sum))
	}
	return lines, true
}

// time resolves a record's time (§4.5.3), in the form of readings; false when it is outside the window.
func (p modelPack) time(i int, num func(any) literal, r *format.Request) (string, bool) {
	at := new(big.Int).Add(num(p.base(i, "bt")).nanoseconds(), num(p[i]["t"]).nanoseconds())
	relative := at.Cmp(big.NewInt(1<<28*int64(time.Second))) < 0
	offset := new(big.Int).Set(at)
	if relative {
		at.Add(at, big.NewInt(now))
	}
	from, to := now-int64(r.Settings.Retention), now+int64(r.Settings.Future)
	if at.Cmp(big.NewInt(from)) < 0 || at.Cmp(big.NewInt(to)) > 0 {
		return "", false
	}
	switch {
	case !relative:
		return time.Unix(0, at.Int64()).UTC().Format(time.RFC3339Nano), true
	case offset.Sign() == 0:
		return "on arrival", true
	default:
		return fmt.Sprintf("on arrival %+d ns", offset.Int64()), true
	}
}

// modelPacks draws packs, most of them good.
func modelPacks() *rapid.Generator[modelPack] {
	number := rapid.OneOf(
		rapid.SampledFrom([]literal{"0", "5", "-1", "21.5", "0.1", "1e3", "1.5e-3", "-0.000001", "9007199254740993", "1e308", "-1e308"}),
		rapid.Map(rapid.IntRange(-100_000, 100_000), func(n int) literal { return literal(fmt.Sprintf("%de-2", n)) }),
	)
	seconds := rapid.OneOf(
		rapid.SampledFrom([]literal{
			"0", "-5", "10", "0.5", "-0.000000001", "1700000000", "1.7e9", "1699999999.123456789", "1699999999.001", "268435455.999999999", "268435456",
			"-1700000000", "-1699999999.5", "1e12", "1e-12",
		}),
		rapid.Map(rapid.IntRange(0, 100_000_000), func(n int) literal { return literal(fmt.Sprintf("%d.%03d", 1_699_900_000+n/1000, n%1000)) }),
	)
	text := rapid.SampledFrom([]string{"", "x", "a \"quoted\" one", "网", "machine room"})
	values := map[string]*rapid.Generator[any]{
		"bn": rapid.SampledFrom([]string{"", "a", "a:", "urn:dev:", "-", "b/"}).AsAny(),
		"n":  rapid.SampledFrom([]string{"", "x", "y", "x.y", "_", "ä", "x y"}).AsAny(),
		"bu": rapid.SampledFrom([]string{"", "V", "Cel"}).AsAny(), "u": rapid.SampledFrom([]string{"", "A", "m/s2", "a,b=\\"}).AsAny(),
		"bt": seconds.AsAny(), "t": seconds.AsAny(), "bv": number.AsAny(), "v": number.AsAny(), "bs": number.AsAny(), "s": number.AsAny(), "ut": number.AsAny(),
		"vs": text.AsAny(), "vb": rapid.Bool().AsAny(), "vd": rapid.SliceOfN(rapid.Byte(), 0, 5).AsAny(),
		"bver": rapid.SampledFrom([]literal{"10", "10", "10", "10", "5", "26", "11"}).AsAny(),
		"foo":  text.AsAny(), "bfoo": number.AsAny(), "foo_": number.AsAny(),
	}
	// How many of a hundred records have the label.
	chance := map[string]int{
		"bn": 25, "n": 60, "bu": 15, "u": 25, "bt": 20, "t": 50, "bv": 10, "v": 70, "bs": 8, "s": 10, "ut": 5, "vs": 8, "vb": 8, "vd": 8, "bver": 2, "foo": 5, "bfoo": 3, "foo_": 1,
	}
	labels := slices.Sorted(func(yield func(string) bool) {
		for l := range values {
			if !yield(l) {
				return
			}
		}
	})
	record := rapid.Custom(func(t *rapid.T) map[string]any {
		r := map[string]any{}
		for _, l := range labels {
			if rapid.IntRange(0, 99).Draw(t, "has "+l) >= 100-chance[l] {
				r[l] = values[l].Draw(t, l)
			}
		}
		return r
	})
	return rapid.Custom(func(t *rapid.T) modelPack { return rapid.SliceOfN(record, 1, 8).Draw(t, "records") })
}

// TestSenMLAgainstItsModel: packs, written as JSON and as CBOR, mean what the words of the RFC make of them.
func TestSenMLAgainstItsModel(t *testing.T) {
	d := format.New(format.NewTable(format.TableOptions{}))
	whole, taken, refused := 0, 0, 0
	rapid.Check(t, func(t *rapid.T) {
		pack := modelPacks().Draw(t, "pack")
		request := newRequest()
		var want []string
		var wantRefused []int
		for i := range pack {
			lines, ok := pack.resolve(i, request)
			want = append(want, lines...)
			if !ok {
				wantRefused = append(wantRefused, i+1)
			}
		}
		if pack.whole() {
			want, wantRefused = nil, nil
			whole++
		}
		taken += len(want)
		refused += len(wantRefused)
		for name, payload := range map[string][]byte{"senml+json": pack.asJSON(), "senml+cbor": pack.asCBOR(rapid.Bool().Draw(t, "exact"))} {
			out := &batch.Rows{}
			report, err := d.Decode(name, payload, request, out)
			if (err != nil) != pack.whole() {
				t.Fatalf("%s: %v, but refused whole is %v\n%s", name, err, pack.whole(), pack.asJSON())
			}
			var got []int
			for _, l := range report.Lines {
				got = append(got, l.Line)
			}
			if d := cmp.Diff(want, readings(out), cmpopts.EquateEmpty()) + cmp.Diff(wantRefused, got, cmpopts.EquateEmpty()); d != "" {
				t.Fatalf("%s (-model +decoder):\n%s\n%s\n%+v", name, d, pack.asJSON(), report.Lines)
			}
		}
	})
	// Twenty packs, the short form, may well have none that is refused whole.
	if !testing.Short() && (whole == 0 || taken == 0 || refused == 0) {
		t.Errorf("%d packs were refused whole, %d readings taken, %d records refused: the model draws too little", whole, taken, refused)
	}
}
