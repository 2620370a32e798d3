package web

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"berth/internal/credentials"
	"berth/internal/httpserver"
	"berth/internal/locale"
	"berth/internal/mail"
	"berth/schema"
	"berth/schema/record"
	"berth/web/schedule"
)

const (
	mostSchedules  = 100 // of a provider
	schedulesSpace = "schedules"
)

// scheduleRoutes are those of scheduled reports, for pages and for the API.
func (w *Web) scheduleRoutes() []route {
	const one = apiPrefix + "/schedules/:id"
	act := func(method, path, does string, h httpserver.Handler) route {
		return route{method: method, path: path, access: mayWrite, does: does, handler: h}
	}
	get := func(path string, h httpserver.Handler) route {
		return route{method: http.MethodGet, path: path, access: mayRead, handler: h}
	}
	return []route{
		get(homePrefix+"/schedules", w.schedulesPage),
		act(http.MethodPost, homePrefix+"/schedules", "schedule.change", w.schedulesPost),
		get(apiPrefix+"/schedules", w.listSchedules),
		act(http.MethodPost, apiPrefix+"/schedules", "schedule.add", w.addSchedule),
		act(http.MethodPut, one, "schedule.change", w.changeSchedule),
		act(http.MethodDelete, one, "schedule.remove", w.removeSchedule),
		act(http.MethodPost, one+"/pause", "schedule.pause", w.pauseSchedule(true)),
		act(http.MethodPost, one+"/resume", "schedule.resume", w.pauseSchedule(false)),
		act(http.MethodPost, one+"/test", "schedule.test", w.testSchedule),
		get(one+"/runs", w.listRuns),
		get(one+"/runs/:run/files/:file", w.runFile),
		act(http.MethodPost, one+"/runs/:run/again", "schedule.again", w.runAgain),
	}
}

// listSchedules answers with a provider's scheduled reports.
func (w *Web) listSchedules(rw http.ResponseWriter, r *http.Request) error {
	all, err := w.schedule.Schedules(r.Context(), requestOf(r).provider.Name)
	if err != nil {
		return err
	}
	return httpserver.JSON(rw, http.StatusOK, map[string]any{"schedules": all})
}

// addSchedule keeps the scheduled report that the body describes.
func (w *Web) addSchedule(rw http.ResponseWriter, r *http.Request) error {
	s, err := readSchedule(r)
	if err == nil {
		err = w.newSchedule(r, s)
	}
	if err != nil {
		return err
	}
	return httpserver.JSON(rw, http.StatusOK, s)
}

// changeSchedule puts what the body describes in a scheduled report's place.
func (w *Web) changeSchedule(rw http.ResponseWriter, r *http.Request) error {
	s, err := readSchedule(r)
	if err == nil {
		err = w.setSchedule(r, r.PathValue("id"), s)
	}
	if err != nil {
		return err
	}
	return httpserver.JSON(rw, http.StatusOK, s)
}

func readSchedule(r *http.Request) (*record.Schedule, error) {
	s := &record.Schedule{}
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = json.Unmarshal(body, s)
	}
	if err != nil {
		return nil, schema.Errorf(schema.Invalid, "the body is no scheduled report").WithCause(err).
			WithNext(`send it as application/json: {"name":"Daily","every":"daily","hour":6,"formats":["pdf"],"recipients":[{"address":"a@example.com","language":"en"}]}`)
	}
	return s, nil
}

// newSchedule checks a scheduled report and keeps it.
func (w *Web) newSchedule(r *http.Request, s *record.Schedule) error {
	note(r, s.Name)
	s.ID, s.Created, s.Since = credentials.NewKey("")[:8], w.now().UTC(), time.Time{}
	if err := checkSchedule(r, s); err != nil {
		return err
	}
	all, err := w.schedule.Schedules(r.Context(), s.Provider)
	if err != nil {
		return err
	}
	if len(all) >= mostSchedules {
		return schema.Errorf(schema.Limited, "a provider has at most %d scheduled reports", mostSchedules).WithNext("remove one")
	}
	return w.schedule.Add(r.Context(), s)
}

