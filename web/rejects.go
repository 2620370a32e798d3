package web

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"berth/internal/api"
	"berth/schema"
)

// rejectsData is a provider's list of what was refused.
type rejectsData struct {
	frame
	Rejects []rejectRow
	Kept    uint64
	Aside   []asideRow
	Held    uint64 // bytes that are set aside
	Quota   uint64
	Fed     *fedNotice // what became of what was asked for, if something was
}

// fedNotice says what became of an entry that was fed again or removed.
type fedNotice struct {
	ID                 uint64
	Removed            bool // it was removed, not fed
	Accepted, Rejected uint64
	Reason             string // why something was, or all is, refused still
}

// asideRow is something that was acknowledged and can never be stored.
type asideRow struct {
	ID       uint64
	Raw      string // address of its bytes
	Time     time.Time
	Gateway  string
	Path     string
	What     string
	Form     string
	Reason   string
	Readings uint64
	Size     int
}

type rejectRow struct {
	ID       uint64
	Bytes    string // address of its bytes
	Time     time.Time
	Gateway  string
	Path     string
	Protocol string
	Format   string
	Address  string
	Code     string
	Reason   string
	Lines    []api.RejectLine
	Readings uint64
	Size     int
	Raw      string // as text, what does not print escaped
	Cut      bool   // Raw is not all that is kept
	Kept     int    // bytes
	Part     bool   // other lines of the frame were stored
	Short    bool   // not all that was refused is kept
}

func (w *Web) rejectsPage(rw http.ResponseWriter, r *http.Request) error {
	return w.showRejects(rw, r, nil)
}

// rejectsPost feeds an entry again, or removes it, and shows the page with what became of it.
func (w *Web) rejectsPost(rw http.ResponseWriter, r *http.Request) error {
	p := requestOf(r).provider
	shelf, act := r.PostFormValue("shelf"), r.PostFormValue("act")
	id, err := strconv.ParseUint(r.PostFormValue("id"), 10, 63)
	if err != nil || shelf != "rejects" && shelf != "aside" || act != "feed" && act != "remove" {
		return schema.Errorf(schema.Invalid, "the form cannot be read").WithNext("load the page again")
	}
	notice := &fedNotice{ID: id, Removed: act == "remove"}
	var fed api.Fed
	if notice.Removed {
		err = w.up.act(r.Context(), http.MethodDelete, p, &fed, shelf, r.PostFormValue("id"))
	} else {
		err = w.up.act(r.Context(), http.MethodPost, p, &fed, shelf, r.PostFormValue("id"), "feed")
	}
	notice.Accepted, notice.Rejected, notice.Reason = fed.Accepted, fed.Rejected, fed.Reason
	if err != nil {
		if _, known := errors.AsType[*schema.Error](err); !known {
			return err
		}
		notice.Removed, notice.Reason = false, schema.Show(err)
	}
	return w.showRejects(rw, r, notice)
}

func (w *Web) showRejects(rw http.ResponseWriter, r *http.Request, notice *fedNotice) error {
	p := requestOf(r).provider
	var answer api.Rejects
	var aside api.Asides
	if err := w.up.get(r.Context(), p, &answer, url.Values{"limit": {"100"}}, "rejects"); err != nil {
		return err
	}
	if err := w.up.get(r.Context(), p, &aside, url.Values{"limit": {"100"}}, "aside"); err != nil {
		return err
	}
	d := rejectsData{Kept: answer.Kept, Held: aside.Bytes, Quota: aside.Quota, Fed: notice}
	for i := range aside.Aside {
		a := &aside.Aside[i]
		d.Aside = append(d.Aside, asideRow{
			ID: a.ID, Raw: rawPath(p.Name, "aside", a.ID), Time: a.Time, Gateway: a.Gateway, Path: gatewayPath(p.Name, a.Gateway),
			What: a.What, Form: a.Form, Reason: a.Reason, Readings: a.Readings, Size: a.Kept,
		})
	}
	d.Nav = "rejects"
	for i := range answer.Rejects {
		d.Rejects = append(d.Rejects, rejectRowOf(p.Name, &answer.Rejects[i]))
	}
	return w.show(rw, r, http.StatusOK, "rejects", "rejects.title", &d)
}

// rawPath returns the address of the bytes of something that is kept.
func rawPath(provider, shelf string, id uint64) string {
	return apiURL(provider, nil, shelf, strconv.FormatUint(id, 10), "raw").RequestURI()
}

func rejectRowOf(provider string, j *api.Reject) rejectRow {
	lines := j.Lines
	if len(lines) == 1 {
		lines = nil // the reason has it
	}
	return rejectRow{
		ID: j.ID, Bytes: rawPath(provider, "rejects", j.ID), Kept: j.Kept, Part: j.Part, Short: !j.Whole(),
		Time: j.Time, Gateway: j.Gateway, Path: gatewayPath(provider, j.Gateway), Protocol: j.Protocol, Format: j.Format,
		Address: j.Address, Code: string(j.Code), Reason: j.Reason, Lines: lines, Readings: j.Readings, Size: j.Size,
		Raw: printable(j.Raw), Cut: len(j.Raw) < j.Kept,
	}
}

// printable returns bytes as text that can be read: what does not print becomes the replacement character.
func printable(raw []byte) string {
	var b strings.Builder
	for len(raw) > 0 {
		c, n := utf8.DecodeRune(raw)
		if c != '\n' && c != '\t' && !unicode.IsPrint(c) {
			c = utf8.RuneError
		}
		b.WriteRune(c)
		raw = raw[n:]
	}
	return b.String()
}

// booksData is a provider's running totals.
type booksData struct {
	frame
	Books   api.Books
	Reasons []reasonCount
	Slowed  []reasonCount
	Limits  []limitRow
}

type reasonCount struct {
	Reason string
	Count  uint64
}

func (w *Web) booksPage(rw http.ResponseWriter, r *http.Request) error {
	d := booksData{}
	w.fill(&d.frame, r, "books.title")
	d.Nav = "books"
	if err := w.up.get(r.Context(), requestOf(r).provider, &d.Books, nil, "books"); err != nil {
		return err
	}
	d.Reasons, d.Slowed = reasonsOf(d.Books.Reasons)
	d.Limits = d.limitsOf(d.Books.Limits)
	return w.show(rw, r, http.StatusOK, "books", "books.title", &d)
}
