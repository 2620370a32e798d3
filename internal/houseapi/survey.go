package houseapi

import "time"

// SurveySubject is the subject of the question how the installation is. Only an operator is shown the answer.
const SurveySubject = "house.survey"

// SurveyChecks is how many checks a survey has at most; the others are counted.
const SurveyChecks = 50

// Survey is the installation as it was seen lately: what each provider's instances say, and what needs somebody. What is
// absent is not known.
type Survey struct {
	At        time.Time        `json:"at"`     // when it was seen
	Passed    int              `json:"passed"` // checks that found nothing wrong
	Checks    []SurveyCheck    `json:"checks"` // what is wrong, the gravest first
	More      int              `json:"more"`   // how many more things are wrong
	Disks     []SurveyDisk     `json:"disks"`  // those that can be seen from the provisioner
	Providers []SurveyProvider `json:"providers"`
}

// SurveyCheck is one thing that is wrong, and what to do.
type SurveyCheck struct {
	Name     string `json:"name"`
	Provider string `json:"provider,omitempty"` // whose trouble it is; empty: the installation's
	Fails    bool   `json:"fails"`              // false: it works, but not for long or not well
	Text     string `json:"text"`
	Next     string `json:"next,omitempty"`
}

// SurveyDisk is a disk that the installation's data lie on.
type SurveyDisk struct {
	Holds string `json:"holds"` // nats (logs and records) or keyspaces
	Free  uint64 `json:"free_bytes"`
	Size  uint64 `json:"size_bytes"`
}

// SurveyProvider is a provider that is not removed.
type SurveyProvider struct {
	Provider  string           `json:"provider"`
	Port      int              `json:"port"`
	State     string           `json:"state"`            // as provisioner ls has it: ready, starting, degraded, ...
	Detail    string           `json:"detail,omitempty"` // what it waits for, or what is wrong
	Instances []SurveyInstance `json:"instances"`

	Rate     *uint64 `json:"readings_per_second,omitempty"` // that came lately, refused ones too
	Log      *uint64 `json:"log_bytes,omitempty"`
	LogQuota *uint64 `json:"log_quota_bytes,omitempty"`
	LogAge   *uint64 `json:"log_age_seconds,omitempty"` // of the oldest that is not stored yet; 0: there is none
	Keyspace *uint64 `json:"keyspace_bytes,omitempty"`
}

// SurveyInstance is an instance that is to run.
type SurveyInstance struct {
	Role    string  `json:"role"`
	Up      bool    `json:"up"`                     // it answered
	Version string  `json:"version,omitempty"`      // of its program, as it says
	Memory  *uint64 `json:"memory_bytes,omitempty"` // resident
}
