package api

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	"berth/schema/record"
)

// What is said about sensors is asked and changed by
//
//	GET  /api/v1/providers/{p}/sensors   SaidSensors, or CSV       ?format=json|csv
//	POST /api/v1/providers/{p}/sensors   SaidSensors, or CSV       answers with all that is said then
//
// What is posted replaces what was said about the sensors that it names; one of which nothing is said is forgotten.

// SaidSensors is what a provider says about its sensors, in order of their names.
type SaidSensors struct {
	Sensors []SaidSensor `json:"sensors"`
}

// SaidSensor is what is said about the sensors of one name, of whatever gateway.
type SaidSensor struct {
	Sensor   string  `json:"sensor"`
	Label    string  `json:"label"`            // how people call it
	Unit     string  `json:"unit"`             // of its values
	Decimals *int    `json:"decimals"`         // to show numbers with; null: as many as they have
	Interval float64 `json:"interval_seconds"` // between its readings; 0: what is usual
	Counter  bool    `json:"counter"`          // what counts is its increase
}

// SaidOf returns a record's sensor as the API has it.
func SaidOf(name string, s record.Sensor) SaidSensor {
	return SaidSensor{Sensor: name, Label: s.Label, Unit: s.Unit, Decimals: s.Decimals, Interval: s.Interval.Seconds(), Counter: s.Counter}
}

// Record returns it as the record has it.
func (s SaidSensor) Record() record.Sensor {
	return record.Sensor{Label: s.Label, Unit: s.Unit, Decimals: s.Decimals, Interval: time.Duration(s.Interval * float64(time.Second)), Counter: s.Counter}
}

// DigestParameter carries the digest of a request's body in its query, which is signed, as the body is not.
const DigestParameter = "sha256"

// Digest returns a body's digest.
func Digest(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}
