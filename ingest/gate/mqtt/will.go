package mqtt

import (
	"time"

	"berth/ingest/commit"
	"berth/ingest/gate/intake"
	"berth/ingest/gate/mqtt/packet"
	"berth/ingest/gate/topics"
	"berth/schema"
	"berth/schema/batch"
)

// The gateway's state, of a client that leaves a will, as JSON.
const (
	connected = `{"mqtt.connected":true}`
	away      = `{"mqtt.connected":false}`
)

// greet has it stored that the gateway is connected, if the client leaves a will, and that its session is, if that is kept.
func (s *connection) greet() error {
	tells := s.willed && s.ID.Gateway != ""
	if !tells && !s.keeps() {
		return nil
	}
	var b burst
	e, err := s.open(&b)
	if err != nil {
		return err
	}
	s.changes(e)
	if tells {
		p := packet.Publish{Payload: []byte(connected)}
		if err := s.take(&b, &p, topics.Route{ID: s.ID, Format: "json"}); err != nil {
			return err
		}
	}
	return s.handOver(&b)
}

// farewell is what is to be stored when a connection has ended.
type farewell struct {
	rows    *batch.Rows // nil: nothing
	counts  commit.Counts
	will    *packet.Will // decoded when it is published
	delayed bool         // will is for later
}

// farewell returns what is to be stored when the connection ends for a reason. When the service is stopped, or the key does
// not hold any more, that is nothing.
func (s *connection) farewell(why error) (f farewell) {
	if !s.willed || s.In.Context().Err() != nil || schema.Is(why, schema.Unavailable) || schema.Is(why, schema.Unauthorized) {
		return f
	}
	if s.ID.Gateway != "" {
		s.add(&f, topics.Route{ID: s.ID, Format: "json"}, []byte(away))
	}
	if s.will == nil {
		return f
	}
	if s.delay() > 0 {
		f.will, f.delayed = s.will, true
		return f
	}
	s.addWill(&f, s.will) // [MQTT-3.1.2-8]
	return f
}

// hasten decides on a will that is delayed, now that the connection has left: it is published later; not at all when the
// client goes on with the session in another connection [MQTT5-3.1.3-9]; and now when it began another session, for with the
// session its delay ends [MQTT5-3.1.2-8].
func (s *connection) hasten(f *farewell) {
	if !f.delayed || s.left {
		return
	}
	if f.delayed = false; s.ended {
		s.addWill(f, f.will)
	}
}

// delay returns how long the will is to wait: as the client says, but not longer than its session lasts; §3.1.3.2.2.
func (s *connection) delay() time.Duration { return min(seconds(s.will.DelaySecs), s.expiry) }

// addWill decodes the will, if its topic takes readings.
func (s *connection) addWill(f *farewell, will *packet.Will) {
	if r, err := s.route(&topics.Message{Topic: will.Topic, ContentType: will.ContentType, Payload: will.Payload}); err == nil {
		s.add(f, r, will.Payload)
	}
}

// add decodes a message of the farewell, which arrives now.
func (s *connection) add(f *farewell, r topics.Route, payload []byte) {
	if f.rows == nil {
		f.rows = commit.TakeRows()
	}
	load := intake.Payload{Format: r.Format, Sensor: r.Sensor, Data: payload}
	report, err := s.In.Decode(s.Keys, r.ID, &load, f.rows)
	if report.Rejected > 0 || err != nil {
		s.In.Reject(s.rejectOf(&packet.Publish{Payload: payload}, r, &report, len(payload)))
	}
	if err != nil || report.Accepted == 0 {
		s.In.Committer.Count(commit.Counts{FramesRejected: 1, Reasons: report.Reasons})
		return
	}
	f.counts.Frames++
	f.counts.Rejected += uint64(report.Rejected)
	if report.Rejected > 0 {
		f.counts.Reasons = report.Reasons
	}
}

// publish stores a farewell, and has a will that is delayed stored later.
func (s *connection) publish(f farewell) {
	s.l.ends.put(&f)
	if f.delayed {
		s.l.sessions.later(s.state, s.delay(), func() {
			if s.Keys = s.In.Keys(); s.Keys.Check(s.ID) != nil {
				return // its key was revoked meanwhile
			}
			var late farewell
			s.addWill(&late, f.will)
			s.l.ends.put(&late)
		})
	}
}
