package schema

import (
	"errors"
	"fmt"
)

// Code is a kind of error. One place maps codes to HTTP status (internal/api) and each listener maps them to its
// protocol's own refusal.
type Code string

// The kinds of error. They are sent to clients and kept with rejects; they never change their meaning.
const (
	Invalid      Code = "invalid"      // the request or payload is malformed; sending it again will not help
	Unauthorized Code = "unauthorized" // the key, token or session is missing, wrong, expired or revoked
	Pending      Code = "pending"      // good, but it waits for somebody's approval; later it may pass
	Forbidden    Code = "forbidden"    // known, but not allowed to do this
	NotFound     Code = "not_found"
	Conflict     Code = "conflict"  // something else changed or holds it
	TooLarge     Code = "too_large" // beyond a size limit
	Limited      Code = "limited"   // beyond a limit in number or rate; later it may pass
	Unavailable  Code = "unavailable"
	Internal     Code = "internal"
)

// Error is an error of a known kind: what happened and why, and what to do next. Its text is safe to show to whoever
// asked; a cause that is not goes into Cause, which is logged and never shown.
type Error struct {
	Code  Code
	Text  string
	Next  string // what to do now: a command or an action, may be empty
	Cause error
}

// Errorf returns an Error of the given kind.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Text: fmt.Sprintf(format, args...)}
}

// WithNext returns the error with what to do next.
func (e *Error) WithNext(format string, args ...any) *Error {
	c := *e
	c.Next = fmt.Sprintf(format, args...)
	return &c
}

// WithCause returns the error with a cause that is for the log alone.
func (e *Error) WithCause(err error) *Error {
	c := *e
	c.Cause = err
	return &c
}

// Error returns what happened, why and what to do next, and the cause, for the log.
func (e *Error) Error() string {
	s := e.Shown()
	if e.Cause != nil {
		s += ": " + e.Cause.Error()
	}
	return s
}

// Shown returns what happened, why and what to do next, without the cause.
func (e *Error) Shown() string {
	if e.Next == "" {
		return e.Text
	}
	return e.Text + "; " + e.Next
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// CodeOf returns the kind of err: that of the first Error in its chain, Internal when there is none, "" for nil.
func CodeOf(err error) Code {
	var e *Error
	switch {
	case err == nil:
		return ""
	case errors.As(err, &e):
		return e.Code
	default:
		return Internal
	}
}

// Is reports whether err is of the given kind.
func Is(err error, code Code) bool { return err != nil && CodeOf(err) == code }

// Show returns the part of err that may be shown to whoever asked.
func Show(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Shown()
	}
	return "something went wrong on our side; the log has the cause"
}
