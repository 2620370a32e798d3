package api

import (
	"encoding/json"

	"berth/schema"
	"berth/schema/record"
)

// RejectOf reads a kept reject, with all the bytes that are kept. One of the release before has no about: its bytes are
// all of it as JSON.
func RejectOf(id uint64, about, raw []byte) (*Reject, error) {
	r := &Reject{}
	var err error
	if about != nil {
		err = json.Unmarshal(about, &r.Reject)
		r.Raw = raw
	} else {
		err = json.Unmarshal(raw, r)
		r.Refused = r.Size
	}
	if err != nil || r.Version > record.Version {
		return nil, schema.Errorf(schema.Invalid, "what is known of the reject cannot be read").WithCause(err)
	}
	r.ID, r.Kept = id, len(r.Raw)
	return r, nil
}
