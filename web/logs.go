package web

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"berth/internal/houseapi"
	"berth/internal/httpserver"
	"berth/internal/logging"
	"berth/schema"
	"berth/schema/record"
)

const (
	// logsShown is how many lines of the past a page or a stream begins with, if nothing else is asked for.
	logsShown = 200
	// logsWait bounds how long a page waits for them.
	logsWait = 10 * time.Second
	// logsBeat is how often a stream that has nothing to say shows that it is there.
	logsBeat = 10 * time.Second
	// logLineMost bounds a line, in bytes: what is longer is cut.
	logLineMost = 8 << 10
)

// logsData is the page of what an instance writes: the last lines, which a script goes on from.
type logsData struct {
	frame
	Roles  []string // whose logs there are
	Path   string   // of the page, without a role
	Role   string
	Lines  []logRow
	After  string // ID of the last line
	Most   int    // how many lines the page keeps
	Stream string // where the script follows it
	Away   string // why there are none, in the service's own words
}

type logRow struct {
	Level string // error, warn, or empty
	Text  string
}

// logsAsked reads whose log is asked for, and how many of its last lines.
func logsAsked(r *http.Request) (houseapi.LogsRequest, error) {
	q := houseapi.LogsRequest{Provider: placeOf(r), Role: r.URL.Query().Get("role"), Lines: logsShown}
	if q.Role == "" {
		q.Role = rolesOf(q.Provider)[0]
	}
	if lines := r.URL.Query().Get("lines"); lines != "" {
		var err error
		if q.Lines, err = strconv.Atoi(lines); err != nil || q.Lines < 1 || q.Lines > houseapi.LogLines {
			return q, schema.Errorf(schema.Invalid, "%q is no number of lines from 1 to %d", lines, houseapi.LogLines)
		}
	}
	if !slices.Contains(rolesOf(q.Provider), q.Role) {
		return q, schema.Errorf(schema.Invalid, "there is no instance %q", q.Role)
	}
	return q, nil
}

// rolesOf returns whose logs there are of a provider, or of the house.
func rolesOf(provider string) []string {
	if provider == "" {
		return []string{record.RoleWeb}
	}
	return []string{record.RoleIngest, record.RoleReports}
}

// askLogs asks the provisioner for a log and hands over each chunk; the first is all of the past that was asked for.
func (w *Web) askLogs(ctx context.Context, q houseapi.LogsRequest, chunk func([]byte) error) error {
	request, err := json.Marshal(q)
	if err != nil {
		return fmt.Errorf("ask for a log: %w", err)
	}
	return w.conn.Ask(ctx, houseapi.LogsSubject, request, chunk)
}

func (w *Web) logsPage(rw http.ResponseWriter, r *http.Request) error {
	q, err := logsAsked(r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), logsWait)
	defer cancel()
	d := &logsData{Roles: rolesOf(q.Provider), Path: r.URL.Path, Role: q.Role, Most: houseapi.LogLines}
	d.Nav = "operate"
	at := url.URL{Path: housePrefix + "/logs", RawQuery: url.Values{"role": {q.Role}, "format": {"text"}}.Encode()}
	if q.Provider != "" {
		at.Path = housePrefix + providerPath(q.Provider) + "/logs"
	}
	d.Stream = at.String()
	var log lines
	err = w.askLogs(ctx, q, func(chunk []byte) error {
		for _, l := range log.take(chunk) {
			text := string(logging.Render(l.text))
			d.Lines, d.After = append(d.Lines, logRow{levelOf(l.text), text}), l.id
		}
		return nil
	})
	if err != nil {
		if !told(err) && !schema.Is(err, schema.Unavailable) {
			return err
		}
		d.Away = schema.Show(err)
	}
	return w.show(rw, r, http.StatusOK, "logs", "logs.title", d)
}

// levelOf returns how grave a line is that is of our logs' schema.
func levelOf(line []byte) string {
	var l struct {
		Level string `json:"level"`
	}
	if json.Unmarshal(line, &l) != nil {
		return ""
	}
	return map[string]string{"ERROR": "error", "WARN": "warn"}[l.Level]
}

