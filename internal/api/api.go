// Package api is the HTTP API of a provider's readings as types: what reports answers, what web serves under the same
// paths, and what pages, simulated gateways and tests read. Times are RFC 3339 with offset plus epoch milliseconds.
//
//	GET /api/v1/providers/{p}/gateways                      Gateways    ?sort=[-]name|state|last_seen|rate|rejects &after= &limit= (default 100, most 1000) &q= &state= &group=… &tag=… &day=true
//	GET /api/v1/providers/{p}/gateways/{g}                  Gateway
//	GET /api/v1/providers/{p}/gateways/{g}/sensors          Sensors
//	GET /api/v1/providers/{p}/gateways/{g}/latest           Latest
//	GET /api/v1/providers/{p}/gateways/{g}/series           SeriesAnswer ?sensor=… &from= &to= &points=
//	GET /api/v1/providers/{p}/gateways/{g}/readings         a stream     ?sensor=… &from= &to= &format=json|columns|csv; columns: [Columns]
//	GET /api/v1/providers/{p}/gateways/{g}/live             server-sent events ?sensor=…: one LiveEvent a second at most
//	GET /api/v1/providers/{p}/reports/preview               Report, or a file of it: see [Report]
//	GET /api/v1/providers/{p}/export                        a file       ?gateway=… &sensor=… &from= &to= &format=csv|jsonl|xlsx|parquet &after=
//	GET /api/v1/providers/{p}/exports                       Exports
//	GET /api/v1/providers/{p}/latest                        FleetLatest  ?sensor=… &after= &limit= (default and most 1000): of all gateways
//	GET /api/v1/providers/{p}/series                        FleetSeries  ?sensor=… &from= &to= &points= &after= &limit=: of all gateways
//	GET /api/v1/providers/{p}/sensors                       SaidSensors: how sensors are called, units, counters; POST changes
//	GET /api/v1/providers/{p}/groups, /groupings            groups and tags of gateways, and what is noted on charts: see [Groups]
//	GET /api/v1/providers/{p}/books                         Books
//	GET /api/v1/providers/{p}/rejects                       Rejects      ?before= &limit= (default 50, most 1000)
//	GET /api/v1/providers/{p}/rejects/{id}                  Reject
//	GET /api/v1/providers/{p}/rejects/{id}/raw              its bytes as they came
//	POST /api/v1/providers/{p}/rejects/{id}/feed            Fed: it is taken in again, by the settings of now
//	DELETE /api/v1/providers/{p}/rejects/{id}               it is removed
//	… /aside, /aside/{id}, /aside/{id}/raw, /aside/{id}/feed  Asides, Aside: the same of what was set aside
//
// Times in requests are RFC 3339, epoch milliseconds, "now", or "now-6h" (units s, m, h, d, w). Ranges are [from, to).
// Errors are problems of RFC 9457 (application/problem+json).
package api

import (
	"encoding/json"
	"strconv"
	"time"

	"berth/schema"
	"berth/schema/record"
)

// State is a gateway's state by the rule of [StateOf].
type State string

// The states of a gateway.
const (
	Online  State = "online"
	Late    State = "late"
	Offline State = "offline"
	Never   State = "never" // has a key, has never sent
)

// States returns all of them.
func States() []State { return []State{Online, Late, Offline, Never} }

// What a list of gateways may be sorted by.
const (
	ByName     = "name"
	ByState    = "state" // those first that need somebody: offline, late, online, never
	ByLastSeen = "last_seen"
	ByRate     = "rate"
	ByRejects  = "rejects"
)

// Orders returns all of them.
func Orders() []string { return []string{ByName, ByState, ByLastSeen, ByRate, ByRejects} }

// StateOf is the rule: with i the gateway's usual interval between frames, it is online until it has been silent for
// 3·i (at least 2 minutes), late until 10·i (at least 15 minutes), then offline; never when it has never sent.
func StateOf(now, lastSeen time.Time, interval time.Duration) State {
	silent := now.Sub(lastSeen)
	switch {
	case lastSeen.IsZero():
		return Never
	case silent <= max(3*interval, 2*time.Minute):
		return Online
	case silent <= max(10*interval, 15*time.Minute):
		return Late
	default:
		return Offline
	}
}

