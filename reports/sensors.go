package reports

import (
	"cmp"
	"encoding/json"
	"net/http"
	"slices"

	"berth/internal/api"
	"berth/schema/record"
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
	var changes api.SaidSensors
	if err := readSaid(req, &changes); err != nil {
		return err
	}
	var said *record.Sensors
	_, err := r.sayRecord(req.Context(), record.SensorsKey, func(before []byte) (any, error) {
		said = &record.Sensors{}
		if before != nil && (json.Unmarshal(before, said) != nil || said.Version > record.Version) {
			return nil, laterRelease("sensors")
		}
		said.Version = record.Version
		if said.Sensors == nil {
			said.Sensors = map[string]record.Sensor{}
		}
		for _, c := range changes.Sensors {
			if said.Sensors[c.Sensor] = c.Record(); c.Record().IsZero() {
				delete(said.Sensors, c.Sensor)
			}
		}
		return said, said.Validate()
	})
	if err != nil {
		return err
	}
	r.said.Store(said)
	return writeJSON(w, saidOf(said))
}
