// Package logging sets up the one form in which every program logs: a JSON object a line, by log/slog, on standard
// error. What is logged is left to the programs; [Keys] says under which keys, and a test holds all of them to it.
//
// Every line has time (RFC 3339, UTC), level (DEBUG, INFO, WARN, ERROR), msg (the same words for the same event, always)
// and service (the program that writes); those of a pipeline have provider and instance too. Times that something took are
// numbers of seconds, and no value is an object. What the Go runtime says when a program crashes is the only thing that is no JSON.
//
// INFO is a change of state that went as it should, WARN one that heals by itself or that somebody should know of, ERROR
// one that needs somebody. Nothing is logged for each frame or connection: those are counted (internal/metrics), and
// rejects are kept to be looked at. Its one invariant: what comes from outside stands in a value, escaped, never in msg.
package logging

import (
	"fmt"
	"io"
	"log/slog"
	"os"

	"berth/schema"
)

// The forms of a log.
const (
	JSON = "json"
	Text = "text"
	Auto = "auto" // text on a terminal, else JSON
)

// Options say whose log it is.
type Options struct {
	Service  string // the program's name
	Provider string // of a pipeline's instance; empty: none
	Instance string // its name in the registry; empty: none
	Form     string // JSON when empty
	Debug    bool   // DEBUG too
}

// CheckForm returns an Invalid error for what is no form.
func CheckForm(form string) error {
	switch form {
	case JSON, Text, Auto, "":
		return nil
	}
	return schema.Errorf(schema.Invalid, "%q is no form of a log", form).WithNext("give --log-format json, text or auto")
}

// New returns a logger that writes to w.
func New(w io.Writer, o Options) *slog.Logger {
	h := &slog.HandlerOptions{Level: slog.LevelInfo, ReplaceAttr: replace}
	if o.Debug {
		h.Level = slog.LevelDebug
	}
	var log *slog.Logger
	if o.Form == Text || o.Form == Auto && terminal(w) {
		return slog.New(slog.NewTextHandler(w, h)) // for a person, who knows which program he started
	}
	log = slog.New(slog.NewJSONHandler(w, h)).With(KeyService, o.Service)
	if o.Provider != "" {
		log = log.With(KeyProvider, o.Provider)
	}
	if o.Instance != "" {
		log = log.With(KeyInstance, o.Instance)
	}
	return log
}

// replace gives values the form that the package promises.
func replace(_ []string, a slog.Attr) slog.Attr {
	switch a.Value.Kind() {
	case slog.KindTime:
		return slog.Time(a.Key, a.Value.Time().UTC())
	case slog.KindDuration:
		return slog.Float64(a.Key, a.Value.Duration().Seconds())
	case slog.KindAny:
		if _, isError := a.Value.Any().(error); isError {
			return a
		}
		if s, ok := a.Value.Any().(fmt.Stringer); ok { // an address, say
			return slog.String(a.Key, s.String())
		}
		return a
	default:
		return a
	}
}

// terminal reports whether w is one.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
