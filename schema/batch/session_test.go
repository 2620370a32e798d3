package batch_test

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"berth/schema"
	"berth/schema/batch"
)

// someSessions have something of everything.
var someSessions = []batch.Session{
	{
		Key: "crane-1\x00c-1", Left: 1_700_000_060_123_456_789, Expiry: 86_400, Received: []uint16{1, 2, 700, 65_535},
		Filters: []batch.Filter{{Name: "commands/crane-1/#", QoS: 1}, {Name: "commands/crane-1/stop"}},
	},
	{Key: "\x00relay", Expiry: 1},
	{Key: "ended"},
}

func anySession() *rapid.Generator[batch.Session] {
	return rapid.Custom(func(t *rapid.T) batch.Session {
		s := batch.Session{
			Key: rapid.StringN(0, 9, 64).Draw(t, "key"), Left: rapid.Int64().Draw(t, "left"), Expiry: rapid.Uint32().Draw(t, "expiry"),
			Received: rapid.SliceOfNDistinct(rapid.Uint16(), 0, 20, rapid.ID[uint16]).Draw(t, "received"),
		}
		if slices.Sort(s.Received); len(s.Received) == 0 {
			s.Received = nil
		}
		for range rapid.IntRange(0, 3).Draw(t, "filters") {
			s.Filters = append(s.Filters, batch.Filter{Name: rapid.StringN(0, 9, 64).Draw(t, "name"), QoS: rapid.Byte().Draw(t, "QoS")})
		}
		return s
	})
}

// TestSessionsBeyondTheBounds: what no session can have is no message.
func TestSessionsBeyondTheBounds(t *testing.T) {
	many := make([]uint16, batch.MaxReceived+1)
	for i := range many {
		many[i] = uint16(i)
	}
	for what, s := range map[string]batch.Session{
		"too long a key":         {Key: strings.Repeat("k", batch.MaxSessionKey+1)},
		"too many identifiers":   {Received: many},
		"an identifier twice":    {Received: []uint16{1, 1}},
		"too many filters":       {Filters: make([]batch.Filter, batch.MaxFilters+1)},
		"a filter that is long":  {Filters: []batch.Filter{{Name: strings.Repeat("f", batch.MaxFilter+1)}}},
		"identifiers descending": {Received: []uint16{2, 1}},
	} {
		var e batch.Encoder
		if _, err := batch.DecodeHeader(e.Encode(nil, &batch.Header{Kind: batch.Claim, Sessions: []batch.Session{s}})); !schema.Is(err, schema.Invalid) {
			t.Errorf("%s: error %v, want an invalid one", what, err)
		}
	}
	var e batch.Encoder
	most := batch.Session{Key: strings.Repeat("k", batch.MaxSessionKey), Received: many[1:]}
	if _, err := batch.DecodeHeader(e.Encode(nil, &batch.Header{Kind: batch.Claim, Sessions: []batch.Session{most}})); err != nil {
		t.Error(err)
	}
}
