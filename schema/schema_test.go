package schema

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
)

func TestStartRoundsDownAlsoBefore1970(t *testing.T) {
	for _, c := range []struct{ t, span, want int64 }{
		{0, HourSpan, 0},
		{HourSpan - 1, HourSpan, 0},
		{HourSpan, HourSpan, HourSpan},
		{-1, HourSpan, -HourSpan},
		{-HourSpan, HourSpan, -HourSpan},
		{-1, DaySpan, -DaySpan},
		{time.Date(2026, 2, 28, 23, 59, 59, 999, time.UTC).UnixNano(), DaySpan, time.Date(2026, 2, 28, 0, 0, 0, 0, time.UTC).UnixNano()},
	} {
		if got := Start(c.t, c.span); got != c.want {
			t.Errorf("Start(%d, %d) = %d, want %d", c.t, c.span, got, c.want)
		}
	}
}

func TestValuesKeepEveryBit(t *testing.T) {
	for _, bits := range []uint64{0, 1, 1 << 63, math.Float64bits(math.Inf(-1)), 0x7ff8000000000001, 0x7ff0000000000001, 0xfff8dead00000000} {
		v := FloatValue(math.Float64frombits(bits))
		if v.Bits() != bits || v != BitsValue(Float, bits) {
			t.Errorf("%#x became %#x", bits, v.Bits())
		}
	}
	for _, i := range []int64{0, -1, math.MinInt64, math.MaxInt64} {
		if v := IntValue(i); v.Int() != i || v != BitsValue(Int, v.Bits()) {
			t.Errorf("%d became %d", i, v.Int())
		}
	}
	if v := BoolValue(true); !v.Bool() || v.Bits() != 1 || BoolValue(false).Bits() != 0 {
		t.Errorf("true became %v", v)
	}
	if IntValue(1) == FloatValue(math.Float64frombits(1)) {
		t.Error("values of two kinds are equal")
	}
}

func TestNumber(t *testing.T) {
	for _, c := range []struct {
		v    Value
		want float64
		ok   bool
	}{
		{FloatValue(2.5), 2.5, true},
		{FloatValue(math.NaN()), 0, false},
		{IntValue(-3), -3, true},
		{BoolValue(true), 1, true},
		{TextValue("1"), 0, false},
		{Value{}, 0, false},
	} {
		if got, ok := c.v.Number(); ok != c.ok || ok && got != c.want {
			t.Errorf("%v %q is the number %v, %v", c.v.Kind(), c.v, got, ok)
		}
	}
}

func TestPositionsAreOrdered(t *testing.T) {
	order := []Position{{}, {0, 1}, {1, 0}, {1, math.MaxUint32}, {2, 0}, {math.MaxUint64, 0}}
	for i, a := range order {
		for j, b := range order {
			if got := a.Compare(b); (got < 0) != (i < j) || (got == 0) != (i == j) || a.Less(b) != (i < j) {
				t.Errorf("%v against %v is %d", a, b, got)
			}
		}
	}
}

func TestNames(t *testing.T) {
	good := map[string]func(string) error{
		"ab": CheckProvider, "provider1": CheckProvider, "a" + strings.Repeat("0", 30): CheckProvider,
		"g": CheckGateway, "Kessel 3/Süd": CheckGateway, strings.Repeat("x", MaxGatewayName): CheckGateway, "网关": CheckGateway,
		"boiler.temperature,room=a": CheckSensor,
	}
	for name, check := range good {
		if err := check(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	bad := []struct {
		name  string
		check func(string) error
	}{
		{"", CheckProvider},
		{"a", CheckProvider},
		{"1a", CheckProvider},
		{"Ab", CheckProvider},
		{"a-b", CheckProvider},
		{"a/..", CheckProvider},
		{"a" + strings.Repeat("0", 31), CheckProvider},
		{"", CheckGateway},
		{" g", CheckGateway},
		{"g ", CheckGateway},
		{"g\n", CheckGateway},
		{"a\x00b", CheckGateway},
		{"\xff", CheckGateway},
		{"a\u200bb", CheckGateway},
		{"g\u00a0", CheckGateway},
		{strings.Repeat("x", MaxGatewayName+1), CheckGateway},
		{strings.Repeat("x", MaxSensorName+1), CheckSensor},
	}
	for _, c := range bad {
		if err := c.check(c.name); !Is(err, Invalid) {
			t.Errorf("%q gave %v, want Invalid", c.name, err)
		}
	}
}

func TestErrorsShowNoCause(t *testing.T) {
	err := fmt.Errorf("open keyspace: %w", Errorf(Unavailable, "the keyspace is away").
		WithNext("run `provisioner doctor`").WithCause(errors.New("password=secret")))
	if CodeOf(err) != Unavailable || !Is(err, Unavailable) || Is(err, Invalid) || Is(nil, Unavailable) {
		t.Errorf("the kind of %v is %q", err, CodeOf(err))
	}
	if got, want := Show(err), "the keyspace is away; run `provisioner doctor`"; got != want {
		t.Errorf("shown is %q, want %q", got, want)
	}
	if !strings.Contains(err.Error(), "password=secret") {
		t.Errorf("the log does not learn the cause: %v", err)
	}
	if plain := errors.New("secret"); CodeOf(plain) != Internal || strings.Contains(Show(plain), "secret") {
		t.Errorf("%q is shown of an error of no kind", Show(plain))
	}
	if CodeOf(nil) != "" {
		t.Error("no error has a kind")
	}
}

func TestSlotsHavePorts(t *testing.T) {
	if got := Slot(1).Port(6000); got != 6001 {
		t.Errorf("the port of slot 1 is %d", got)
	}
}