// Gateway is a gateway as lists show it.
type Gateway struct {
	Name       string            `json:"name"`
	State      State             `json:"state"`
	FirstSeen  *time.Time        `json:"first_seen"` // null: never
	LastSeen   *time.Time        `json:"last_seen"`
	Interval   float64           `json:"interval_seconds"`   // usual time between frames; 0: not known yet
	Rate       uint64            `json:"readings_last_hour"` // that arrived, those that came again counted again
	Rejects    *uint64           `json:"rejects"`            // of its own that are kept; null: it cannot be told now
	Day        *Day              `json:"day,omitempty"`      // where it was asked for, and can be told
	Sensors    int               `json:"sensors"`
	Attributes map[string]string `json:"attributes"`                    // as it sends them
	Groups     []string          `json:"groups"`                        // that people have put it into
	Tags       map[string]string `json:"tags"`                          // that people have given it
	ClockAhead float64           `json:"clock_ahead_seconds,omitempty"` // its clock is at least so far ahead of ours; see [ClockTolerance]
}

// Day is how a gateway was in each hour of the last day, the last of which lasts: online when there are readings of it, late when
// they are fewer than half of what the gateway's better hours have, and where there are none by the rule of [StateOf]. Late
// readings are of the hour in which they were measured. It is at most a minute old.
type Day struct {
	From     time.Time `json:"from"` // of the first hour
	States   []State   `json:"states"`
	Readings []uint64  `json:"readings"`
}

// ClockTolerance is how long after its arrival a reading may seem to be measured before the gateway's clock is called
// wrong. A clock that is slow cannot be told from readings that come late, which are welcome.
const ClockTolerance = 2 * time.Minute

// Gateways is a page of gateways in the order that was asked for, at first byte order of their names.
type Gateways struct {
	Gateways []Gateway `json:"gateways"`
	Next     string    `json:"next,omitempty"` // the value of after for the next page; empty: this was the last
	Complete
}

// Sensors are the sensors of a gateway in byte order of their names.
type Sensors struct {
	Gateway string   `json:"gateway"`
	Sensors []Sensor `json:"sensors"`
	Complete
}

// Sensor is a sensor's name and the kind of its latest value.
type Sensor struct {
	Name string `json:"name"`
	Kind string `json:"kind"` // float, int, bool, text
}

// Latest holds the reading measured last (not the one received last) of each sensor.
type Latest struct {
	Gateway  string    `json:"gateway"`
	Readings []Reading `json:"readings"`
	Complete
}

// FleetLatest holds the newest readings of some sensors of each gateway that has one of them, in byte order of their names.
type FleetLatest struct {
	Gateways []GatewayLatest `json:"gateways"`
	Next     string          `json:"next,omitempty"` // the value of after for the next page; empty: this was the last
	Complete
}

// GatewayLatest is what FleetLatest has of one gateway.
type GatewayLatest struct {
	Gateway  string    `json:"gateway"`
	Readings []Reading `json:"readings"`
}

// Reading is one reading of a gateway.
type Reading struct {
	Sensor string    `json:"sensor"`
	Time   time.Time `json:"time"`    // UTC or the provider's zone, with offset
	Millis int64     `json:"time_ms"` // epoch milliseconds
	Nanos  string    `json:"time_ns"` // epoch nanoseconds as decimal text: JSON numbers end at 2^53
	Kind   string    `json:"kind"`
	Value  Value     `json:"value"`
}

// Columns are the readings of a gateway by sensor, in a tenth of the bytes that a [Reading] for each takes. A list of sensors
// that were read together comes for each stretch of time: of one sensor all times rise from a list to the next.
type Columns struct {
	Gateway string     `json:"gateway"`
	Columns []Together `json:"columns"`
	Damaged int        `json:"unreadable_blocks"` // places that could not be read
	Complete
}

// Together are sensors that have readings at the same times.
type Together struct {
	Millis  []int64  `json:"time_ms,omitempty"` // epoch milliseconds, where all times are whole ones
	Nanos   []string `json:"time_ns,omitempty"` // else epoch nanoseconds as decimal text: JSON numbers end at 2^53
	Sensors []Column `json:"sensors"`
}

// Column is the values of a sensor at each of the times.
type Column struct {
	Sensor string   `json:"sensor"`
	Kind   string   `json:"kind,omitempty"`  // of all values
	Kinds  []string `json:"kinds,omitempty"` // of each, where they differ
	Values []Value  `json:"values"`
}