// setSchedule checks a scheduled report and puts it in the place of the one with the ID.
func (w *Web) setSchedule(r *http.Request, id string, s *record.Schedule) error {
	note(r, id+" "+s.Name)
	s.ID = id
	if err := checkSchedule(r, s); err != nil {
		return err
	}
	return w.schedule.Change(r.Context(), s)
}

// checkSchedule returns what is wrong with a scheduled report, and completes it by what the request says.
func checkSchedule(r *http.Request, s *record.Schedule) error {
	p := requestOf(r).provider
	s.Version, s.Provider, s.Of = record.Version, p.Name, p.Created
	if err := s.Validate(); err != nil {
		return err
	}
	for i := range s.Recipients {
		to := &s.Recipients[i]
		if err := mail.CheckAddress(to.Address); err != nil {
			return err
		}
		if to.Language = cmp.Or(to.Language, languageOf(r)); locale.Known(to.Language) == "" {
			return schema.Errorf(schema.Invalid, "%q is no language of reports", to.Language).WithNext("use en or zh")
		}
	}
	for _, g := range s.Gateways {
		if err := schema.CheckGateway(g); err != nil {
			return err
		}
	}
	return nil
}

func (w *Web) removeSchedule(rw http.ResponseWriter, r *http.Request) error {
	p, id := requestOf(r).provider.Name, r.PathValue("id")
	s, _, err := w.schedule.Schedule(r.Context(), p, id)
	if err != nil {
		return err
	}
	note(r, s.Name)
	if err := w.schedule.Remove(r.Context(), p, id); err != nil {
		return err
	}
	return httpserver.JSON(rw, http.StatusOK, s)
}

func (w *Web) pauseSchedule(paused bool) httpserver.Handler {
	return func(rw http.ResponseWriter, r *http.Request) error {
		p, id := requestOf(r).provider.Name, r.PathValue("id")
		note(r, id)
		if err := w.schedule.Pause(r.Context(), p, id, paused); err != nil {
			return err
		}
		s, _, err := w.schedule.Schedule(r.Context(), p, id)
		if err != nil {
			return err
		}
		return httpserver.JSON(rw, http.StatusOK, s)
	}
}

// testSchedule sends the report of the last period to one address, ?to= in the language of ?lang=.
func (w *Web) testSchedule(rw http.ResponseWriter, r *http.Request) error {
	run, err := w.askTest(r, r.PathValue("id"), r.FormValue("to"), r.FormValue("lang"))
	if err != nil {
		return err
	}
	return httpserver.JSON(rw, http.StatusOK, run)
}

func (w *Web) askTest(r *http.Request, id, to, language string) (*record.ScheduleRun, error) {
	p := requestOf(r).provider
	note(r, id+" to "+to)
	s, _, err := w.schedule.Schedule(r.Context(), p.Name, id)
	if err != nil {
		return nil, err
	}
	if err := mail.CheckAddress(to); err != nil {
		return nil, err
	}
	if w.o.Mail.Server == "" {
		return nil, noMail()
	}
	if locale.Known(language) == "" {
		language = languageOf(r)
	}
	from, end, _ := s.Period(w.now().In(zoneOf(p)), 0)
	return w.schedule.Test(r.Context(), s, from, end, record.Recipient{Address: to, Language: language})
}

// runOf is a run as the API shows it.
type runOf struct {
	Run string `json:"run"` // names it in paths
	record.ScheduleRun
}

func (w *Web) listRuns(rw http.ResponseWriter, r *http.Request) error {
	runs, err := w.schedule.Runs(r.Context(), requestOf(r).provider.Name, r.PathValue("id"))
	if err != nil {
		return err
	}
	out := make([]runOf, 0, len(runs))
	for i := range runs {
		out = append(out, runOf{Run: schedule.RunName(&runs[i]), ScheduleRun: runs[i]})
	}
	return httpserver.JSON(rw, http.StatusOK, map[string]any{"runs": out})
}

