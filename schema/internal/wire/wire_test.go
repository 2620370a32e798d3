package wire

import (
	"math"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"berth/schema"
)

func TestFloatsKeepEveryBit(t *testing.T) {
	check := func(t interface{ Fatalf(string, ...any) }, bits uint64) {
		f := math.Float64frombits(bits)
		c := NewCursor(AppendFloat(nil, f))
		if got := math.Float64bits(c.Float()); got != bits || !c.Done() {
			t.Fatalf("%x read back as %x", bits, got)
		}
	}
	for _, bits := range []uint64{0, 1 << 63, 1, 0x7ff8000000000001, 0x7ff0000000000001, 0x7ff << 52, 0xfff << 52, 1<<64 - 1} {
		check(t, bits)
	}
	rapid.Check(t, func(t *rapid.T) {
		check(t, rapid.Uint64().Draw(t, "bits"))
		check(t, math.Float64bits(rapid.Float64().Draw(t, "float")))
	})
}

func TestPrintedDecimalsAreFoundAndExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Range(-1e15, 1e15).Draw(t, "n")
		scale := rapid.IntRange(0, MaxScale).Draw(t, "scale")
		printed, err := strconv.ParseFloat(strconv.FormatInt(n, 10)+"e-"+strconv.Itoa(scale), 64)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := Scaled(printed, scale); !ok || got != n {
			t.Fatalf("%d / 10^%d: %d, %t", n, scale, got, ok)
		}
		got, least, ok := Decimal(printed)
		if !ok || least > scale || float64(got)/Power(least) != printed {
			t.Fatalf("%d / 10^%d: %d / 10^%d, %t", n, scale, got, least, ok)
		}
	})
}

func TestValuesOfEveryKindAreReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := []schema.Value{
			schema.IntValue(rapid.Int64().Draw(t, "int")), schema.BoolValue(rapid.Bool().Draw(t, "bool")),
			schema.TextValue(rapid.String().Draw(t, "text")),
			{},
			schema.FloatValue(rapid.Float64().Draw(t, "float")),
		}
		var data []byte
		for _, v := range values {
			data = AppendValue(data, v)
		}
		c := NewCursor(data)
		for _, want := range values {
			if got := c.Value(); got != want {
				t.Fatalf("%v read back as %v", want, got)
			}
		}
		if !c.Done() {
			t.Fatal("bytes are left")
		}
	})
}

func TestNamesAreReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOf(rapid.StringMatching(`(sensor\.of\.a\.long\.name)?[a-c]{1,40}`)).Draw(t, "names")
		slices.Sort(names)
		var data, heads, rests []byte
		before := ""
		for _, name := range names {
			data = AppendName(data, before, name)
			shared := Shared(before, name)
			heads, rests = AppendNameHead(heads, shared, len(name)-shared), append(rests, name[shared:]...)
			before = name
		}
		c, r := NewCursor(data), NameReader{Limit: 255}
		for _, want := range names {
			if got := r.Next(c); got != want {
				t.Fatalf("%q read back as %q", want, got)
			}
		}
		if !c.Done() {
			t.Fatal("bytes are left")
		}
		c = NewCursor(heads)
		read := ReadNameHeads(c, len(names), 255)
		if got, ok := ReadNames(read, rests, 255); !ok || !slices.Equal(got, names) || !c.Done() {
			t.Fatalf("%q read back as %q", names, got)
		}
		if len(rests) > 0 {
			if _, ok := ReadNames(read, rests[1:], 255); ok {
				t.Fatal("truncated names were read")
			}
		}
	})
}

func TestACursorNeverRunsPastTheEnd(t *testing.T) {
	c := NewCursor([]byte{1, 2})
	if c.Uint64() != 0 || c.OK() || c.Byte() != 0 || c.Uvarint() != 0 || c.Bytes(1) != nil || c.Left() != 0 || c.Done() {
		t.Fatal("a cursor that failed went on")
	}
	if c = NewCursor([]byte{200, 1}); c.Count(199) != 0 || c.OK() {
		t.Fatal("a count beyond its limit was read")
	}
	if c = NewCursor([]byte{3, 'a', 'b'}); c.String(9) != "" || c.OK() {
		t.Fatal("a string beyond the end was read")
	}
}

func TestASealTellsDamage(t *testing.T) {
	data := Seal([]byte("a|what is sealed"), 2)[2:]
	if body, ok := Unseal(data); !ok || string(body) != "what is sealed" {
		t.Fatalf("%q, %t", body, ok)
	}
	data[3] ^= 4
	if _, ok := Unseal(data); ok {
		t.Fatal("damage was not seen")
	}
	if _, ok := Unseal(data[:3]); ok {
		t.Fatal("three bytes were unsealed")
	}
}

// FuzzCursor reads any bytes as values and names.
func FuzzCursor(f *testing.F) {
	f.Add(AppendName(AppendValue(nil, schema.TextValue("text")), "", "name"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c := NewCursor(data)
		v := c.Value()
		if c.OK() && v.Kind() != 0 && NewCursor(AppendValue(nil, v)).Value().Kind() != v.Kind() {
			t.Fatal(v)
		}
		heads := ReadNameHeads(c, c.Left()/2, 255)
		names, ok := ReadNames(heads, c.Bytes(uint64(c.Left())), 255)
		for _, name := range names {
			if !ok || len(name) > 255 {
				t.Fatalf("%q", name)
			}
		}
	})
}
