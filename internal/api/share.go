package api

import "time"

// Share is a report that whoever has its link may see, until it expires or is revoked.
type Share struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	Gateways []string  `json:"gateways"` // none: all
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
	Created  time.Time `json:"created"`
	Expires  time.Time `json:"expires"`
}

// Shares is the answer of /shares, the newest first.
type Shares struct {
	Shares []Share `json:"shares"`
}

// ShareRequest asks to share a report. The period is one of a report's; without one, From and To say the range.
type ShareRequest struct {
	Name     string     `json:"name"`
	Gateways []string   `json:"gateways,omitempty"` // none: all
	Period   string     `json:"period,omitempty"`
	From     string     `json:"from,omitempty"`
	To       string     `json:"to,omitempty"`
	Expires  *time.Time `json:"expires,omitempty"` // absent: in 30 days
}

// NewShare is a shared report with its link, which is shown once.
type NewShare struct {
	Share
	URL string `json:"url"`
}