// runFile answers with a file that a run made, to be saved.
func (w *Web) runFile(rw http.ResponseWriter, r *http.Request) error {
	run, err := w.schedule.One(r.Context(), requestOf(r).provider.Name, r.PathValue("id"), r.PathValue("run"))
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(r.PathValue("file"))
	if err != nil {
		return schema.Errorf(schema.NotFound, "the run has no file %q", r.PathValue("file"))
	}
	f, err := w.schedule.File(r.Context(), run, n)
	if err != nil {
		return err
	}
	return saveFile(rw, f)
}

// runAgain makes the report of a run's period anew and sends it to the schedule's recipients.
func (w *Web) runAgain(rw http.ResponseWriter, r *http.Request) error {
	run, err := w.askAgain(r, r.PathValue("id"), r.PathValue("run"))
	if err != nil {
		return err
	}
	return httpserver.JSON(rw, http.StatusOK, run)
}

func (w *Web) askAgain(r *http.Request, id, name string) (*record.ScheduleRun, error) {
	p := requestOf(r).provider.Name
	note(r, id+" "+name)
	s, _, err := w.schedule.Schedule(r.Context(), p, id)
	if err != nil {
		return nil, err
	}
	run, err := w.schedule.One(r.Context(), p, id, name)
	if err != nil {
		return nil, err
	}
	return w.schedule.Again(r.Context(), s, run)
}

// schedulesData is the page of scheduled reports.
type schedulesData struct {
	frame
	outcome
	Schedules []scheduleRow
	NoMail    bool // the installation has no mail server
	Limit     int
}

type scheduleRow struct {
	record.Schedule
	Runs []runRow
}

type runRow struct {
	record.ScheduleRun
	Name  string
	Files []fileRow
}

type fileRow struct {
	Name string
	Path string
}

// shownRuns is how many runs of a schedule the page shows.
const shownRuns = 10

func (w *Web) schedulesPage(rw http.ResponseWriter, r *http.Request) error {
	return w.showSchedules(rw, r, http.StatusOK, &schedulesData{})
}

func (w *Web) showSchedules(rw http.ResponseWriter, r *http.Request, status int, d *schedulesData) error {
	p := requestOf(r).provider
	all, err := w.schedule.Schedules(r.Context(), p.Name)
	if err != nil {
		return err
	}
	for _, s := range all {
		row := scheduleRow{Schedule: s}
		runs, err := w.schedule.Runs(r.Context(), p.Name, s.ID)
		if err != nil {
			return err
		}
		for i := range runs[:min(len(runs), shownRuns)] {
			run := runRow{ScheduleRun: runs[i], Name: schedule.RunName(&runs[i])}
			for n, f := range runs[i].Files {
				path := apiURL(p.Name, nil, schedulesSpace, s.ID, "runs", run.Name, "files", strconv.Itoa(n))
				run.Files = append(run.Files, fileRow{Name: f.Name, Path: path.RequestURI()})
			}
			row.Runs = append(row.Runs, run)
		}
		d.Schedules = append(d.Schedules, row)
	}
	d.Nav, d.NoMail, d.Limit = schedulesSpace, w.o.Mail.Server == "", mostSchedules
	return w.show(rw, r, status, "schedules", "schedules.title", d)
}

// Day returns the day of a time in the provider's zone.
func (d *schedulesData) Day(t time.Time) string { return t.In(d.home).Format(d.Language.Day) }

// LastDay returns the last day of a period that ends at t.
func (d *schedulesData) LastDay(t time.Time) string { return d.Day(t.Add(-time.Nanosecond)) }

// Hours are those of a day to choose from.
func (d *schedulesData) Hours() []int {
	hours := make([]int, 24)
	for i := range hours {
		hours[i] = i
	}
	return hours
}