// logsAPI follows a log as server-sent events, a line each, as it was written or with format=text for people. Whoever comes
// back with the ID of a line, after a lost connection, goes on behind it; an event named gap says that it is not known any
// more.
func (w *Web) logsAPI(rw http.ResponseWriter, r *http.Request) error {
	q, err := logsAsked(r)
	if err != nil {
		return err
	}
	q.Follow = r.URL.Query().Get("follow") != "false"
	s := &logStream{
		after: cmp.Or(r.Header.Get("Last-Event-Id"), r.URL.Query().Get("after")), most: q.Lines, text: r.URL.Query().Get("format") == "text",
	}
	if s.after != "" {
		q.Lines = houseapi.LogLines // it is among those, or is not known any more
	}
	s.Stream = httpserver.NewStream(rw, r)
	defer s.Close()
	ctx, cancel := context.WithCancelCause(s.Context())
	stop := w.keepAsking(r, cancel)
	defer stop()
	chunks, done := make(chan []byte), make(chan error, 1)
	go func() {
		defer close(chunks)
		done <- w.askLogs(ctx, q, func(chunk []byte) error {
			select {
			case chunks <- chunk:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	err = s.pass(chunks)
	cancel(nil)
	for range chunks { // until the question has ended
	}
	if failed := <-done; !s.begun && failed != nil {
		return failed
	}
	return err
}

// logStream is a log on its way to whoever follows it.
type logStream struct {
	*httpserver.Stream
	lines lines
	after string // ID of the line behind which it begins; empty: anywhere
	most  int    // lines of the past
	text  bool   // for people
	begun bool
}

// pass sends what comes, until no more does or whoever follows is gone, which is no error.
func (s *logStream) pass(chunks <-chan []byte) error {
	beat := time.NewTicker(logsBeat)
	defer beat.Stop()
	for {
		select {
		case chunk, ok := <-chunks:
			if !ok {
				return nil
			}
			if s.chunk(chunk) != nil {
				return nil
			}
		case <-beat.C:
			if s.begun && s.Comment("") != nil {
				return nil
			}
		}
	}
}

// chunk sends the lines that a chunk completes.
func (s *logStream) chunk(chunk []byte) error {
	all := s.lines.take(chunk)
	if !s.begun {
		s.begun = true
		if err := s.BeginEvents(); err != nil {
			return err
		}
		var known bool
		if all, known = since(all, s.after, s.most); !known {
			if err := s.Event("", "gap", nil); err != nil {
				return err
			}
		}
	}
	for _, l := range all {
		data := l.text
		if s.text {
			data = logging.Render(data)
		}
		if err := s.Event(l.id, "line", data); err != nil {
			return err
		}
	}
	return nil
}

// since returns the lines behind the one with an ID, and whether that is known; the last ones when it is not, or none is
// given.
func since(all []line, after string, most int) ([]line, bool) {
	for i, l := range slices.Backward(all) {
		if l.id == after {
			return all[i+1:], true
		}
	}
	return all[max(0, len(all)-most):], after == ""
}

// line is a line of a log, without its end. Its ID is made of it and of the line before it, so that it is the same whoever
// reads the log, and another for the same text elsewhere.
type line struct {
	id   string
	text []byte
}

// lines cuts chunks of a log into lines.
type lines struct{ rest, last []byte }

// take returns the lines that a chunk completes.
func (l *lines) take(chunk []byte) (all []line) {
	rest := append(l.rest, chunk...)
	defer func() { l.rest = slices.Clone(rest) }()
	for {
		text, behind, ok := bytes.Cut(rest, []byte("\n"))
		if !ok && len(rest) <= logLineMost {
			return all
		}
		if !ok { // it is not waited for the end of so long a line
			text, behind = rest, nil
		}
		text = bytes.ToValidUTF8(text[:min(len(text), logLineMost)], []byte("\uFFFD"))
		h := fnv.New64a()
		_, _ = h.Write(l.last) // never fails
		_, _ = h.Write([]byte{'\n'})
		_, _ = h.Write(text)
		all = append(all, line{hex.EncodeToString(h.Sum(nil)), text})
		l.last, rest = text, behind
	}
}
