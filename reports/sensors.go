package reports

import (
	"cmp"
	"context"
	"crypto/subtle"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"slices"

	"berth/internal/api"
	"berth/schema"
	"berth/schema/record"
)

const (
	// mostSensorsBody is the longest request that says something about sensors, and mostSensorsRecord what may be said in all:
	// the record is one message of NATS.
	mostSensorsBody   = 1 << 20
	mostSensorsRecord = 512 << 10
	// sayTries is how often a change is made anew because another came between.
	sayTries = 10
)

// saidSensors answers with what is said about sensors.
func (r *Reports) saidSensors(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, saidOf(r.said.Load()))
}

func saidOf(said *record.Sensors) *api.SaidSensors {
	answer := &api.SaidSensors{Sensors: make([]api.SaidSensor, 0, len(said.Sensors))}
	for name, s := range said.Sensors {
		answer.Sensors = append(answer.Sensors, api.SaidOf(name, s))
	}
	slices.SortFunc(answer.Sensors, func(a, b api.SaidSensor) int { return cmp.Compare(a.Sensor, b.Sensor) })
	return answer
}

// saySensors takes over what is said about the sensors that the request names.
func (r *Reports) saySensors(w http.ResponseWriter, req *http.Request) error {
	body, err := io.ReadAll(io.LimitReader(req.Body, mostSensorsBody+1))
	if err != nil || len(body) > mostSensorsBody {
		return schema.Errorf(schema.TooLarge, "the request is longer than %d bytes, or broke off", mostSensorsBody).WithCause(err)
	}
	if digest := req.URL.Query().Get(api.DigestParameter); subtle.ConstantTimeCompare([]byte(digest), []byte(api.Digest(body))) != 1 {
		return schema.Errorf(schema.Unauthorized, "the request's body is not the one that was signed")
	}
	var changes api.SaidSensors
	if err := json.Unmarshal(body, &changes); err != nil {
		return schema.Errorf(schema.Invalid, "what is said about sensors cannot be read").WithCause(err)
	}
	said, err := r.say(req.Context(), changes.Sensors)
	if err != nil {
		return err
	}
	r.said.Store(said)
	return writeJSON(w, saidOf(said))
}

// say changes the record of what is said about sensors.
func (r *Reports) say(ctx context.Context, changes []api.SaidSensor) (*record.Sensors, error) {
	for range sayTries {
		said := &record.Sensors{}
		value, revision, err := r.records.Get(ctx, record.SensorsKey)
		switch {
		case schema.Is(err, schema.NotFound):
		case err != nil:
			return nil, err
		case json.Unmarshal(value, said) != nil || said.Version > record.Version:
			return nil, schema.Errorf(schema.Conflict, "what is said about sensors was written by a later release").WithNext("go back to that release")
		}
		said.Version = record.Version
		if said.Sensors = maps.Clone(said.Sensors); said.Sensors == nil {
			said.Sensors = map[string]record.Sensor{}
		}
		for _, c := range changes {
			if said.Sensors[c.Sensor] = c.Record(); c.Record().IsZero() {
				delete(said.Sensors, c.Sensor)
			}
		}
		if err := said.Validate(); err != nil {
			return nil, err
		}
		if value, err = json.Marshal(said); err != nil {
			return nil, err
		}
		if len(value) > mostSensorsRecord {
			return nil, schema.Errorf(schema.Limited, "what is said about sensors is longer than %d bytes in all", mostSensorsRecord)
		}
		if revision == 0 {
			_, err = r.records.Create(ctx, record.SensorsKey, value)
		} else {
			_, err = r.records.Update(ctx, record.SensorsKey, value, revision)
		}
		if !schema.Is(err, schema.Conflict) {
			return said, err
		}
	}
	return nil, schema.Errorf(schema.Conflict, "others change what is said about sensors all the time").WithNext("try again")
}
