package record

import (
	"strings"
	"time"
	"unicode/utf8"

	"berth/schema"
)

// Share is a link by which whoever has it sees one report and nothing else. Its key is the SHA-256 of its secret, hex.
type Share struct {
	Version  int       `json:"version"`
	ID       string    `json:"id"` // names it in lists; it opens nothing
	Provider string    `json:"provider"`
	Of       time.Time `json:"of"` // when the provider was made: one of the same name made later is another
	Name     string    `json:"name"`
	Gateways []string  `json:"gateways,omitempty"` // none: all
	From     time.Time `json:"from"`
	To       time.Time `json:"to"` // the report is of [From, To)
	Created  time.Time `json:"created"`
	Expires  time.Time `json:"expires"`
}

// LongestShare is the longest that a report may be shared.
const LongestShare = 366 * 24 * time.Hour

// Validate returns an Invalid error that names what cannot be.
func (s *Share) Validate() error {
	switch lasts := s.Expires.Sub(s.Created); {
	case s.Name == "" || len(s.Name) > 100 || strings.TrimSpace(s.Name) != s.Name || !utf8.ValidString(s.Name):
		return schema.Errorf(schema.Invalid, "%q is no name of what is shared: 1 to 100 bytes without white space at its ends", s.Name)
	case !s.From.Before(s.To):
		return schema.Errorf(schema.Invalid, "the report ends before it begins")
	case lasts <= 0 || lasts > LongestShare:
		return schema.Errorf(schema.Invalid, "a report cannot be shared until %s", s.Expires.Format(time.RFC3339)).
			WithNext("give a time from now on to a year ahead")
	}
	return nil
}

// Over reports whether it has expired.
func (s *Share) Over(now time.Time) bool { return !now.Before(s.Expires) }
