package format

import (
	"unicode/utf8"

	"berth/schema"
	"berth/schema/batch"
	"berth/schema/record"
)

// task is the decoding of one payload: what its decoder works with. A decoder calls begin, appends each
// value of a row to out.Bits and its name and kind to fields, and then calls finish; or drop, when the row is bad.
type task struct {
	table    *Table
	request  *Request
	rules    *rules
	limits   *record.Limits
	from, to int64 // the window of times
	arrived  int64
	allowed  *series // the series whose gateway the sender was last found to speak for
	out      *batch.Rows
	report   Report

	// The row that is being read.
	fields    []field
	firstBits int
	firstText int
	firstRow  int
	recent    *shaped // what the row is expected to be, nil if nothing is
	like      *layout // that of recent as long as the fields are its own; their names are then not in fields
	names     []byte  // scratch for the names of fields that are not in the payload as they are
	key       []byte  // scratch for what names a series, where it is not in the payload as it is
	shapes    []*batch.Shape
	fresh     []field // scratch for those that were not there before
}

// maxScratch is how much memory for names is kept from one payload to the next.
const maxScratch = 1 << 16

func (t *task) start(r *Request, out *batch.Rows) {
	t.request, t.out, t.limits = r, out, &r.Settings.Limits
	t.rules = t.table.rulesOf(r.Settings)
	t.from, t.to = r.Now-int64(r.Settings.Retention), r.Now+int64(r.Settings.Future)
	if t.arrived = r.Arrival; t.arrived == 0 {
		t.arrived = r.Now
	}
}

// end forgets what belongs to the payload and returns the report.
func (t *task) end() Report {
	r := t.report
	t.request, t.out, t.limits, t.rules, t.allowed, t.report = nil, nil, nil, nil, nil, Report{}
	clear(t.fields)
	clear(t.fresh)
	clear(t.shapes)
	if cap(t.names) > maxScratch {
		t.names = nil
	}
	t.recent, t.like = nil, nil
	return r
}

// begin begins a row.
func (t *task) begin() {
	t.fields, t.recent, t.like = t.fields[:0], nil, nil
	t.firstBits, t.firstText, t.firstRow = len(t.out.Bits), len(t.out.Text), len(t.out.Rows)
}

// expect says what the row that begins is likely to be; nil says nothing.
func (t *task) expect(recent *shaped) {
	if recent != nil {
		t.recent, t.like = recent, recent.layout
	}
}

// drop takes back what was added since begin.
func (t *task) drop() {
	t.out.Bits, t.out.Text, t.out.Rows = t.out.Bits[:t.firstBits], t.out.Text[:t.firstText], t.out.Rows[:t.firstRow]
}

// values returns how many values the row has so far.
func (t *task) values() int { return len(t.out.Bits) - t.firstBits }

// unlike gives up the expectation that the row has the fields of t.like, after n fields which did.
func (t *task) unlike(n int) {
	t.fields = append(t.fields, t.like.fields[:n]...)
	t.like = nil
}

// full refuses a row that has as many values as a row may have and is about to get one more.
func (t *task) full() *refusal {
	if t.values() < batch.MaxRowSensors {
		return nil
	}
	return refuse(schema.TooLarge, ReasonRowSize, "it has more than %d values", batch.MaxRowSensors)
}

// keep keeps a text value and returns its bits.
func (t *task) keep(text []byte) (uint64, *refusal) {
	switch {
	case len(text) > schema.MaxText:
		return 0, refuse(schema.TooLarge, ReasonTextLength, "a text of %d bytes is longer than %d", len(text), schema.MaxText)
	case !utf8.Valid(text):
		return 0, refuse(schema.Invalid, ReasonTextEncoding, "a text is not UTF-8")
	case len(t.out.Text)-t.firstText+len(text) > batch.MaxRowText:
		return 0, refuse(schema.TooLarge, ReasonRowSize, "its texts are longer than %d bytes together", batch.MaxRowText)
	}
	return t.out.AddText(text), nil
}

// finish ends the row: it belongs to the series s, its time is at, which is our own when arrival is true.
func (t *task) finish(s *series, at int64, arrival bool, hint string) *refusal {
	r := t.speaks(s)
	if r == nil && (at < t.from || at > t.to) {
		r = outside(at, t.from, t.to, hint)
	}
	if r == nil {
		r = t.row(s, at, arrival)
	}
	if r != nil {
		r.readings = t.values()
	}
	return r
}

// row adds the row: its values are those added since begin, its time is at, which is our own when arrival is true.
func (t *task) row(s *series, at int64, arrival bool) *refusal {
	n := t.values()
	l := t.recent
	if t.like == nil || len(t.like.fields) != n {
		if t.like != nil {
			t.unlike(n)
		}
		l = s.match(t.fields)
	}
	if l == nil {
		return t.rowUnknown(s, at, arrival)
	}
	t.out.Rows = append(t.out.Rows, batch.Row{Shape: l.shape, Time: at, First: uint32(t.firstBits), Arrival: arrival})
	t.count(n, arrival)
	return nil
}

