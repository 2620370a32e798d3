package head

import (
	"slices"

	"berth/schema"
	"berth/schema/batch"
	"berth/schema/catalog"
)

// gatewayBytes is about what a gateway and its place in the maps take, and laneBytes a lane, beside their readings.
const (
	gatewayBytes = 512
	laneBytes    = 256
)

// smoothing is the weight of a new observation of a gateway's interval; patience bounds an observation to so many
// intervals, so that one long silence does not make the gateway look slow for hours.
const (
	smoothing = 0.2
	patience  = 4
)

// gateway is what the head knows of a gateway. Until its row of the catalog has been read (loaded), it knows only what
// came since it was first met, and nothing of it may be written.
type gateway struct {
	name  string
	parts []*part // open and closed, in order of position within a day
	last  *part   // the one that took the newest row

	loaded   bool
	tailed   bool            // its row in the keyspace has a tail
	dirty    bool            // it is among the head's dirty ones: it has readings that its row does not hold
	newest   schema.Position // of its readings
	stored   schema.Position // its row in the keyspace holds everything up to here
	released schema.Position // the newest position that has left the head as a block
	changed  int64           // what its entry says has last changed at this number

	entry catalog.Entry // what came, without what the lanes keep; once loaded, with what the row said
	lanes []*lane
	attrs *batch.Shape // whose attributes were taken last
	alike *batch.Shape // another with the same ones, or nil: a gateway's shapes come in turn
	seq   uint64       // the batch whose arrival was taken last
	bytes int64        // what is accounted for, without the parts
}

// lane is the rows of one shape. It keeps the row measured last, so that the latest values cost a copy per row and no
// look-up per reading.
type lane struct {
	gateway *gateway
	shape   *batch.Shape
	texts   []int // the sensors that are texts

	fresh bool // a row came since the last fold
	time  int64
	first schema.Position // of the row's first reading
	bits  []uint64
	text  []byte
}

// observe keeps the row if it is the one measured last.
func (l *lane) observe(r *batch.Row, seq uint64, from *batch.Rows) {
	if l.fresh && r.Time < l.time {
		return
	}
	l.fresh, l.time, l.first = true, r.Time, schema.Position{Sequence: seq, Ordinal: r.First}
	l.bits = append(l.bits[:0], from.Bits[r.First:int(r.First)+len(l.shape.Sensors)]...)
	l.text = l.text[:0]
	for _, i := range l.texts {
		l.bits[i], l.text = moveText(l.bits[i], from.Text, l.text)
	}
}

// fold brings the latest row into an entry.
func (l *lane) fold(e *catalog.Entry) {
	p := l.first
	for i, sensor := range l.shape.Sensors {
		e.Observe(sensor, l.time, valueOf(l.shape.Kinds[i], l.bits[i], l.text), p)
		p.Ordinal++
	}
}

// arrived takes the arrival of a frame, at most one a batch.
func (g *gateway) arrived(at int64, seq uint64) {
	if g.seq == seq {
		return
	}
	g.seq = seq
	e := &g.entry
	if e.FirstSeen == 0 {
		e.FirstSeen, e.LastSeen = at, at
		return
	}
	if at > e.LastSeen {
		e.Interval = smooth(e.Interval, at-e.LastSeen)
		e.LastSeen = at
	}
}

// uncount takes back readings that the gateway's row counts, the oldest first.
func (g *gateway) uncount(readings int) {
	a := &g.entry.Arrived
	before := min(a.Before, uint64(max(readings, 0)))
	a.Before -= before
	a.Count -= min(a.Count, uint64(max(readings, 0))-before)
}

// smooth returns the moving average of an interval after one more observation.
func smooth(interval, seen int64) int64 {
	switch {
	case interval <= 0:
		return seen
	case seen <= 0:
		return interval
	}
	seen = min(seen, patience*interval)
	return interval + int64(smoothing*float64(seen-interval))
}

// merge brings what the gateway's row said into what came since.
func (g *gateway) merge(row *catalog.Entry) {
	e := &g.entry
	switch {
	case e.FirstSeen == 0:
		e.FirstSeen, e.LastSeen, e.Interval = row.FirstSeen, row.LastSeen, row.Interval
	case row.FirstSeen != 0:
		seen := e.Interval
		if seen == 0 {
			seen = e.FirstSeen - row.LastSeen
		}
		e.Interval = smooth(row.Interval, seen)
		e.FirstSeen = min(e.FirstSeen, row.FirstSeen)
		e.LastSeen = max(e.LastSeen, row.LastSeen)
	}
	e.Arrived = e.Arrived.Join(row.Arrived, func(a, b uint64) uint64 { return a + b })
	for i := range row.Latest {
		l := &row.Latest[i]
		e.Observe(l.Sensor, l.Time, l.Value, l.Position)
	}
	for _, a := range row.Attributes {
		if !slices.ContainsFunc(e.Attributes, func(o catalog.Attribute) bool { return o.Name == a.Name }) {
			e.Attributes = append(e.Attributes, a)
		}
	}
}

// takeAttributes brings a shape's attributes into the entry; the later value of a name wins.
func (g *gateway) takeAttributes(s *batch.Shape) {
	if len(s.Attributes) == 0 || g.attrs == s || g.alike == s {
		return
	}
	if g.attrs != nil && slices.Equal(g.attrs.Attributes, s.Attributes) {
		g.alike = s
		return
	}
	g.attrs, g.alike = s, nil
	for _, a := range s.Attributes {
		i := slices.IndexFunc(g.entry.Attributes, func(o catalog.Attribute) bool { return o.Name == a.Name })
		if i < 0 {
			g.entry.Attributes = append(g.entry.Attributes, catalog.Attribute{Name: a.Name, Value: a.Value})
		} else {
			g.entry.Attributes[i].Value = a.Value
		}
	}
}
