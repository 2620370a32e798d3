package schedule

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"berth/internal/api"
	"berth/internal/credentials"
	"berth/internal/mail"
	"berth/schema"
	"berth/schema/record"
)

// work is a run under way: its record as it is kept.
type work struct {
	key      string
	revision uint64
	run      *record.ScheduleRun
}

// keep keeps the run as it is now. Conflict: another has changed it, and does what is left.
func (s *Scheduler) keep(ctx context.Context, w *work) error {
	value, err := json.Marshal(w.run)
	if err != nil {
		return err
	}
	revision, err := s.o.Runs.Update(ctx, w.key, value, w.revision)
	if err == nil {
		w.revision = revision
	}
	return err
}

// advance takes a run as far as it goes now.
func (s *Scheduler) advance(ctx context.Context, sc *record.Schedule, w *work) error {
	if w.run.State == record.RunDue && !s.o.Now().Before(w.run.Next) {
		if err := s.make(ctx, sc, w); err != nil {
			return err
		}
	}
	switch w.run.State {
	case record.RunMade:
		return s.send(ctx, sc, w)
	case record.RunDone, record.RunSkipped:
		return s.lookLate(ctx, sc, w)
	default:
		return nil
	}
}

// lookLate looks now and then whether readings of a run's period came after it was made.
func (s *Scheduler) lookLate(ctx context.Context, sc *record.Schedule, w *work) error {
	r, now := w.run, s.o.Now()
	if now.Sub(r.Made) > lateFor || now.Sub(r.Made) < s.o.LateEvery || now.Sub(r.Checked) < s.o.LateEvery {
		return nil
	}
	numbers, err := s.o.Maker.Numbers(ctx, r.ReportOf(sc), r.From, r.To)
	if err != nil {
		return err
	}
	r.Checked = now
	if got := numbers.Totals.Readings; got > r.Readings && got-r.Readings != r.Late {
		r.Late, r.LateAt = got-r.Readings, now
	}
	return s.keep(ctx, w)
}

// pause returns how long to wait after so many attempts that went wrong.
func pause(attempts int) time.Duration {
	return min(firstPause<<min(attempts-1, 10), longPause)
}

// make makes the files of a run and keeps them.
func (s *Scheduler) make(ctx context.Context, sc *record.Schedule, w *work) error {
	r := w.run
	r.Gateways, r.Groups = append([]string{}, sc.Gateways...), sc.Groups
	numbers, err := s.o.Maker.Numbers(ctx, sc, r.From, r.To)
	if err == nil && numbers.Totals.Readings == 0 && sc.SkipEmpty && !r.Test {
		r.State, r.Made = record.RunSkipped, s.o.Now()
		return s.keep(ctx, w)
	}
	if err == nil {
		err = s.makeFiles(ctx, sc, w)
	}
	if err != nil {
		if ctx.Err() != nil {
			return err
		}
		r.Attempts++
		r.Problem, r.Next = schema.Show(err), s.o.Now().Add(pause(r.Attempts))
		if r.Attempts >= mostTries {
			r.State = record.RunFailed
		}
		s.o.Logger.Warn("a scheduled report could not be made", "provider", sc.Provider, "schedule", sc.Name, "attempts", r.Attempts, "error", err)
		return s.keep(ctx, w)
	}
	if r.Letters == nil {
		r.Letters = letters(sc.Recipients)
	}
	r.State, r.Made, r.Readings, r.Complete = record.RunMade, s.o.Now(), numbers.Totals.Readings, numbers.Complete.Complete
	r.Attempts, r.Next, r.Problem = 0, time.Time{}, ""
	return s.keep(ctx, w)
}

// makeFiles makes each format in each of the recipients' languages.
func (s *Scheduler) makeFiles(ctx context.Context, sc *record.Schedule, w *work) error {
	r := w.run
	var languages []string
	to := r.Letters // of a run that was asked for
	if to == nil {
		to = letters(sc.Recipients)
	}
	for _, l := range to {
		if !slices.Contains(languages, l.Language) {
			languages = append(languages, l.Language)
		}
	}
	r.Files = nil
	for _, language := range languages {
		size := 0
		for _, format := range sc.Formats {
			f, err := s.o.Maker.File(ctx, sc, r.From, r.To, format, language)
			if err != nil {
				return fmt.Errorf("make the %s: %w", format, err)
			}
			if size += len(f.Data); size > mostAttach {
				return schema.Errorf(schema.TooLarge, "the files are larger than %d MB, which mail does not take", mostAttach>>20).
					WithNext("name fewer gateways, or attach less")
			}
			kept := record.RunFile{Name: f.Name, Type: f.Type, Language: language, Size: len(f.Data)}
			for data := f.Data; len(data) > 0 || kept.Pieces == 0; kept.Pieces++ {
				n := min(len(data), pieceSize)
				if _, err := s.o.Files.Put(ctx, pieceKey(w.key, len(r.Files), kept.Pieces), data[:n]); err != nil {
					return fmt.Errorf("keep a file: %w", err)
				}
				data = data[n:]
			}
			r.Files = append(r.Files, kept)
		}
	}
	return nil
}

