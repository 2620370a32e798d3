package audit

import (
	"context"
	"fmt"
	"time"

	"berth/internal/api"
	"berth/reports/query"
	"berth/schema"
	"berth/schema/batch"
)

// windowReadings bounds how many readings of the log are looked up together.
const windowReadings = 200_000

// identity is what makes a reading of a gateway one.
type identity struct {
	sensor string
	time   int64
}

// valued is the latest value of an identity within a window, and the message that it came in.
type valued struct {
	value    schema.Value
	sequence uint64
}

// part is a gateway's readings of a day.
type part struct {
	gateway string
	day     int64
}

// window is some readings of the log, by gateway and day.
type window struct {
	readings int
	parts    map[part]map[identity]valued
}

func (w *window) add(sequence uint64, rows *batch.Rows) {
	if w.parts == nil {
		w.parts = map[part]map[identity]valued{}
	}
	w.readings += rows.Readings()
	for i := range rows.Rows {
		r := &rows.Rows[i]
		p := part{r.Shape.Gateway, schema.Start(r.Time, schema.DaySpan)}
		of := w.parts[p]
		if of == nil {
			of = map[identity]valued{}
			w.parts[p] = of
		}
		for j, sensor := range r.Shape.Sensors {
			of[identity{sensor, r.Time}] = valued{rows.Value(int(r.First)+j, r.Shape.Kinds[j]), sequence}
		}
	}
}

// doubt is a reading of the log that is stored with another value. It is right if a later message gave it that one.
type doubt struct {
	valued
	stored schema.Value
}

type doubtKey struct {
	gateway string
	identity
}

type doubts map[doubtKey]doubt

// mostDoubts bounds how many readings are doubted at once.
const mostDoubts = 10_000

// lookUp looks all readings of the window up.
func (a *audit) lookUp(ctx context.Context) error {
	for p, readings := range a.seen.parts {
		if err := a.progress("log: looking up readings of %s", p.gateway); err != nil {
			return err
		}
		if err := a.lookUpPart(ctx, p, readings); err != nil {
			return err
		}
	}
	a.seen = window{}
	return nil
}

func (a *audit) lookUpPart(ctx context.Context, p part, readings map[identity]valued) error {
	oldest := a.Engine.Oldest() + int64(time.Hour) // they vanish meanwhile
	from, to := int64(0), int64(0)
	for id := range readings {
		if id.time < oldest {
			a.result.Log.Expired++
			delete(readings, id)
			continue
		}
		if from == 0 && to == 0 {
			from, to = id.time, id.time+1
		}
		from, to = min(from, id.time), max(to, id.time+1)
	}
	if len(readings) == 0 {
		return nil
	}
	answer, err := a.complete(ctx, query.ReadingsRequest{Gateway: p.gateway, From: time.Unix(0, from), To: time.Unix(0, to)})
	switch {
	case schema.Is(err, schema.NotFound): // then all are lost
	case err != nil:
		return err
	default:
		err := answer.Walk(ctx, func(sensor string, t int64, v schema.Value) error {
			id := identity{sensor, t}
			if want, ok := readings[id]; ok {
				if want.value != v && len(a.doubts) < mostDoubts {
					a.doubts[doubtKey{p.gateway, id}] = doubt{want, v}
				}
				delete(readings, id)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return a.lost(p, readings)
}

// complete asks until the answer is complete: ingest may be starting.
func (a *audit) complete(ctx context.Context, q query.ReadingsRequest) (*query.Readings, error) {
	limit := time.Now().Add(patience)
	for {
		answer, err := a.Engine.Readings(ctx, q)
		if err != nil || answer.Head().Complete {
			return answer, err
		}
		if time.Now().After(limit) {
			return nil, schema.Errorf(schema.Unavailable, "the books cannot be recounted: %s", answer.Head().Reason).
				WithNext("see what it waits for: provisioner show %s", a.Provider)
		}
		if err := pause(ctx); err != nil {
			return nil, err
		}
	}
}

// lost tells of readings that are nowhere.
func (a *audit) lost(p part, readings map[identity]valued) error {
	if len(readings) == 0 {
		return nil
	}
	var example identity
	var of valued
	for id, v := range readings {
		if of.sequence == 0 || v.sequence < of.sequence || v.sequence == of.sequence && id.time < example.time {
			example, of = id, v
		}
	}
	next := "look for what removed or changed blocks; the log still has them: stop the pipeline before it is trimmed and keep a copy of the data folder"
	return a.found(api.Finding{
		What: api.FoundLost, Where: p.gateway, Next: next,
		Text: fmt.Sprintf("%d readings of %s that the log holds are neither in the head nor in the keyspace, such as %s at %s of message %d",
			len(readings), time.Unix(0, p.day).UTC().Format(time.DateOnly), example.sensor, time.Unix(0, example.time).UTC().Format(time.RFC3339Nano), of.sequence),
	})
}

// settleDoubts reads the log once more, up to where it ends by now, for what has given doubted readings their values.
func (a *audit) settleDoubts(ctx context.Context) error {
	if len(a.doubts) == 0 {
		return nil
	}
	state, err := a.Log.State(ctx)
	if err != nil {
		return err
	}
	err = a.Log.Read(ctx, a.result.Log.First, state.Last, func(sequence uint64, data []byte) error {
		_, rows, err := batch.Decode(data, a.shapes)
		if err != nil {
			return nil //nolint:nilerr // it was told of before
		}
		a.settleBy(sequence, rows)
		return a.progress("log: message %d of %d once more", sequence, state.Last)
	})
	if schema.Is(err, schema.Conflict) || err == nil && state.First > a.result.Log.First {
		return nil // what would settle them was trimmed meanwhile: they stay doubts, which say nothing
	}
	if err != nil {
		return err
	}
	for key, d := range a.doubts {
		if err := a.found(api.Finding{
			What: api.FoundLost, Where: key.gateway, Next: "look for what changed blocks; restore the keyspace from a backup",
			Text: fmt.Sprintf("%s at %s is %s, but the log gave it %s in message %d and nothing since", key.sensor,
				time.Unix(0, key.time).UTC().Format(time.RFC3339Nano), d.stored, d.value, d.sequence),
		}); err != nil {
			return err
		}
	}
	return nil
}

func (a *audit) settleBy(sequence uint64, rows *batch.Rows) {
	for i := range rows.Rows {
		r := &rows.Rows[i]
		for j, sensor := range r.Shape.Sensors {
			key := doubtKey{r.Shape.Gateway, identity{sensor, r.Time}}
			d, ok := a.doubts[key]
			if ok && sequence > d.sequence && rows.Value(int(r.First)+j, r.Shape.Kinds[j]) == d.stored {
				delete(a.doubts, key)
			}
		}
	}
}
