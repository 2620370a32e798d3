package web

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"berth/internal/api"
	"berth/internal/bus"
	"berth/internal/mail"
	"berth/schema"
	"berth/schema/record"
	"berth/web/schedule"
)

// startSchedules begins to make and send the reports that are due.
func (w *Web) startSchedules(ctx context.Context) error {
	buckets := map[string]*bus.Bucket{}
	for _, name := range []string{"schedules", "runs", "runfiles", "leases"} {
		var err error
		if buckets[name], err = w.conn.Bucket(ctx, bus.BucketOptions{Name: name}); err != nil {
			return fmt.Errorf("open the records of scheduled reports: %w", err)
		}
	}
	_, host, _ := strings.Cut(w.o.Mail.From, "@")
	w.schedule = schedule.New(schedule.Options{
		Schedules: buckets["schedules"], Runs: buckets["runs"], Files: buckets["runfiles"], Leases: buckets["leases"],
		Maker: maker{w}, Send: w.sendMail, Write: w.writeLetter, Host: host, Logger: w.o.Logger,
		Provider: func(name string) (*time.Location, time.Time, error) {
			p, err := w.dir.provider(name)
			if err != nil {
				return nil, time.Time{}, err
			}
			return zoneOf(p), p.Created, nil
		},
	})
	w.background(ctx, "scheduled reports", w.schedule.Run)
	return nil
}

// sendMail sends a message by the mail server of the installation.
func (w *Web) sendMail(ctx context.Context, m mail.Message) error {
	if w.o.Mail.Server == "" {
		return &mail.Refused{Err: noMail()}
	}
	return mail.Send(ctx, w.o.Mail, m)
}

func noMail() error {
	return schema.Errorf(schema.Conflict, "the installation has no mail server").WithNext("the operator names one: provisioner serve --mail FILE")
}

func zoneOf(p *record.Provider) *time.Location {
	zone, err := time.LoadLocation(p.Settings.Timezone)
	if err != nil {
		return time.UTC
	}
	return zone
}

// maker has reports made by the provider's own reports.
type maker struct{ w *Web }

const makeLimit = 3 * time.Minute

func (m maker) query(s *record.Schedule, from, to time.Time, format, language string) url.Values {
	return url.Values{
		"from": {from.Format(time.RFC3339)}, "to": {to.Format(time.RFC3339)}, "gateway": s.Gateways, "group": s.Groups, "format": {format}, "lang": {language},
	}
}

// Numbers returns a report's numbers.
func (m maker) Numbers(ctx context.Context, s *record.Schedule, from, to time.Time) (*api.Report, error) {
	p, err := m.w.dir.provider(s.Provider)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, makeLimit)
	defer cancel()
	report := &api.Report{}
	return report, m.w.up.ask(ctx, http.MethodGet, p, report, m.query(s, from, to, "json", "en"), "reports", "preview")
}

// File returns a report as a file.
func (m maker) File(ctx context.Context, s *record.Schedule, from, to time.Time, format, language string) (schedule.File, error) {
	p, err := m.w.dir.provider(s.Provider)
	if err != nil {
		return schedule.File{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, makeLimit)
	defer cancel()
	return m.w.up.file(ctx, p, m.query(s, from, to, format, language))
}

// mostInLetter is how many gateways a letter has lines of; all are in what is attached.
const mostInLetter = 25

// writeLetter writes what a recipient reads without opening what is attached, in the recipient's language.
func (w *Web) writeLetter(s *record.Schedule, run *record.ScheduleRun, l *record.Letter, n *api.Report) (subject, text string) {
	t := w.pages.catalog.Printer(l.Language)
	zone, err := time.LoadLocation(n.Zone)
	if err != nil {
		zone = time.UTC
	}
	first, last := run.From.In(zone).Format(time.DateOnly), run.To.In(zone).Add(-time.Nanosecond).Format(time.DateOnly)
	span := first
	if last != first {
		span = t.T("letter.span", "first", first, "last", last)
	}
	subject = t.T("letter.subject", "name", s.Name, "provider", s.Provider, "span", span)
	if run.Test {
		subject = t.T("letter.test", "subject", subject)
	}
	var b strings.Builder
	line := func(key string, args ...any) { b.WriteString(t.T(key, args...) + "\n") }
	line("letter.head", "name", s.Name, "provider", s.Provider, "span", span, "zone", n.Zone)
	b.WriteString("\n")
	line("letter.readings", "readings", n.Totals.Readings, "rejected", n.Totals.Rejected)
	if run.Earlier > 0 && run.Readings > run.Earlier {
		line("letter.late", "late", run.Readings-run.Earlier)
	}
	if n.Totals.Expected != nil {
		line("letter.expected", "expected", *n.Totals.Expected, "share", percent(n.Totals.Completeness))
	}
	if n.Totals.Availability != nil {
		line("letter.availability", "share", percent(n.Totals.Availability))
	}
	line("letter.gateways", "gateways", n.Totals.Gateways, "sensors", n.Totals.Sensors)
	if !n.Complete.Complete {
		line("letter.incomplete")
	}
	b.WriteString("\n")
	for i := range n.Gateways {
		if i == mostInLetter {
			line("letter.more", "count", len(n.Gateways)-i)
			break
		}
		g := &n.Gateways[i]
		line("letter.gateway", "gateway", g.Name, "readings", g.Readings, "share", percent(g.Completeness))
	}
	b.WriteString("\n")
	line("letter.attached")
	for _, f := range run.Files {
		if f.Language == l.Language {
			b.WriteString("  " + f.Name + "\n")
		}
	}
	return subject, b.String()
}

// percent returns a share as people read it.
func percent(share *api.Number) string {
	if share == nil {
		return "–"
	}
	return strconv.FormatFloat(float64(*share)*100, 'f', 1, 64) + " %"
}
