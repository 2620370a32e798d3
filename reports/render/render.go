// Package render writes reports as files: JSON, HTML, CSV, XLSX and PDF, in the languages of internal/reportview. What is
// written row by row, CSV and XLSX, is written as the report is made, so it may be of any number of gateways.
//
// Its one invariant: every format has the numbers of the report, digit by digit where the format can hold them.
package render

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"slices"
	"strings"

	"berth/internal/api"
	"berth/internal/reportview"
	"berth/internal/sheet"
	"berth/reports/pdf"
	"berth/reports/report"
	"berth/schema"
)

// Format is a form in which a report can be had.
type Format struct {
	Name   string // as it is asked for
	Type   string // media type
	Ending string // of a file's name
	Inline bool   // browsers show it, and do not save it
	write  func(ctx context.Context, job *job) error
}

// formats are all of them, the default first.
var formats = []Format{
	{"json", "application/json; charset=utf-8", "json", true, writeJSON},
	{"html", "text/html; charset=utf-8", "html", true, writeHTML},
	{"csv", sheet.CSVType, "csv", false, writeCSV},
	{"xlsx", sheet.BookType, "xlsx", false, writeBook},
	{"pdf", "application/pdf", "pdf", true, writePDF},
}

// FormatOf returns a format by its name, the default for none.
func FormatOf(name string) (Format, error) {
	if name == "" {
		return formats[0], nil
	}
	names := make([]string, 0, len(formats))
	for _, f := range formats {
		if f.Name == name {
			return f, nil
		}
		names = append(names, f.Name)
	}
	return Format{}, schema.Errorf(schema.Invalid, "a report's format %q is unknown", name).WithNext("use one of %s", strings.Join(names, ", "))
}

// Renderer writes one provider's reports. Its methods may be called concurrently.
type Renderer struct {
	Maker *report.Maker
	Font  func() string // file of a font with Latin and Chinese, for PDF; "": there is none
}

// job is a report that is written.
type job struct {
	*Renderer

	request report.Request
	view    *reportview.View // of the report, as far as it is known
	out     *bufio.Writer
	report  *api.Report // when it is made
}

// Write makes a report and writes it in a format and a language. What it returns of the report has the totals, and how far
// it is complete, and may lack the gateways. Nothing has been written when it returns an error that is Invalid or NotFound.
func (r *Renderer) Write(ctx context.Context, w io.Writer, q report.Request, f Format, language string) (*api.Report, error) {
	view, err := reportview.New(nil, language)
	if err != nil {
		return nil, err
	}
	j := &job{Renderer: r, request: q, view: view, out: bufio.NewWriterSize(w, 64<<10)}
	if err := r.known(ctx, q.Gateways); err != nil {
		return nil, err
	}
	if err := f.write(ctx, j); err != nil {
		return nil, err
	}
	return j.report, j.out.Flush()
}

// known returns NotFound for the first gateway that nobody knows.
func (r *Renderer) known(ctx context.Context, gateways []string) error {
	for _, name := range gateways {
		if err := r.Maker.Known(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// make makes the report whole.
func (j *job) make(ctx context.Context, charts bool) error {
	j.request.Charts = charts
	made, err := j.Maker.Make(ctx, j.request)
	if err != nil {
		return err
	}
	j.report, j.view.Report = made, made
	made.Methods = j.view.Methods()
	return nil
}

// walk makes the report a gateway at a time.
func (j *job) walk(ctx context.Context, yield func(*api.ReportGateway) error) error {
	j.request.Charts = false
	made, err := j.Maker.Walk(ctx, j.request, func(r *api.Report) error { j.view.Report = r; return nil }, yield)
	if err != nil {
		return err
	}
	j.report, j.view.Report = made, made
	return nil
}

func writeJSON(ctx context.Context, j *job) error {
	if err := j.make(ctx, true); err != nil {
		return err
	}
	encoder := json.NewEncoder(j.out)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(j.report)
}

func writeHTML(ctx context.Context, j *job) error {
	if err := j.make(ctx, true); err != nil {
		return err
	}
	return j.view.WriteHTML(j.out)
}

func writePDF(ctx context.Context, j *job) error {
	if err := j.make(ctx, true); err != nil {
		return err
	}
	return pdf.Write(j.out, j.view, j.Font())
}

// FileName returns a name for the file of a report: of the provider, the gateway if it is of one, the period and the format,
// in letters that every file system takes.
func FileName(provider string, q report.Request, f Format) string {
	parts := []string{provider}
	if len(q.Gateways) == 1 {
		parts = append(parts, q.Gateways[0])
	}
	if len(q.Groups) == 1 {
		parts = append(parts, q.Groups[0])
	}
	zone := q.Period.From.Location()
	first, last := q.Period.From, q.Period.To.Add(-1).In(zone)
	parts = append(parts, first.Format("2006-01-02"))
	if day := last.Format("2006-01-02"); day != parts[len(parts)-1] {
		parts = append(parts, day)
	}
	for i, p := range parts {
		parts[i] = strings.Map(func(r rune) rune {
			if r < ' ' || r == 0x7f || slices.Contains([]rune(`/\:*?"<>|`), r) {
				return '-'
			}
			return r
		}, p)
	}
	return strings.Join(parts, "_") + "." + f.Ending
}
