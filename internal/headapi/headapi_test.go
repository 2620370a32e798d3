package headapi_test

import (
	"math"
	"testing"

	"berth/internal/headapi"
	"berth/schema"
)

func TestPositionRoundTrip(t *testing.T) {
	for _, p := range []schema.Position{{}, {Sequence: 1}, {Sequence: math.MaxUint64, Ordinal: math.MaxUint32}} {
		got, err := headapi.ParsePosition(headapi.FormatPosition(p))
		if err != nil || got != p {
			t.Errorf("%v came back as %v, %v", p, got, err)
		}
	}
}

func TestParsePositionRefuses(t *testing.T) {
	for _, s := range []string{"", "1", "1/", "/1", "-1/0", "1/-1", "1/4294967296", "1/2/3", "a/b", "1 /2"} {
		if p, err := headapi.ParsePosition(s); !schema.Is(err, schema.Invalid) {
			t.Errorf("%q gave %v, %v, want Invalid", s, p, err)
		}
	}
}

// TestNamesLackWhatTheySay: whole or cut, told or not.
func TestNamesLackWhatTheySay(t *testing.T) {
	whole, cut := &headapi.Names{Names: []string{"b", "d"}, Whole: true}, &headapi.Names{Names: []string{"b", "d"}}
	for _, c := range []struct {
		names    *headapi.Names
		gateways []string
		lack     bool
	}{
		{nil, []string{"a"}, false},
		{whole, []string{"a", "c", "e"}, true},
		{whole, []string{"a", "b"}, false},
		{whole, nil, true},
		{cut, []string{"a", "c"}, true},
		{cut, []string{"a", "d"}, false},
		{cut, []string{"a", "e"}, false},
		{&headapi.Names{}, []string{"a"}, false},
		{&headapi.Names{Whole: true}, []string{"a"}, true},
	} {
		if got := c.names.Lack(c.gateways); got != c.lack {
			t.Errorf("%+v lack %q: %v", c.names, c.gateways, got)
		}
	}
}