// Complete says how far an answer is complete: entirely, or only up to a time, because the newest readings could not be
// asked for. It is part of every answer that holds readings.
type Complete struct {
	Complete bool       `json:"complete"`
	UpTo     *time.Time `json:"complete_up_to,omitempty"` // when not complete: readings that arrived before are all here
	Reason   string     `json:"incomplete_reason,omitempty"`
}

// SeriesAnswer holds one Series per sensor asked for.
type SeriesAnswer struct {
	Gateway string    `json:"gateway"`
	From    time.Time `json:"from"`
	To      time.Time `json:"to"`
	Source  string    `json:"source"` // "readings", "hours" or "days": what the buckets were computed from
	Step    float64   `json:"step_seconds"`
	Series  []Series  `json:"series"`
	Complete
}

// FleetSeries holds the series of some sensors of each gateway that has one of them, in byte order of their names. It is
// complete when the list of gateways is and each gateway's answer is.
type FleetSeries struct {
	Gateways []SeriesAnswer `json:"gateways"`
	Next     string         `json:"next,omitempty"` // the value of after for the next page; empty: this was the last
	Complete
}

// Series is a sensor's buckets, or its readings themselves when there are fewer than the points asked for: then Raw is
// true, each Count is 1 and Min, Max and Mean are the value. Buckets without readings are absent: a gap stays a gap. Of Min,
// Max, Mean and Count it may have only those that were asked for.
type Series struct {
	Sensor string    `json:"sensor"`
	Kind   string    `json:"kind"`
	Raw    bool      `json:"raw"`
	Time   []int64   `json:"time_ms"` // start of the bucket, or time of the reading
	Min    Numbers   `json:"min,omitzero"`
	Max    Numbers   `json:"max,omitzero"`
	Mean   Numbers   `json:"mean,omitzero"`
	Count  []uint64  `json:"count,omitzero"`
	Text   []*string `json:"text,omitempty"` // Raw text values
	Gap    float64   `json:"gap_seconds"`    // a distance between points beyond this is a gap
}

// LiveEvent is what a live stream sends: the readings that came since the event before. Its server-sent id is the
// position, so that a stream resumes where it was cut (Last-Event-ID).
type LiveEvent struct {
	Readings []Reading `json:"readings"`
	At       time.Time `json:"at"`
	Complete
}

// Books are a provider's running totals; they survive every restart. Frames.Received = Committed + Rejected + GivenUp +
// InHand; the readings of committed frames = Accepted + Rejected. Accepted are exactly the readings that were put into the
// log: those that came again count again, and so do those of a body that broke off after some of it was stored.
type Books struct {
	Frames struct {
		Received  uint64 `json:"received"`
		Committed uint64 `json:"committed"`
		Rejected  uint64 `json:"rejected"`
		GivenUp   uint64 `json:"given_up"`
		InHand    uint64 `json:"in_hand"`
	} `json:"frames"`
	Readings struct {
		Accepted uint64 `json:"accepted"`
		Rejected uint64 `json:"rejected"`
		Timeless uint64 `json:"timeless"` // came without a time and got their arrival's
	} `json:"readings"`
	Strangers uint64            `json:"strangers"` // connections that ended without a valid key
	Reasons   map[string]uint64 `json:"reasons"`   // rejected readings and frames by reason
	NotKept   uint64            `json:"not_kept"`  // rejects that were answered and counted, but not kept
	SetAside  uint64            `json:"set_aside"` // readings that were accepted and could never be stored
	Aside     uint64            `json:"aside"`     // pieces of them that are set aside now: see Asides
	Log       struct {
		Messages uint64 `json:"messages"`
		Bytes    uint64 `json:"bytes"`
		Quota    uint64 `json:"quota_bytes"`
		First    uint64 `json:"first_sequence"`
		Last     uint64 `json:"last_sequence"`
		Written  uint64 `json:"written_bytes"`     // by all batches ever
		Followed uint64 `json:"followed_sequence"` // the head has followed up to here
	} `json:"log"`
	Head struct {
		Readings uint64 `json:"readings"`
		Parts    uint64 `json:"parts"`
		Bytes    uint64 `json:"bytes"`
	} `json:"head"`
	State    string     `json:"state"` // one word: ready, replaying, slow, full, disk, quota, stalled, aside
	Detail   string     `json:"detail,omitempty"`
	Since    *time.Time `json:"since,omitempty"` // when the state began; absent: it is as it should be
	Episodes []Episode  `json:"episodes"`        // those that last, the gravest first, then the newest that have ended
	Limits   []Limit    `json:"limits"`
	At       time.Time  `json:"at"`
}

