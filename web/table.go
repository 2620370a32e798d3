package web

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"

	"berth/internal/sheet"
	"berth/schema"
)

// readTable reads CSV with a row of titles, of which only the first must be there, and yields the cells of each row in the
// order of titles. The error for a row names it.
func readTable(in io.Reader, titles []string, yield func(cells []string) error) error {
	data, err := io.ReadAll(in)
	if err != nil {
		return tooLong(err)
	}
	rows, err := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(data, []byte("\ufeff")))).ReadAll()
	if err != nil || len(rows) == 0 {
		return schema.Errorf(schema.Invalid, "the file is no CSV with a row of titles").WithCause(err)
	}
	at := make([]int, len(titles))
	for i, title := range titles {
		at[i] = slices.Index(rows[0], title)
	}
	if at[0] < 0 {
		return schema.Errorf(schema.Invalid, "the file has no column %s", titles[0]).WithNext("its titles are %s", strings.Join(titles, ", "))
	}
	for i, row := range rows[1:] {
		cells := make([]string, len(titles))
		for j, c := range at {
			if c >= 0 && c < len(row) {
				cells[j] = sheet.Unquote(row[c])
			}
		}
		if err := yield(cells); err != nil {
			return schema.Errorf(schema.Invalid, "row %d: %s", i+2, schema.Show(err))
		}
	}
	return nil
}

// bodyOf reads what a request's body says, as CSV by parse, or as JSON; an empty one says nothing.
func bodyOf[T any](r *http.Request, about string, parse func(io.Reader) (T, error)) (all T, err error) {
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch kind {
	case "text/csv":
		return parse(r.Body)
	case "application/json", "":
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return all, tooLong(err)
		}
		if len(body) > 0 && json.Unmarshal(body, &all) != nil {
			return all, schema.Errorf(schema.Invalid, "what is said about %s cannot be read as JSON", about)
		}
		return all, nil
	default:
		return all, schema.Errorf(schema.Invalid, "the content type %q is neither text/csv nor application/json", kind).WithNext("send it with -H 'Content-Type: text/csv'")
	}
}

// linesOf returns the names that a form has, one a line.
func linesOf(text string) (names []string) {
	for line := range strings.Lines(text) {
		if name := strings.TrimSpace(line); name != "" {
			names = append(names, name)
		}
	}
	return names
}

func tooLong(err error) error {
	return schema.Errorf(schema.TooLarge, "what is said is too long for one request").WithNext("split it: what is said about others stays").WithCause(err)
}
