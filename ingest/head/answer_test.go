package head

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"berth/internal/headapi"
	"berth/internal/keyspace"
	"berth/schema"
	"berth/schema/batch"
	"berth/schema/catalog"
)

// TestLiveHeadThatIsBehindIsNotComplete asks a head that follows for what was confirmed and has not reached it yet:
// whoever saw that acknowledged must not be told that the answer is complete.
func TestLiveHeadThatIsBehindIsNotComplete(t *testing.T) {
	committed := uint64(1)
	h := New(Options{Committed: func() uint64 { return committed }}, 1, 1)
	in := batch.NewInterner(16)
	ask := func(subject string) (header headapi.Header) {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // it waits for nothing
		first := true
		err := h.Answers()[subject](ctx, []byte(`{"gateway":"truck_0","to":9000000000000000000}`), func(chunk []byte) error {
			if !first {
				return nil
			}
			first = false
			return json.Unmarshal(chunk, &header)
		})
		if err != nil {
			t.Fatal(err)
		}
		return header
	}
	for seq := uint64(2); seq < 5; seq++ {
		committed = seq
		for subject := range h.Answers() {
			if header := ask(subject); header.Complete || header.Committed != seq || header.Followed != seq-1 || header.Reason == "" {
				t.Errorf("with batch %d confirmed and not followed the answer to %s is headed %+v", seq, subject, header)
			}
		}
		h.Follow(seq, &batch.Header{Kind: batch.Data}, truckRows(in, 1, 1, aDay))
		for subject := range h.Answers() {
			if header := ask(subject); !header.Complete || header.Followed != seq {
				t.Errorf("with batch %d followed the answer to %s is headed %+v", seq, subject, header)
			}
		}
	}
}

// TestAnAnswerWaitsForWhatWasCommitted: who saw an acknowledgement finds its readings, when the head follows within a moment.
func TestAnAnswerWaitsForWhatWasCommitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(Options{Committed: func() uint64 { return 2 }}, 1, 1)
		var header headapi.Header
		parts, answered := -1, false
		go func() {
			err := h.Answers()[headapi.Parts](t.Context(), []byte(`{"gateway":"truck_0","to":9000000000000000000}`), func(chunk []byte) error {
				if parts++; parts > 0 {
					return nil
				}
				return json.Unmarshal(chunk, &header)
			})
			if err != nil {
				t.Error(err)
			}
			answered = true
		}()
		synctest.Wait()
		if answered {
			t.Error("it is answered before the head has followed")
		}
		h.Follow(2, &batch.Header{Kind: batch.Data}, truckRows(batch.NewInterner(16), 1, 1, aDay))
		synctest.Wait()
		if !answered || !header.Complete || parts != 1 {
			t.Errorf("answered %v, %d parts, headed %+v", answered, parts, header)
		}
	})
}

// TestADayThatEndedIsClosedWhenNothingComesAnyMore: what is late of it gathers in one part.
func TestADayThatEndedIsClosedWhenNothingComesAnyMore(t *testing.T) {
	at := aDay + 30*schema.HourSpan
	h := New(Options{Now: func() time.Time { return time.Unix(0, at) }}, 1, 1)
	h.Follow(2, &batch.Header{Kind: batch.Data, Created: at}, truckRows(batch.NewInterner(16), 1, 1, aDay))
	for _, ended := range []int64{aDay + schema.DaySpan - 1, at} {
		if h.Sweep(ended, 0); h.Work().Closed {
			t.Errorf("a part that took something at %d is closed at %d", at, ended)
		}
	}
	if h.Sweep(at+1, 0); !h.Work().Closed {
		t.Error("the part of a day that has ended is not closed")
	}
}

