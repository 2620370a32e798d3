package record

import (
	"slices"
	"time"
	"unicode/utf8"

	"berth/schema"
)

// Schedule says which report of a provider is made when, and to whom it is sent. It is kept in the house's bucket
// schedules under <provider>.<ID>.
type Schedule struct {
	Version    int         `json:"version"`
	ID         string      `json:"id"`
	Provider   string      `json:"provider"`
	Of         time.Time   `json:"of"` // when the provider was made: one of the same name made later is another
	Name       string      `json:"name"`
	Every      Every       `json:"every"`
	Hour       int         `json:"hour"`               // of the day in the provider's zone at which it is made
	Gateways   []string    `json:"gateways,omitempty"` // none: those of the groups
	Groups     []string    `json:"groups,omitempty"`   // none, and no gateways: all
	Formats    []string    `json:"formats"`            // of what is attached
	Recipients []Recipient `json:"recipients"`
	SkipEmpty  bool        `json:"skip_empty,omitempty"` // nothing is sent of a period without readings
	Paused     bool        `json:"paused,omitempty"`
	Created    time.Time   `json:"created"`
	Since      time.Time   `json:"since,omitzero"` // reports that were due before are not made; zero: since it was created
}

// Every is how often a scheduled report is made, and how long its period is.
type Every string

// How often.
const (
	Daily   Every = "daily"
	Weekly  Every = "weekly" // weeks begin on Monday
	Monthly Every = "monthly"
)

// Recipient is whom a scheduled report is sent to.
type Recipient struct {
	Address  string `json:"address"`
	Language string `json:"language"` // en or zh
}

// ScheduleFormats are what may be attached.
var ScheduleFormats = []string{"pdf", "xlsx", "csv"}

// Validate returns an Invalid error that names what cannot be. Addresses are left to who sends.
func (s *Schedule) Validate() error {
	switch {
	case s.Name == "" || len(s.Name) > 100 || !utf8.ValidString(s.Name):
		return schema.Errorf(schema.Invalid, "a scheduled report needs a name of at most 100 bytes")
	case s.Every != Daily && s.Every != Weekly && s.Every != Monthly:
		return schema.Errorf(schema.Invalid, "%q is not how often a report is made", s.Every).WithNext("use daily, weekly or monthly")
	case s.Hour < 0 || s.Hour > 23:
		return schema.Errorf(schema.Invalid, "%d is no hour of a day", s.Hour).WithNext("use 0 to 23")
	case len(s.Formats) == 0 || slices.ContainsFunc(s.Formats, func(f string) bool { return !slices.Contains(ScheduleFormats, f) }):
		return schema.Errorf(schema.Invalid, "what is to be attached is not said, or unknown").WithNext("use pdf, xlsx and csv")
	case len(s.Recipients) == 0 || len(s.Recipients) > 50:
		return schema.Errorf(schema.Invalid, "%d recipients are not between 1 and 50", len(s.Recipients))
	case len(s.Gateways) > 1000:
		return schema.Errorf(schema.Invalid, "%d gateways are more than 1000", len(s.Gateways)).WithNext("name none: all are meant then")
	case len(s.Groups) > mostGroups:
		return schema.Errorf(schema.Invalid, "%d groups are more than %d", len(s.Groups), mostGroups)
	case len(s.Gateways) > 0 && len(s.Groups) > 0:
		return schema.Errorf(schema.Invalid, "gateways are named, and groups are").WithNext("name gateways or groups")
	}
	for _, name := range s.Groups {
		if err := CheckGroup(name); err != nil {
			return err
		}
	}
	return nil
}

// Period returns a period that is over at now, in the zone of now, and when its report is due: the last one that is due for
// back 0, and the ones before it.
func (s *Schedule) Period(now time.Time, back int) (from, to, due time.Time) {
	if _, _, due = s.period(now, 0); due.After(now) { // today's is not due before its hour
		back++
	}
	return s.period(now, back)
}

