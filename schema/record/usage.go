package record

import "time"

// Usage is what a provider used on one day of UTC: how its running totals stood when the day began and how they stand, or
// stood when it ended. Days of one provider follow each other: where one ends the next begins, whenever that was looked at,
// so that all days together are the totals, and those of a log that was given up before. It is kept in the house's bucket
// usage under <provider>.<when it was made, Unix seconds>.<day>, also after the provider was removed.
type Usage struct {
	Version  int       `json:"version"`
	Provider string    `json:"provider"`
	Of       time.Time `json:"of"`  // when the provider was made: one of the same name made later is another
	Day      string    `json:"day"` // 2006-01-02, of UTC
	From     time.Time `json:"from"`
	At       time.Time `json:"at"` // it counts what came in [From, At)
	Begin    Used      `json:"begin"`
	End      Used      `json:"end"`
	Gateways uint64    `json:"gateways"`      // at At
	Storage  uint64    `json:"storage_bytes"` // at At; the most that was seen on the day is Most
	Most     uint64    `json:"most_storage_bytes"`
	Instance string    `json:"instance"`       // that Sent is of
	Sent     uint64    `json:"instance_bytes"` // that the instance had written into the log
	Seen     *Used     `json:"seen,omitempty"` // how the totals of the log stood at At; nil: as End, but for Bytes, which are Sent
}

// Since returns by how much totals have risen since they stood as before. Totals of which one fell began anew at 0, as those of a log
// do that is given up.
func (u *Used) Since(before *Used) Used {
	if u.Readings < before.Readings || u.Rejected < before.Rejected || u.Frames < before.Frames || u.Refused < before.Refused || u.Bytes < before.Bytes {
		return *u
	}
	return Used{
		Readings: u.Readings - before.Readings, Rejected: u.Rejected - before.Rejected, Frames: u.Frames - before.Frames,
		Refused: u.Refused - before.Refused, Bytes: u.Bytes - before.Bytes,
	}
}

// Plus returns the totals with what came since.
func (u *Used) Plus(since *Used) Used {
	return Used{
		Readings: u.Readings + since.Readings, Rejected: u.Rejected + since.Rejected, Frames: u.Frames + since.Frames,
		Refused: u.Refused + since.Refused, Bytes: u.Bytes + since.Bytes,
	}
}

// Used are running totals.
type Used struct {
	Readings uint64 `json:"readings"` // accepted
	Rejected uint64 `json:"rejected"` // readings of frames that were accepted in part
	Frames   uint64 `json:"frames"`   // received
	Refused  uint64 `json:"frames_rejected"`
	Bytes    uint64 `json:"bytes"` // written into the log
}
