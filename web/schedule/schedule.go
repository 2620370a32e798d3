// Package schedule makes reports when they are due and sends them: what is due by the schedules of providers, what was
// missed while nothing ran, and what went wrong and is tried again. The report itself comes from a Maker, the sending is a
// function's; what is wanted, and what came of it, is kept in the house's buckets.
//
// Its one invariant: no recipient gets a report twice. A letter is claimed in its run's record, checked against the
// record's revision, before it is handed to the mail server, and what became of it is recorded after. Whoever finds a claim
// whose outcome was never recorded does not know whether the letter arrived: it is marked so, and not sent again.
//
// What a kill leaves at each step, and what the next start makes of it:
//
//	before the run's record             it is made: a run's key is its schedule and period, so there is one
//	run due, files partly kept          they are made anew, over those that are there
//	run made, letter waits              it is claimed and sent
//	letter claimed, not handed over     unknown: nobody can tell it from the next
//	letter handed over, not recorded    unknown
//	letter recorded                     nothing is left to do
package schedule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"berth/internal/api"
	"berth/internal/bus"
	"berth/internal/credentials"
	"berth/internal/mail"
	"berth/schema"
	"berth/schema/record"
)

// File is a file of a report.
type File struct {
	Name string
	Type string
	Data []byte
}

// Maker makes reports: the provider's own reports does; tests make it fail.
type Maker interface {
	// Numbers returns the numbers of a report over [from, to).
	Numbers(ctx context.Context, s *record.Schedule, from, to time.Time) (*api.Report, error)
	// File returns the report as a file of a format, in a language.
	File(ctx context.Context, s *record.Schedule, from, to time.Time, format, language string) (File, error)
}

// Options are what a Scheduler leans on. All are needed but Now and the limits.
type Options struct {
	Schedules, Runs, Files, Leases *bus.Bucket

	Maker    Maker
	Send     func(ctx context.Context, m mail.Message) error // as mail.Send
	Write    func(s *record.Schedule, r *record.ScheduleRun, l *record.Letter, numbers *api.Report) (subject, text string)
	Provider func(name string) (zone *time.Location, made time.Time, err error)
	Host     string // of messages' IDs
	Logger   *slog.Logger

	Now       func() time.Time
	Every     time.Duration // between two looks at what is due
	LateEvery time.Duration // between two looks whether readings came after a report of their period
	ClaimLife time.Duration // after which another's claim of a letter is taken for left behind; longer than sending takes
}

// What a run may be and how it is tried again.
const (
	caughtUp    = 7  // periods back that are made when they were missed
	keptRuns    = 24 // of a schedule
	mostTries   = 10 // to make a run's files, and to send a letter
	firstPause  = time.Minute
	longPause   = time.Hour
	pieceSize   = 1 << 20
	mostAttach  = 20 << 20 // bytes of a run's files in one language: mail servers take no more
	sendingMost = 3 * time.Minute
	mostAsked   = 50                  // runs of one period that were asked for
	lateFor     = 14 * 24 * time.Hour // so long after a report it is looked whether readings came after it
)

// Scheduler does what is due. Run it in each instance: a lease lets one of them look; that none does twice what another did
// is assured by the records' revisions, not by the lease.
type Scheduler struct {
	o      Options
	me     string // this run of the program: claims of others with its name are left behind
	leased uint64 // revision of the lease that is held; 0: none
}

// New returns a Scheduler that does nothing yet.
func New(o Options) *Scheduler {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Every == 0 {
		o.Every = 10 * time.Second
	}
	if o.LateEvery == 0 {
		o.LateEvery = 6 * time.Hour
	}
	if o.ClaimLife == 0 {
		o.ClaimLife = 2 * sendingMost
	}
	return &Scheduler{o: o, me: credentials.NewKey("")[:16]}
}