// schedulesPost does what the form says and shows the page with what became of it.
func (w *Web) schedulesPost(rw http.ResponseWriter, r *http.Request) error {
	act := r.PostFormValue("act")
	d := &schedulesData{}
	status, err := d.settle(r, "schedules.done."+act, w.changeSchedules(r, act))
	if err != nil {
		return err
	}
	return w.showSchedules(rw, r, status, d)
}

func (w *Web) changeSchedules(r *http.Request, act string) error {
	ctx, p, id := r.Context(), requestOf(r).provider.Name, r.PostFormValue("id")
	switch act {
	case "add":
		return w.newSchedule(r, scheduleOf(r))
	case "change":
		return w.setSchedule(r, id, scheduleOf(r))
	case "remove":
		note(r, id)
		if _, _, err := w.schedule.Schedule(ctx, p, id); err != nil {
			return err
		}
		return w.schedule.Remove(ctx, p, id)
	case "pause", "resume":
		note(r, id)
		return w.schedule.Pause(ctx, p, id, act == "pause")
	case "test":
		_, err := w.askTest(r, id, strings.TrimSpace(r.PostFormValue("to")), languageOf(r))
		return err
	case "again":
		_, err := w.askAgain(r, id, r.PostFormValue("run"))
		return err
	default:
		return schema.Errorf(schema.Invalid, "the form cannot be read").WithNext("load the page again")
	}
}

// scheduleOf reads a scheduled report from the page's form: a recipient a line, with the language after it if it is another
// than the form's.
func scheduleOf(r *http.Request) *record.Schedule {
	hour, err := strconv.Atoi(r.PostFormValue("hour"))
	if err != nil {
		hour = -1
	}
	s := &record.Schedule{
		Name: strings.TrimSpace(r.PostFormValue("name")), Every: record.Every(r.PostFormValue("every")), Hour: hour,
		Formats: r.PostForm["format"], SkipEmpty: r.PostFormValue("skip") != "",
	}
	for line := range strings.Lines(r.PostFormValue("recipients")) {
		words := strings.Fields(strings.ReplaceAll(line, ",", " "))
		for i, word := range words {
			if i > 0 && locale.Known(word) != "" {
				s.Recipients[len(s.Recipients)-1].Language = word
				continue
			}
			s.Recipients = append(s.Recipients, record.Recipient{Address: word, Language: r.PostFormValue("language")})
		}
	}
	s.Gateways, s.Groups = linesOf(r.PostFormValue("gateways")), linesOf(r.PostFormValue("groups"))
	return s
}

// scheduleForm is the form of a new scheduled report, or of one that is changed.
type scheduleForm struct {
	*schedulesData
	Of *record.Schedule
}

// FormNew returns the form of a new scheduled report.
func (d *schedulesData) FormNew() scheduleForm {
	return scheduleForm{d, &record.Schedule{Hour: 6, Formats: []string{"pdf"}}}
}

// FormOf returns the form that changes a scheduled report.
func (d *schedulesData) FormOf(s scheduleRow) scheduleForm { return scheduleForm{d, &s.Schedule} }

// Everies are how often a report may be made.
func (f scheduleForm) Everies() []record.Every {
	return []record.Every{record.Daily, record.Weekly, record.Monthly}
}

// Formats are what may be attached.
func (f scheduleForm) Formats() []string { return record.ScheduleFormats }

// Upper returns a format as people write it.
func (f scheduleForm) Upper(format string) string { return strings.ToUpper(format) }

// Attached reports whether the format is attached.
func (f scheduleForm) Attached(format string) bool { return slices.Contains(f.Of.Formats, format) }

// Clocked returns an hour as a clock shows it.
func (d *schedulesData) Clocked(hour int) string { return fmt.Sprintf("%02d:00", hour) }

// Word returns what people are told of a state; a state that is newer than the page is shown as it is.
func (d *schedulesData) Word(group string, state any) string {
	if key := fmt.Sprintf("schedules.%s.%v", group, state); d.Has(key) {
		return d.T(key)
	}
	return fmt.Sprint(state)
}