func (s *Schedule) period(now time.Time, back int) (from, to, due time.Time) {
	y, m, d := now.Date()
	bm, bd := time.Month(0), 1
	switch s.Every {
	case Weekly:
		d, bd = d-(int(now.Weekday())+6)%7, 7
	case Monthly:
		d, bm, bd = 1, 1, 0
	case Daily:
	}
	date := func(n int) time.Time { return time.Date(y, m-bm*time.Month(n), d-bd*n, 0, 0, 0, 0, time.UTC) }
	from, to = schema.DateStart(date(back+1), now.Location()), schema.DateStart(date(back), now.Location())
	y, m, d = date(back).Date()
	if due = time.Date(y, m, d, s.Hour, 0, 0, 0, now.Location()); due.Before(to) { // there was no such hour
		due = to
	}
	return from, to, due
}

// ScheduleRun is one making of a scheduled report: what came of it, and what became of each message. It is kept in the
// house's bucket runs under <provider>.<schedule>.<begin of the period in Unix seconds>.<number>; each change of it is
// checked against its revision, so that of two that would do a step one does.
type ScheduleRun struct {
	Version  int       `json:"version"`
	Provider string    `json:"provider"`
	Schedule string    `json:"schedule"`
	Number   int       `json:"number"` // of those whose period begins so: 0 is the schedule's own, as those from ChangedRuns on; others were asked for
	Test     bool      `json:"test,omitempty"`
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
	Due      time.Time `json:"due"`
	State    RunState  `json:"state"`
	Attempts int       `json:"attempts,omitempty"` // that went wrong, to make its files
	Next     time.Time `json:"next,omitzero"`      // not before
	Problem  string    `json:"problem,omitempty"`  // of the last that went wrong
	Made     time.Time `json:"made,omitzero"`      // its files
	Gateways []string  `json:"gateways"`           // of those; none: of the groups; null: those of the schedule
	Groups   []string  `json:"groups,omitempty"`   // of those in one of these; none, and no gateways: all
	Readings uint64    `json:"readings,omitempty"` // of the period, as it was made
	Complete bool      `json:"complete,omitempty"`
	Earlier  uint64    `json:"earlier,omitempty"` // readings when the run was made of whose period this one was asked for again
	Checked  time.Time `json:"checked,omitzero"`  // when it was looked last whether readings came after it
	Late     uint64    `json:"late,omitempty"`    // readings of its period that came after it was made
	LateAt   time.Time `json:"late_at,omitzero"`  // when that was noticed
	Files    []RunFile `json:"files,omitempty"`
	Letters  []Letter  `json:"letters"`
}

// ChangedRuns is the first number of runs whose period begins as that of another did before its schedule was changed from
// days to weeks, say.
const ChangedRuns = 1000

// ReportOf returns what the run's report is of: as it was made, though the schedule was changed since.
func (r *ScheduleRun) ReportOf(s *Schedule) *Schedule {
	if r.Gateways == nil {
		return s
	}
	of := *s
	of.Gateways, of.Groups = r.Gateways, r.Groups
	return &of
}

// DueSince returns from when on reports that are due are made.
func (s *Schedule) DueSince() time.Time {
	if s.Since.IsZero() {
		return s.Created
	}
	return s.Since
}

// RunState is how far a run is.
type RunState string

// The states of a run.
const (
	RunDue     RunState = "due"     // its files are to be made
	RunMade    RunState = "made"    // its letters are to be sent
	RunDone    RunState = "done"    // nothing is left to do; what became of each letter is with it
	RunSkipped RunState = "skipped" // there was nothing to report
	RunFailed  RunState = "failed"  // it was given up
)

// RunFile is a file that a run made. It is kept in pieces.
type RunFile struct {
	Name     string `json:"name"`
	Type     string `json:"type"`
	Language string `json:"language"`
	Size     int    `json:"size"`
	Pieces   int    `json:"pieces"`
}

// Letter is the message to one recipient.
type Letter struct {
	Recipient
	State    LetterState `json:"state"`
	At       time.Time   `json:"at,omitzero"`      // of its state
	Sender   string      `json:"sender,omitempty"` // who claimed to send it
	Attempts int         `json:"attempts,omitempty"`
	Problem  string      `json:"problem,omitempty"`
}

// LetterState is how far a letter is.
type LetterState string

// The states of a letter.
const (
	LetterWaits   LetterState = "waits"   // to be sent
	LetterSending LetterState = "sending" // claimed: it may be on its way from here on
	LetterSent    LetterState = "sent"    // the mail server has taken it
	LetterRefused LetterState = "refused" // given up: the mail server does not take it
	LetterUnknown LetterState = "unknown" // it may have arrived, so it is not sent again by itself
)