// Run looks at what is due until ctx ends.
func (s *Scheduler) Run(ctx context.Context) {
	tick := time.NewTicker(s.o.Every)
	defer tick.Stop()
	said := false
	for {
		err := s.Step(ctx)
		if err != nil && ctx.Err() == nil && !said {
			s.o.Logger.Warn("scheduled reports cannot be looked at; it is tried again", "error", err)
		}
		said = err != nil
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// leaseKey is the key of the lease.
const leaseKey = "schedules"

// lease takes or renews the lease, and reports whether this instance has it.
func (s *Scheduler) lease(ctx context.Context) (bool, error) {
	var err error
	if s.leased != 0 {
		if s.leased, err = s.o.Leases.Update(ctx, leaseKey, []byte(s.me), s.leased); err == nil {
			return true, nil
		}
		s.leased = 0
	}
	s.leased, err = s.o.Leases.Create(ctx, leaseKey, []byte(s.me))
	if schema.Is(err, schema.Conflict) {
		s.leased = 0
		return false, nil
	}
	return err == nil, err
}

// Step does what is due now, if this instance is the one that does.
func (s *Scheduler) Step(ctx context.Context) error {
	if has, err := s.lease(ctx); err != nil || !has {
		return err
	}
	schedules, err := s.o.Schedules.List(ctx)
	if err != nil {
		return err
	}
	runs, err := s.o.Runs.List(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, entry := range schedules {
		var sc record.Schedule
		if err := json.Unmarshal(entry.Value, &sc); err != nil {
			errs = append(errs, fmt.Errorf("read a schedule: %w", err))
			continue
		}
		zone, made, err := s.o.Provider(sc.Provider)
		if err != nil {
			continue // the provider has gone
		}
		if !made.Equal(sc.Of) { // another had its name: a release before this one left what it had
			errs = append(errs, s.Remove(ctx, sc.Provider, sc.ID))
			continue
		}
		if err := s.step(ctx, &sc, zone, runs); err != nil {
			errs = append(errs, fmt.Errorf("scheduled report %s of %s: %w", sc.Name, sc.Provider, err))
		}
	}
	return errors.Join(errs...)
}

// step does what is due of one schedule.
func (s *Scheduler) step(ctx context.Context, sc *record.Schedule, zone *time.Location, runs map[string]bus.Entry) error {
	if !sc.Paused {
		if err := s.begin(ctx, sc, zone, runs); err != nil {
			return err
		}
	}
	prefix := sc.Provider + "." + sc.ID + "."
	var errs []error
	for key, entry := range runs {
		if !strings.HasPrefix(key, prefix) {
			continue
		}
		var r record.ScheduleRun
		if err := json.Unmarshal(entry.Value, &r); err != nil {
			errs = append(errs, fmt.Errorf("read run %s: %w", key, err))
			continue
		}
		if err := s.advance(ctx, sc, &work{key: key, revision: entry.Revision, run: &r}); err != nil && !schema.Is(err, schema.Conflict) {
			errs = append(errs, err)
		}
	}
	oldest, _, _ := sc.Period(s.o.Now().In(zone), caughtUp)
	return errors.Join(append(errs, s.forget(ctx, prefix, runs, oldest))...)
}

// begin makes the records of runs that are due: of the last periods that are over, those that have none.
func (s *Scheduler) begin(ctx context.Context, sc *record.Schedule, zone *time.Location, runs map[string]bus.Entry) error {
	now := s.o.Now().In(zone)
	for back := caughtUp - 1; back >= 0; back-- {
		from, to, due := sc.Period(now, back)
		if due.Before(sc.DueSince()) {
			continue
		}
		r := &record.ScheduleRun{Version: record.Version, Provider: sc.Provider, Schedule: sc.ID, From: from, To: to, Due: due, State: record.RunDue}
		if there, err := number(r, runs); err != nil || there {
			if err != nil {
				return err
			}
			continue
		}
		key := RunKey(r)
		revision, err := s.create(ctx, r)
		if schema.Is(err, schema.Conflict) {
			continue
		}
		if err != nil {
			return err
		}
		value, err := json.Marshal(r)
		if err != nil {
			return err
		}
		runs[key] = bus.Entry{Value: value, Revision: revision}
	}
	return nil
}

// number gives the schedule's own run of a period its number, and reports whether it is there already.
func number(r *record.ScheduleRun, runs map[string]bus.Entry) (there bool, err error) {
	for r.Number = 0; ; r.Number = max(r.Number+1, record.ChangedRuns) {
		entry, taken := runs[RunKey(r)]
		if !taken {
			return false, nil
		}
		var other record.ScheduleRun
		if err := json.Unmarshal(entry.Value, &other); err != nil {
			return false, fmt.Errorf("read a run: %w", err)
		}
		if other.To.Equal(r.To) {
			return true, nil
		}
	}
}

func (s *Scheduler) create(ctx context.Context, r *record.ScheduleRun) (uint64, error) {
	value, err := json.Marshal(r)
	if err != nil {
		return 0, err
	}
	return s.o.Runs.Create(ctx, RunKey(r), value)
}

// RunKey is the key of a run's record.
func RunKey(r *record.ScheduleRun) string {
	return fmt.Sprintf("%s.%s.%d.%d", r.Provider, r.Schedule, r.From.Unix(), r.Number)
}

// Test makes the record of a run that is sent to one recipient alone, to try it.
func (s *Scheduler) Test(ctx context.Context, sc *record.Schedule, from, to time.Time, recipient record.Recipient) (*record.ScheduleRun, error) {
	return s.ask(ctx, sc, &record.ScheduleRun{Test: true, From: from, To: to, Letters: letters([]record.Recipient{recipient})})
}

// Again makes the record of a run that makes the report of another's period once more, for the schedule's recipients.
func (s *Scheduler) Again(ctx context.Context, sc *record.Schedule, r *record.ScheduleRun) (*record.ScheduleRun, error) {
	return s.ask(ctx, sc, &record.ScheduleRun{From: r.From, To: r.To, Earlier: r.Readings, Letters: letters(sc.Recipients)})
}

func (s *Scheduler) ask(ctx context.Context, sc *record.Schedule, r *record.ScheduleRun) (*record.ScheduleRun, error) {
	r.Version, r.Provider, r.Schedule, r.Due, r.State = record.Version, sc.Provider, sc.ID, s.o.Now(), record.RunDue
	for r.Number = 1; r.Number <= mostAsked; r.Number++ {
		_, err := s.create(ctx, r)
		if err == nil || !schema.Is(err, schema.Conflict) {
			return r, err
		}
	}
	return nil, schema.Errorf(schema.Limited, "that period was made %d times already", mostAsked)
}

func letters(to []record.Recipient) []record.Letter {
	all := make([]record.Letter, 0, len(to))
	for _, r := range to {
		all = append(all, record.Letter{Recipient: r, State: record.LetterWaits})
	}
	return all
}

// forget removes the oldest runs of a schedule, with their files; none of a period that could be taken for missed.
func (s *Scheduler) forget(ctx context.Context, prefix string, runs map[string]bus.Entry, oldest time.Time) error {
	var mine []string
	for key := range runs {
		if strings.HasPrefix(key, prefix) {
			mine = append(mine, key)
		}
	}
	if len(mine) <= keptRuns {
		return nil
	}
	sortRuns(mine)
	for _, key := range mine[:len(mine)-keptRuns] {
		if period, _ := runOrder(key); period >= oldest.Unix() {
			break
		}
		if err := s.remove(ctx, key, runs[key].Value); err != nil {
			return err
		}
	}
	return nil
}

// remove removes a run: its files first.
func (s *Scheduler) remove(ctx context.Context, key string, value []byte) error {
	var r record.ScheduleRun
	if err := json.Unmarshal(value, &r); err == nil {
		for n, f := range r.Files {
			for piece := range f.Pieces {
				if err := s.o.Files.Delete(ctx, pieceKey(key, n, piece)); err != nil {
					return err
				}
			}
		}
	}
	return s.o.Runs.Delete(ctx, key)
}

// Remove removes a schedule with its runs, or finds it gone.
func (s *Scheduler) Remove(ctx context.Context, provider, id string) error {
	if err := s.o.Schedules.Delete(ctx, provider+"."+id); err != nil {
		return err
	}
	runs, err := s.o.Runs.List(ctx)
	if err != nil {
		return err
	}
	for key, entry := range runs {
		if strings.HasPrefix(key, provider+"."+id+".") {
			if err := s.remove(ctx, key, entry.Value); err != nil {
				return err
			}
		}
	}
	return nil
}

func pieceKey(run string, file, piece int) string {
	return run + "." + strconv.Itoa(file) + "." + strconv.Itoa(piece)
}

// Schedules returns the schedules of a provider, the oldest first; those of an earlier one of its name are another's.
func (s *Scheduler) Schedules(ctx context.Context, provider string) ([]record.Schedule, error) {
	_, made, err := s.o.Provider(provider)
	if err != nil {
		return nil, err
	}
	all, err := s.o.Schedules.List(ctx)
	if err != nil {
		return nil, err
	}
	out := []record.Schedule{}
	for _, entry := range all {
		var sc record.Schedule
		if err := json.Unmarshal(entry.Value, &sc); err != nil {
			return nil, fmt.Errorf("read a schedule: %w", err)
		}
		if sc.Provider == provider && made.Equal(sc.Of) {
			out = append(out, sc)
		}
	}
	slices.SortFunc(out, func(a, b record.Schedule) int { return a.Created.Compare(b.Created) })
	return out, nil
}

// Add keeps a new schedule.
func (s *Scheduler) Add(ctx context.Context, sc *record.Schedule) error {
	value, err := json.Marshal(sc)
	if err != nil {
		return err
	}
	_, err = s.o.Schedules.Create(ctx, sc.Provider+"."+sc.ID, value)
	return err
}

// Schedule returns one schedule, or NotFound.
func (s *Scheduler) Schedule(ctx context.Context, provider, id string) (*record.Schedule, uint64, error) {
	if strings.ContainsAny(id, ".*> ") || id == "" {
		return nil, 0, noSchedule(id)
	}
	_, made, err := s.o.Provider(provider)
	if err != nil {
		return nil, 0, err
	}
	value, revision, err := s.o.Schedules.Get(ctx, provider+"."+id)
	if schema.Is(err, schema.NotFound) {
		return nil, 0, noSchedule(id)
	}
	if err != nil {
		return nil, 0, err
	}
	sc := &record.Schedule{}
	if err := json.Unmarshal(value, sc); err != nil {
		return nil, 0, fmt.Errorf("read the scheduled report %s: %w", id, err)
	}
	if !made.Equal(sc.Of) {
		return nil, 0, noSchedule(id)
	}
	return sc, revision, nil
}

func noSchedule(id string) error {
	return schema.Errorf(schema.NotFound, "there is no scheduled report %q", id)
}

// Pause stops a schedule, or lets it go on; what was due meanwhile is then taken for missed.
func (s *Scheduler) Pause(ctx context.Context, provider, id string, paused bool) error {
	sc, revision, err := s.Schedule(ctx, provider, id)
	if err != nil {
		return err
	}
	sc.Paused = paused
	return s.update(ctx, sc, revision)
}

// Change puts another in a schedule's place: its runs stay, and what was made is not made again. Of another length of its
// periods are those made that are due from now on.
func (s *Scheduler) Change(ctx context.Context, to *record.Schedule) error {
	sc, revision, err := s.Schedule(ctx, to.Provider, to.ID)
	if err != nil {
		return err
	}
	to.Paused, to.Created, to.Since = sc.Paused, sc.Created, sc.Since
	if to.Every != sc.Every {
		to.Since = s.o.Now().UTC()
	}
	return s.update(ctx, to, revision)
}

func (s *Scheduler) update(ctx context.Context, sc *record.Schedule, revision uint64) error {
	value, err := json.Marshal(sc)
	if err != nil {
		return err
	}
	_, err = s.o.Schedules.Update(ctx, sc.Provider+"."+sc.ID, value, revision)
	return err
}

// Runs returns the runs of a schedule, the newest first, or NotFound.
func (s *Scheduler) Runs(ctx context.Context, provider, id string) ([]record.ScheduleRun, error) {
	if _, _, err := s.Schedule(ctx, provider, id); err != nil {
		return nil, err
	}
	all, err := s.o.Runs.List(ctx)
	if err != nil {
		return nil, err
	}
	var keys []string
	for key := range all {
		if strings.HasPrefix(key, provider+"."+id+".") {
			keys = append(keys, key)
		}
	}
	sortRuns(keys)
	slices.Reverse(keys)
	out := make([]record.ScheduleRun, len(keys))
	for i, key := range keys {
		if err := json.Unmarshal(all[key].Value, &out[i]); err != nil {
			return nil, fmt.Errorf("read a run: %w", err)
		}
	}
	return out, nil
}

// RunName names a run among those of its schedule: the begin of its period in Unix seconds, and its number.
func RunName(r *record.ScheduleRun) string { return fmt.Sprintf("%d.%d", r.From.Unix(), r.Number) }

// One returns a run by its name, or NotFound.
func (s *Scheduler) One(ctx context.Context, provider, id, name string) (*record.ScheduleRun, error) {
	period, number, ok := strings.Cut(name, ".")
	_, periodErr := strconv.ParseInt(period, 10, 64)
	_, numberErr := strconv.ParseUint(number, 10, 32)
	missing := schema.Errorf(schema.NotFound, "there is no run %q of that scheduled report", name)
	if !ok || periodErr != nil || numberErr != nil {
		return nil, missing
	}
	if _, _, err := s.Schedule(ctx, provider, id); err != nil {
		return nil, err
	}
	value, _, err := s.o.Runs.Get(ctx, provider+"."+id+"."+name)
	if schema.Is(err, schema.NotFound) {
		return nil, missing
	}
	if err != nil {
		return nil, err
	}
	r := &record.ScheduleRun{}
	return r, json.Unmarshal(value, r)
}