// File returns a file that a run made.
func (s *Scheduler) File(ctx context.Context, r *record.ScheduleRun, n int) (File, error) {
	if n < 0 || n >= len(r.Files) {
		return File{}, schema.Errorf(schema.NotFound, "the run has no file %d", n)
	}
	f := r.Files[n]
	out := File{Name: f.Name, Type: f.Type, Data: make([]byte, 0, f.Size)}
	for piece := range f.Pieces {
		data, _, err := s.o.Files.Get(ctx, pieceKey(RunKey(r), n, piece))
		if schema.Is(err, schema.NotFound) {
			return out, schema.Errorf(schema.NotFound, "the file is no longer kept").WithNext("run the report again").WithCause(err)
		}
		if err != nil {
			return out, err
		}
		out.Data = append(out.Data, data...)
	}
	return out, nil
}

// send sends the letters of a run that are to be sent now, one after the other.
func (s *Scheduler) send(ctx context.Context, sc *record.Schedule, w *work) error {
	r := w.run
	var numbers *api.Report
	left := false
	for i := range r.Letters {
		l := &r.Letters[i]
		if l.State == record.LetterSending {
			// Its claim was kept and its outcome was not. One's own is left behind too: steps do not overlap.
			if l.Sender != s.me && s.o.Now().Sub(l.At) < s.o.ClaimLife {
				left = true
				continue
			}
			l.State, l.At = record.LetterUnknown, s.o.Now()
			l.Problem = "it may have been sent: who sent it ended before what became of it was recorded"
			if err := s.keep(ctx, w); err != nil {
				return err
			}
		}
		if l.State != record.LetterWaits {
			continue
		}
		if s.o.Now().Before(r.Next) {
			left = true
			continue
		}
		if numbers == nil {
			var err error
			if numbers, err = s.o.Maker.Numbers(ctx, r.ReportOf(sc), r.From, r.To); err != nil {
				return err
			}
		}
		if err := s.sendOne(ctx, sc, w, l, numbers); err != nil {
			return err
		}
		left = left || l.State == record.LetterWaits
	}
	if left {
		return nil
	}
	r.State = record.RunDone
	return s.keep(ctx, w)
}

// sendOne claims a letter, sends it, and keeps what became of it.
func (s *Scheduler) sendOne(ctx context.Context, sc *record.Schedule, w *work, l *record.Letter, numbers *api.Report) error {
	m, err := s.message(ctx, sc, w, l, numbers)
	if err != nil {
		return err
	}
	l.State, l.At, l.Sender, l.Problem = record.LetterSending, s.o.Now(), s.me, ""
	l.Attempts++
	if err := s.keep(ctx, w); err != nil {
		return err // of unknown outcome: whoever finds the claim, if it is there, takes it for one that may have been sent
	}
	sending, cancel := context.WithTimeout(ctx, sendingMost)
	defer cancel()
	err = s.o.Send(sending, m)
	refused, surely := errors.AsType[*mail.Refused](err)
	l.At = s.o.Now()
	switch {
	case err == nil:
		l.State = record.LetterSent
	case surely && (refused.Final || l.Attempts >= mostTries):
		l.State, l.Problem = record.LetterRefused, refused.Error()
	case surely:
		l.State, l.Problem = record.LetterWaits, refused.Error()
		w.run.Next = l.At.Add(pause(l.Attempts))
	default:
		l.State, l.Problem = record.LetterUnknown, "it may have been sent: the mail server's answer did not come: "+err.Error()
	}
	if err != nil {
		s.o.Logger.Warn("a scheduled report was not sent", "provider", sc.Provider, "schedule", sc.Name, "state", string(l.State), "error", err)
	}
	return s.keep(context.WithoutCancel(ctx), w)
}

// message composes a letter.
func (s *Scheduler) message(ctx context.Context, sc *record.Schedule, w *work, l *record.Letter, numbers *api.Report) (mail.Message, error) {
	subject, text := s.o.Write(sc, w.run, l, numbers)
	m := mail.Message{
		ID: credentials.Hash(w.key + " " + l.Address)[:32] + "@" + s.o.Host, To: l.Address, Subject: subject, Text: text,
	}
	for n, f := range w.run.Files {
		if f.Language != l.Language {
			continue
		}
		file, err := s.File(ctx, w.run, n)
		if err != nil {
			return m, err
		}
		m.Files = append(m.Files, mail.File{Name: file.Name, Type: file.Type, Data: file.Data})
	}
	return m, nil
}

// sortRuns sorts keys of one schedule's runs, the oldest first.
func sortRuns(keys []string) {
	slices.SortFunc(keys, func(a, b string) int {
		pa, na := runOrder(a)
		pb, nb := runOrder(b)
		return cmp.Or(cmp.Compare(pa, pb), cmp.Compare(na, nb))
	})
}

// runOrder returns what runs of one schedule are ordered by: the begin of the period, then the number.
func runOrder(key string) (period, number int64) {
	parts := strings.Split(key, ".")
	period, _ = strconv.ParseInt(parts[len(parts)-2], 10, 64)
	number, _ = strconv.ParseInt(parts[len(parts)-1], 10, 64)
	return period, number
}