// TestDroppedGatewayIsMissed drops a gateway whose readings the keyspace has: whoever asks for those after an older
// position is told that some are missing, also when the gateway is back.
func TestDroppedGatewayIsMissed(t *testing.T) {
	h := New(Options{}, 1, 1)
	in := batch.NewInterner(16)
	since := func(after string) (header headapi.Header) {
		t.Helper()
		first := true
		err := h.Answers()[headapi.Since](t.Context(), []byte(`{"gateway":"truck_0","after":"`+after+`"}`), func(chunk []byte) error {
			if !first {
				return nil
			}
			first = false
			return json.Unmarshal(chunk, &header)
		})
		if err != nil {
			t.Fatal(err)
		}
		return header
	}
	before := since("1/0").Position
	h.Follow(2, &batch.Header{Kind: batch.Data}, truckRows(in, 1, 1, aDay))
	if since(before).Missed {
		t.Error("what the head holds is missed")
	}
	if err := h.Load("truck_0", nil, nil); err != nil {
		t.Fatal(err)
	}
	h.TakeDirty()
	s := h.Snapshot("truck_0")
	h.Sweep(0, 1) // it was last seen at 0, and its row is on its way
	if f := h.Figures(); f.Readings == 0 || since("1/0").Missed {
		t.Error("readings have left the head before they are stored")
	}
	h.Stored(&keyspace.Gateway{Name: s.Name, Position: s.Position, Tail: []byte{1}})
	h.Sweep(0, 1)
	if f := h.Figures(); f.Readings != 0 {
		t.Fatalf("the head still holds %d readings", f.Readings)
	}
	after := since("1/0").Position
	for i, back := range []bool{false, true} {
		if back {
			h.Follow(uint64(2+i), &batch.Header{Kind: batch.Data}, truckRows(in, 1, 1, aDay+int64(i)))
		}
		if !since(before).Missed {
			t.Errorf("back %v: the readings that were dropped are not missed", back)
		}
		if since(after).Missed {
			t.Errorf("back %v: readings are missed that were not dropped", back)
		}
	}
}

// TestGatewaysAreAnsweredInPortions has the head follow and drop gateways while it gives a long answer: what comes later
// in it is as new as that, and who has left is left out.
func TestGatewaysAreAnsweredInPortions(t *testing.T) {
	h := New(Options{}, 1, 1)
	in := batch.NewInterner(16)
	follow := func(seq uint64, name string) {
		rows := &batch.Rows{Rows: []batch.Row{{Time: int64(seq)}}}
		var sensors []string
		for i := range 16 {
			sensors = append(sensors, fmt.Sprintf("log.%02d", i))
			rows.Bits = append(rows.Bits, rows.AddText(make([]byte, entryBytes/16)))
		}
		rows.Rows[0].Shape = in.Shape(name, sensors, slices.Repeat([]schema.Kind{schema.Text}, 16), nil)
		h.Follow(seq, &batch.Header{Kind: batch.Data}, rows)
	}
	follow(2, "a")
	follow(3, "b")
	follow(4, "c")
	var got []string
	err := h.Answers()[headapi.Gateways](t.Context(), []byte(`{"limit":10}`), func(chunk []byte) error {
		e, err := catalog.DecodeEntry(chunk)
		if err != nil {
			return nil //nolint:nilerr // it is the header
		}
		got = append(got, fmt.Sprintf("%s at %d", e.Gateway, e.Latest[0].Time))
		if e.Gateway == "a" {
			follow(5, "c")
			delete(h.gateways, "b")
		}
		return nil
	})
	if want := []string{"a at 2", "c at 5"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("the answer is %v, error %v, want %v", got, err, want)
	}
}