func (t *task) count(readings int, arrival bool) {
	t.report.Accepted += readings
	if arrival {
		t.report.Timeless += readings
	}
}

// rowUnknown ends a row whose fields have no layout yet. Its new sensors are taken up all together, or the row is refused
// and nothing has changed.
func (t *task) rowUnknown(s *series, at int64, arrival bool) *refusal {
	whole := s.room()
	fresh := t.fields
	t.shapes = t.shapes[:0]
	if !whole {
		fresh = t.findSingles(s)
	}
	sensors, r := t.admit(s, fresh)
	if r != nil {
		return r
	}
	if whole {
		l := t.learn(s, fresh, sensors)
		s.remember(l)
		t.shapes = append(t.shapes, l.shape)
	} else {
		t.learnSingles(s, sensors)
	}
	first := t.firstBits
	for _, shape := range t.shapes {
		t.out.Rows = append(t.out.Rows, batch.Row{Shape: shape, Time: at, First: uint32(first), Arrival: arrival})
		first += len(shape.Kinds)
	}
	t.count(t.values(), arrival)
	return nil
}

// findSingles sets shapes to those of the row's fields, one by one, and returns the fields that have none yet.
func (t *task) findSingles(s *series) (fresh []field) {
	t.fresh = t.fresh[:0]
	next := 0
	for _, f := range t.fields {
		var l *shaped
		if l, next = s.single(f, next); l != nil {
			t.shapes = append(t.shapes, l.shape)
			continue
		}
		t.shapes = append(t.shapes, nil)
		t.fresh = append(t.fresh, f)
	}
	return t.fresh
}

// learnSingles makes the shapes that findSingles did not find; sensors are the names of their sensors.
func (t *task) learnSingles(s *series, sensors []string) {
	next := 0
	for i, shape := range t.shapes {
		if shape != nil {
			continue
		}
		l, _ := s.single(t.fields[i], 0)
		if l == nil { // else the row has the field twice
			l = t.learn(s, t.fields[i:i+1], sensors[next:next+1])
			s.rememberSingle(l)
		}
		t.shapes[i] = l.shape
		next++
	}
}

// admit checks the names of the fields' sensors, takes them up and returns them.
func (t *task) admit(s *series, fields []field) ([]string, *refusal) {
	sensors := make([]string, len(fields))
	for i, f := range fields {
		sensors[i] = s.sensor(f.name)
		if err := schema.CheckSensor(sensors[i]); err != nil {
			return nil, named(ReasonSensorName, err)
		}
	}
	if len(fields) == 0 {
		return nil, nil
	}
	return sensors, t.table.census.admit(s.gateway, sensors, t.limits)
}

// learn makes the shape of fields whose sensors were admitted.
func (t *task) learn(s *series, fields []field, sensors []string) *shaped {
	kinds := make([]schema.Kind, len(fields))
	for i, f := range fields {
		kinds[i] = f.kind
	}
	return &shaped{layout: t.table.layout(fields), shape: t.table.interner.Shape(s.gateway, sensors, kinds, s.attributes)}
}

// speaks checks whether the sender may speak for the gateway of the series.
func (t *task) speaks(s *series) *refusal {
	sender := &t.request.Sender
	if s.gateway == sender.Gateway || s == t.allowed {
		return nil
	}
	if !sender.Relay && sender.Gateway != "" {
		return refuse(schema.Forbidden, ReasonNotARelay, "it names gateway %q, but %q may only name itself", s.gateway, sender.Gateway)
	}
	if sender.Allow != nil {
		if err := sender.Allow(s.gateway); err != nil {
			return refuse(schema.CodeOf(err), reasonOf(err), "%s", schema.Show(err))
		}
	}
	t.allowed = s
	return nil
}

// reasonOf returns the reason under which it is counted that a sender may not speak for a gateway.
func reasonOf(err error) string {
	if schema.Is(err, schema.Pending) {
		return ReasonPending
	}
	return ReasonNotAllowed
}

// gatewayOf returns the name of the gateway that a line names as name, "" if it names none.
func (t *task) gatewayOf(name string) (string, *refusal) {
	if name == "" {
		name = t.request.Sender.Gateway
	}
	if name == "" {
		return "", refuse(schema.Invalid, ReasonNoGateway, "it names no gateway, and neither does the key it was sent with")
	}
	if err := schema.CheckGateway(name); err != nil {
		return "", named(ReasonGatewayName, err)
	}
	return name, nil
}
