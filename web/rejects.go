package web

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"berth/internal/api"
)

// rejectsData is a provider's list of what was refused.
type rejectsData struct {
	frame
	Rejects []rejectRow
	Kept    uint64
}

type rejectRow struct {
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
	Cut      bool   // Raw is not the whole payload
}

func (w *Web) rejectsPage(rw http.ResponseWriter, r *http.Request) error {
	p := requestOf(r).provider
	var answer api.Rejects
	if err := w.up.get(r.Context(), p, &answer, url.Values{"limit": {"100"}}, "rejects"); err != nil {
		return err
	}
	d := rejectsData{Kept: answer.Kept}
	d.Nav = "rejects"
	for i := range answer.Rejects {
		d.Rejects = append(d.Rejects, rejectRowOf(p.Name, &answer.Rejects[i]))
	}
	return w.show(rw, r, http.StatusOK, "rejects", "rejects.title", &d)
}

func rejectRowOf(provider string, j *api.Reject) rejectRow {
	lines := j.Lines
	if len(lines) == 1 {
		lines = nil // the reason has it
	}
	return rejectRow{
		Time: j.Time, Gateway: j.Gateway, Path: gatewayPath(provider, j.Gateway), Protocol: j.Protocol, Format: j.Format,
		Address: j.Address, Code: string(j.Code), Reason: j.Reason, Lines: lines, Readings: j.Readings, Size: j.Size,
		Raw: printable(j.Raw), Cut: len(j.Raw) < j.Size,
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
}

type reasonCount struct {
	Reason string
	Count  uint64
}

func (w *Web) booksPage(rw http.ResponseWriter, r *http.Request) error {
	d := booksData{}
	d.Nav = "books"
	if err := w.up.get(r.Context(), requestOf(r).provider, &d.Books, nil, "books"); err != nil {
		return err
	}
	d.Reasons = reasonsOf(d.Books.Reasons)
	return w.show(rw, r, http.StatusOK, "books", "books.title", &d)
}

// reasonsOf returns the counts, the largest first.
func reasonsOf(counts map[string]uint64) []reasonCount {
	var out []reasonCount
	for reason, n := range counts {
		out = append(out, reasonCount{reason, n})
	}
	slices.SortFunc(out, func(a, b reasonCount) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Reason, b.Reason))
	})
	return out
}