// Limit is one of a provider's limits, by the name that schema/record gives it, and how much of it is used: a rate lately, a
// limit for each gateway or address by the one that uses most of it.
type Limit struct {
	Name  string `json:"name"`
	Used  int64  `json:"used"`
	Limit int64  `json:"limit"` // 0: none
}

// Episode is a time in which ingest was not as it should be.
type Episode struct {
	State  string     `json:"state"`
	Detail string     `json:"detail,omitempty"`
	From   time.Time  `json:"from"`
	To     *time.Time `json:"to"`              // null: it lasts
	Times  int        `json:"times,omitempty"` // how often it ended and began again at once
}

// Reject is a frame, or lines of one, that was refused and is kept.
type Reject struct {
	ID uint64 `json:"id"`
	record.Reject
	Kept int    `json:"kept"` // bytes; fewer than Refused: it was cut short
	Raw  []byte `json:"raw"`  // base64; the first 4 KB of them
}

// Whole reports whether all that was refused is kept.
func (r *Reject) Whole() bool { return r.Kept >= r.Refused }

// RejectLine is a line that was refused, from 1, and why.
type RejectLine = record.RejectLine

// Rejects are the newest rejects, newest first.
type Rejects struct {
	Rejects []Reject `json:"rejects"`
	Kept    uint64   `json:"kept"`           // how many are kept in all
	Next    uint64   `json:"next,omitempty"` // the value of before for the next page; 0: this was the last
}

// Aside is what was acknowledged and can never be stored, as it is kept.
type Aside struct {
	ID uint64 `json:"id"`
	record.Aside
	Kept int `json:"kept"` // bytes
}

// Asides are what is set aside, newest first.
type Asides struct {
	Aside []Aside `json:"aside"`
	Kept  uint64  `json:"kept"`        // entries in all
	Bytes uint64  `json:"bytes"`       // of them
	Quota uint64  `json:"quota_bytes"` // when it is reached, what would have to be set aside waits, and the log with it
	Next  uint64  `json:"next,omitempty"`
}

// Fed is what became of something that was fed again.
type Fed struct {
	ID       uint64      `json:"id"`
	Accepted uint64      `json:"accepted"` // readings that are in the log now
	Rejected uint64      `json:"rejected"` // readings that are refused still
	Code     schema.Code `json:"code,omitempty"`
	Reason   string      `json:"reason,omitempty"` // of the first of them
	Removed  bool        `json:"removed"`          // it is no longer kept under this ID; what is refused still is kept under a new one
}

// Value is a reading's value in JSON: a number, true or false, text; NaN and infinities are the texts "NaN", "+Inf" and
// "-Inf". An int beyond 2^53 is still written with all its digits.
type Value struct{ schema.Value }

// MarshalJSON writes the value.
func (v Value) MarshalJSON() ([]byte, error) {
	switch v.Kind() {
	case schema.Float:
		return Number(v.Float()).MarshalJSON()
	case schema.Text:
		return json.Marshal(v.Text())
	default:
		return []byte(v.String()), nil
	}
}

// UnmarshalJSON reads a value as MarshalJSON writes it: a number becomes a Float, since only the reading's Kind tells an
// Int from it.
func (v *Value) UnmarshalJSON(data []byte) error {
	var text string
	switch {
	case string(data) == "true" || string(data) == "false":
		v.Value = schema.BoolValue(data[0] == 't')
	case len(data) > 0 && data[0] == '"':
		if err := json.Unmarshal(data, &text); err != nil {
			return err
		}
		v.Value = schema.TextValue(text)
	default:
		f, err := plainNumber(data)
		if err != nil {
			return err
		}
		v.Value = schema.FloatValue(f)
		if n, err := strconv.ParseInt(string(data), 10, 64); err == nil && strconv.FormatFloat(f, 'f', -1, 64) != string(data) {
			v.Value = schema.IntValue(n) // a float has fewer digits
		}
	}
	return nil
}
