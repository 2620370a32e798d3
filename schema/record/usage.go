package record

import "time"

// Usage is what a provider used on one day of UTC: how its running totals stood when the day began and how they stand, or
// stood when it ended. Days of one provider follow each other: where one ends the next begins, whenever that was looked at,
// so that all days together are the totals. It is kept in the house's bucket usage under <provider>.<when it was made, Unix
// seconds>.<day>, also after the provider was removed.
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
}

// Used are running totals.
type Used struct {
	Readings uint64 `json:"readings"` // accepted
	Rejected uint64 `json:"rejected"` // readings of frames that were accepted in part
	Frames   uint64 `json:"frames"`   // received
	Refused  uint64 `json:"frames_rejected"`
	Bytes    uint64 `json:"bytes"` // written into the log
}