// TestPartsOfAFleet: the parts of several gateways come at once, and are those that each of them has.
func TestPartsOfAFleet(t *testing.T) {
	h := New(Options{}, 1, 1)
	h.Follow(2, &batch.Header{Kind: batch.Data}, truckRows(batch.NewInterner(16), 3, 4, aDay))
	ask := func(subject string, request any) (parts []string) {
		t.Helper()
		q, err := json.Marshal(request)
		if err != nil {
			t.Fatal(err)
		}
		err = h.Answers()[subject](t.Context(), q, func(chunk []byte) error {
			parts = append(parts, string(chunk))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return parts[1:] // without the header
	}
	to := aDay + schema.DaySpan
	one, two := ask(headapi.Parts, headapi.PartsRequest{Gateway: "truck_0", From: aDay, To: to}), ask(headapi.Parts, headapi.PartsRequest{Gateway: "truck_2", From: aDay, To: to})
	got := ask(headapi.Fleet, headapi.FleetRequest{Gateways: []string{"truck_0", "truck_2", "truck_9"}, From: aDay, To: to})
	if len(one) == 0 || len(two) == 0 || !slices.Equal(got, slices.Concat(one, two)) {
		t.Errorf("%d parts, want %d and %d", len(got), len(one), len(two))
	}
	if got := ask(headapi.Fleet, headapi.FleetRequest{Gateways: []string{"truck_0"}, From: to, To: to + 1}); len(got) != 0 {
		t.Errorf("%d parts of a day that there is nothing of", len(got))
	}
	for _, c := range []struct {
		q    headapi.GatewaysRequest
		want *headapi.Names
	}{
		{headapi.GatewaysRequest{Limit: 9, From: aDay, To: to}, &headapi.Names{Names: []string{"truck_0", "truck_1", "truck_2"}, Whole: true}},
		{headapi.GatewaysRequest{Limit: 9, After: "truck_1", From: to - 1, To: to + 1}, &headapi.Names{Names: []string{"truck_2"}, Whole: true}},
		{headapi.GatewaysRequest{Limit: 2, From: aDay, To: to}, &headapi.Names{Names: []string{"truck_0", "truck_1"}}},
		{headapi.GatewaysRequest{Limit: 9, From: to, To: to + 1}, &headapi.Names{Whole: true}},
		{headapi.GatewaysRequest{Limit: 9}, nil},
	} {
		q, err := json.Marshal(&c.q)
		if err != nil {
			t.Fatal(err)
		}
		var header *headapi.Header
		err = h.Answers()[headapi.Gateways](t.Context(), q, func(chunk []byte) error {
			if header != nil {
				return nil
			}
			header = &headapi.Header{}
			return json.Unmarshal(chunk, header)
		})
		if diff := cmp.Diff(c.want, header.Parts, cmpopts.EquateEmpty()); err != nil || diff != "" {
			t.Errorf("%+v is answered %v\n%s", c.q, err, diff)
		}
	}
	many, err := json.Marshal(headapi.FleetRequest{Gateways: make([]string, headapi.MostFleet+1)})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Answers()[headapi.Fleet](t.Context(), many, func([]byte) error { return nil }); !schema.Is(err, schema.Invalid) {
		t.Errorf("too many gateways are answered %v", err)
	}
}

// TestReadingsAreCountedOnceOverARestart reads messages of the log again that a gateway's row counts already.
func TestReadingsAreCountedOnceOverARestart(t *testing.T) {
	const at = 1000 * schema.HourSpan
	h := New(Options{}, 1, 1)
	in := batch.NewInterner(16)
	h.Follow(2, &batch.Header{Kind: batch.Data, Created: at - 1}, truckRows(in, 1, 3, aDay))
	h.Follow(3, &batch.Header{Kind: batch.Data, Created: at + 1}, truckRows(in, 1, 2, aDay+schema.HourSpan))
	h.Follow(4, &batch.Header{Kind: batch.Data, Created: at + 2}, truckRows(in, 1, 4, aDay+2*schema.HourSpan))
	row := &catalog.Entry{Gateway: "truck_0"}
	row.Arrived.Add(at-2, 500)
	row.Arrived.Add(at+1, 20)
	if err := h.Load("truck_0", &keyspace.Gateway{Name: "truck_0", Position: endOf(3), Entry: catalog.EncodeEntry(nil, row)}, func(why error) error { return why }); err != nil {
		t.Fatal(err)
	}
	e, err := catalog.DecodeEntry(h.gateways["truck_0"].encodeEntry())
	if want := (catalog.Arrived{Hour: 1000, Count: 60, Before: 500}); err != nil || e.Arrived != want {
		t.Errorf("counted are %+v, want %+v, %v", e.Arrived, want, err)
	}
}

// TestAttributesAreTheLatest: of a name the later value wins, and what the gateway's row says stays where nothing newer came.
func TestAttributesAreTheLatest(t *testing.T) {
	h := New(Options{}, 1, 1)
	in := batch.NewInterner(16)
	follow := func(seq uint64, attributes ...batch.Attribute) {
		shape := in.Shape("g", []string{"a"}, []schema.Kind{schema.Int}, attributes)
		h.Follow(seq, &batch.Header{Kind: batch.Data}, &batch.Rows{Rows: []batch.Row{{Shape: shape, Time: int64(seq)}}, Bits: []uint64{1}})
	}
	follow(2, batch.Attribute{Name: "site", Value: "north"})
	follow(3, batch.Attribute{Name: "site", Value: "south"})
	follow(4, batch.Attribute{Name: "model", Value: "x"}, batch.Attribute{Name: "site", Value: "south"})
	row := &catalog.Entry{Gateway: "g", Attributes: []catalog.Attribute{{Name: "owner", Value: "harbor"}, {Name: "site", Value: "west"}}}
	if err := h.Load("g", &keyspace.Gateway{Name: "g", Position: endOf(1), Entry: catalog.EncodeEntry(nil, row)}, func(why error) error { return why }); err != nil {
		t.Fatal(err)
	}
	e, err := catalog.DecodeEntry(h.gateways["g"].encodeEntry())
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, a := range e.Attributes {
		got[a.Name] += a.Value
	}
	if diff := cmp.Diff(map[string]string{"site": "south", "model": "x", "owner": "harbor"}, got); diff != "" {
		t.Error(diff)
	}
}

// TestGatewaysThatHaveChanged asks after each change for what has changed since the answer before.
func TestGatewaysThatHaveChanged(t *testing.T) {
	h := New(Options{}, 1, 1)
	in := batch.NewInterner(16)
	follow := func(seq uint64, name string) {
		rows := &batch.Rows{Rows: []batch.Row{{Time: int64(seq), Shape: in.Shape(name, []string{"a"}, []schema.Kind{schema.Float}, nil)}}, Bits: []uint64{0}}
		h.Follow(seq, &batch.Header{Kind: batch.Data}, rows)
	}
	load := func(name string) {
		if err := h.Load(name, nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	store := func(name string) {
		h.TakeDirty()
		s := h.Snapshot(name)
		h.Stored(&keyspace.Gateway{Name: s.Name, Position: s.Position, Tail: []byte{1}})
	}
	since := int64(0)
	ask := func(q headapi.GatewaysRequest, want ...string) {
		t.Helper()
		q.Limit = 9
		header, names, err := askGateways(t.Context(), h, &q)
		if err != nil || header.Change <= since || header.Missed != slices.Contains(want, "missed") {
			t.Fatalf("%+v, %v", header, err)
		}
		if !slices.Equal(names, slices.DeleteFunc(want, func(s string) bool { return s == "missed" })) {
			t.Fatalf("%+v: %q, not %q", q, names, want)
		}
		since = header.Change
	}
	changed := func(want ...string) { t.Helper(); ask(headapi.GatewaysRequest{Since: since}, want...) }

	ask(headapi.GatewaysRequest{})
	changed()
	follow(2, "b")
	follow(3, "a")
	changed("a", "b")
	changed()
	load("a") // what its row said is in its entry now
	changed("a")
	store("a")
	changed()
	ask(headapi.GatewaysRequest{}, "b")
	follow(4, "a")
	store("a") // its row is as new, and the asker may have read it before
	changed("a")
	ask(headapi.GatewaysRequest{Names: []string{"a", "b", "c"}}, "b")
	before := since
	follow(5, "a")
	store("a")
	h.Sweep(0, 1) // it was last seen at 0
	changed("missed")
	changed()
	ask(headapi.GatewaysRequest{Since: before}, "missed")
	ask(headapi.GatewaysRequest{Since: since + 9}, "missed") // an instance before this one said so
	h = New(Options{}, 6, 6)
	ask(headapi.GatewaysRequest{Since: since}, "missed")
	changed()
	many := headapi.GatewaysRequest{Names: make([]string, headapi.MostFleet+1)}
	if _, _, err := askGateways(t.Context(), h, &many); !schema.Is(err, schema.Invalid) {
		t.Errorf("too many names: %v", err)
	}
}

// askGateways returns the header of an answer and the names of the entries after it.
func askGateways(ctx context.Context, h *Head, q *headapi.GatewaysRequest) (header headapi.Header, names []string, err error) {
	request, err := json.Marshal(q)
	if err != nil {
		return header, nil, err
	}
	first := true
	err = h.Answers()[headapi.Gateways](ctx, request, func(chunk []byte) error {
		if first {
			first = false
			return json.Unmarshal(chunk, &header)
		}
		e, err := catalog.DecodeEntry(chunk)
		if err != nil {
			return err
		}
		if len(e.Latest) > 0 != (q.Since == 0) { // newest readings are not asked for of what has changed
			return fmt.Errorf("%+v is not as it was asked for", e)
		}
		names = append(names, e.Gateway)
		return nil
	})
	return header, names, err
}

// TestChangedGatewayThatLeavesIsNotLeftOut: who asks for changes alone does not read the keyspace for what leaves the head meanwhile.
func TestChangedGatewayThatLeavesIsNotLeftOut(t *testing.T) {
	h := New(Options{}, 1, 1)
	in := batch.NewInterner(16)
	header, _, err := askGateways(t.Context(), h, &headapi.GatewaysRequest{Limit: 9})
	if err != nil {
		t.Fatal(err)
	}
	h.Follow(2, &batch.Header{Kind: batch.Data}, truckRows(in, 2, 1, aDay))
	request, err := json.Marshal(headapi.GatewaysRequest{Limit: 9, Since: header.Change})
	if err != nil {
		t.Fatal(err)
	}
	err = h.Answers()[headapi.Gateways](t.Context(), request, func([]byte) error {
		delete(h.gateways, "truck_1")
		return nil
	})
	if !schema.Is(err, schema.Unavailable) {
		t.Errorf("a gateway that has left is left out: %v", err)
	}
}
