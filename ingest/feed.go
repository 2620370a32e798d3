package ingest

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"berth/ingest/commit"
	"berth/ingest/gate/intake"
	"berth/internal/api"
	"berth/internal/bus"
	"berth/internal/headapi"
	"berth/schema"
	"berth/schema/batch"
	"berth/schema/block"
	"berth/schema/catalog"
	"berth/schema/record"
)

// feedLimit bounds the feeding of one thing whose asker is gone.
const feedLimit = 30 * time.Second

// answerFeed answers questions to take in again what was kept. It begins when the port is open.
func (i *Ingest) answerFeed() error {
	stop, err := i.conn.Answer(headapi.Feed, func(ctx context.Context, request []byte, reply func([]byte) error) error {
		var q headapi.FeedRequest
		if err := json.Unmarshal(request, &q); err != nil {
			return schema.Errorf(schema.Invalid, "the question cannot be read").WithCause(err)
		}
		fed, err := i.feed(ctx, &q)
		if err != nil {
			return err
		}
		data, err := json.Marshal(fed)
		if err != nil {
			return fmt.Errorf("write answer: %w", err)
		}
		return reply(data)
	})
	if err != nil {
		return err
	}
	i.push(headapi.Feed, otherStop, func(context.Context) error { stop(); return nil })
	return nil
}

// feed takes in again, or removes, what is kept. It leaves its shelf only when the log has all that could be taken and
// what is refused still is kept anew; a kill in between leaves it there, and feeding it once more changes nothing.
func (i *Ingest) feed(ctx context.Context, q *headapi.FeedRequest) (*api.Fed, error) {
	ctx, cancel := context.WithTimeout(ctx, feedLimit)
	defer cancel()
	i.feeding.Lock()
	defer i.feeding.Unlock()
	shelf, again := bus.Rejects, i.feedReject
	if q.Aside {
		shelf, again = bus.Aside, i.feedAside
	}
	kept, err := i.conn.Get(ctx, shelf, q.ID)
	if err != nil {
		return nil, err
	}
	fed := &api.Fed{Removed: q.Remove}
	if !q.Remove {
		if fed, err = again(ctx, &kept); err != nil {
			return nil, err
		}
	}
	fed.ID = q.ID
	if fed.Removed {
		err = i.conn.Drop(ctx, shelf, q.ID)
		i.aside.changed()
	}
	return fed, err
}

// feedReject takes a reject in again, as of its sender and of its arrival then, by the keys and settings of now.
func (i *Ingest) feedReject(ctx context.Context, kept *bus.Kept) (*api.Fed, error) {
	r, err := api.RejectOf(kept.ID, kept.About, kept.Raw)
	if err != nil {
		return nil, err
	}
	if len(r.Raw) == 0 {
		return nil, schema.Errorf(schema.Invalid, "nothing of what was refused is kept")
	}
	load := intake.Payload{Format: r.Format, Sensor: r.Sensor, Precision: r.Precision, Data: r.Raw}
	report, err := i.gate.Feed(ctx, &intake.Again{Payload: load, Gateway: r.Gateway, Relay: r.Relay, Arrived: r.Time})
	if err != nil {
		return nil, err
	}
	fed := &api.Fed{Accepted: uint64(report.Accepted), Rejected: uint64(report.Rejected), Code: report.Code, Reason: report.Reason}
	fed.Removed = report.Code == "" || report.Accepted > 0
	if fed.Removed && report.Rejected > 0 {
		rest := report.Refusals(r.Format, r.Raw)
		r.Version, r.Code, r.Reason, r.Lines, r.Readings = record.Version, report.Code, report.Reason, report.Lines, uint64(report.Rejected)
		r.Refused, r.Part = len(rest), true
		_, err = i.keep(ctx, bus.Rejects, "", &r.Reject, rest)
	}
	return fed, err
}

// feedAside takes in again what was set aside: as it could not be stored, or read, before, by another release mostly.
func (i *Ingest) feedAside(ctx context.Context, kept *bus.Kept) (*api.Fed, error) {
	var a record.Aside
	if err := json.Unmarshal(kept.About, &a); err != nil {
		return nil, fmt.Errorf("read what is known of what was set aside: %w", err)
	}
	rows, err := i.rowsOf(a.Form, kept.Raw)
	if err != nil {
		return nil, schema.Errorf(schema.Invalid, "it cannot be read: %s", schema.Show(err)).WithNext("download it to look at it, or remove it").WithCause(err)
	}
	readings := rows.Readings()
	if readings > 0 {
		if err := i.committer.Put(ctx, rows, commit.Counts{Frames: 1}); err != nil {
			return nil, err
		}
	}
	return &api.Fed{Accepted: uint64(readings), Removed: true}, nil
}

// rowsOf returns the readings that something of a form holds.
func (i *Ingest) rowsOf(form string, data []byte) (*batch.Rows, error) {
	switch form {
	case record.FormMessage:
		_, rows, err := batch.Decode(data, i.shapes)
		return rows, err
	case record.FormBlock:
		return i.rowsOfBlocks([][]byte{data})
	case record.FormTail:
		blocks, err := catalog.DecodeTail(data)
		if err != nil {
			return nil, err
		}
		return i.rowsOfBlocks(blocks)
	default:
		return nil, schema.Errorf(schema.Invalid, "a %s holds no readings of its own", form)
	}
}

// rowsOfBlocks returns the readings of encoded blocks, a row each.
func (i *Ingest) rowsOfBlocks(blocks [][]byte) (*batch.Rows, error) {
	rows := &batch.Rows{}
	for _, data := range blocks {
		reader, err := block.Open(data)
		if err != nil {
			return nil, err
		}
		series, err := block.Merge([]block.Source{reader}, nil, reader.First(), reader.Last()+1)
		if err != nil {
			return nil, err
		}
		for s := range series {
			i.addSeries(rows, reader.Gateway(), &series[s])
		}
	}
	return rows, nil
}

func (i *Ingest) addSeries(rows *batch.Rows, gateway string, s *block.Series) {
	for n, t := range s.Times {
		kind, bits := s.Kinds[n], s.Bits[n]
		if kind == schema.Text {
			bits = rows.AddText([]byte(s.Texts[bits]))
		}
		shape := i.shapes.Shape(gateway, []string{s.Sensor}, []schema.Kind{kind}, nil)
		rows.Rows = append(rows.Rows, batch.Row{Shape: shape, Time: t, First: uint32(len(rows.Bits))})
		rows.Bits = append(rows.Bits, bits)
	}
}
