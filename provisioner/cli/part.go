package cli

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"berth/internal/api"
	"berth/internal/durable"
	"berth/internal/export"
	"berth/internal/sheet"
	"berth/schema"
)

// exportRequest is what an export was asked for; it lies beside a part, for who goes on with it.
type exportRequest struct {
	Version  int       `json:"version"`
	Provider string    `json:"provider"`
	Format   string    `json:"format"`
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
	Gateways []string  `json:"gateways,omitempty"`
	Groups   []string  `json:"groups,omitempty"`
	Tags     []string  `json:"tags,omitempty"`
	Sensors  []string  `json:"sensors,omitempty"`
}

func (r *exportRequest) query() url.Values {
	return url.Values{
		"from": {r.From.Format(time.RFC3339Nano)}, "to": {r.To.Format(time.RFC3339Nano)}, "gateway": r.Gateways, "sensor": r.Sensors,
		"group": r.Groups, "tag": r.Tags,
	}
}

// part is a file that is not whole yet: <file>.part, and beside it <file>.part.json with what it is to hold. It holds rows
// of its format, or JSON lines where a file of the format cannot be gone on with: those become the file at the end.
type part struct {
	exportRequest
	path string
	file *os.File
	last *api.Cursor // the last reading that it has; nil: none
}

func partPath(path string) string  { return path + ".part" }
func aboutPath(path string) string { return path + ".part.json" }

// wire returns the format that is asked for.
func (p *part) wire() export.Format {
	format, err := export.Find(p.Format)
	if err != nil || !format.Goes {
		format, _ = export.Find("jsonl") // it is in the table
	}
	return format
}

// newPart begins a part.
func newPart(path string, r exportRequest) (*part, error) {
	if _, err := os.Stat(path); err == nil {
		return nil, schema.Errorf(schema.Conflict, "%s exists", path).WithNext("remove it, or give another file with --out")
	}
	about, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return nil, err
	}
	file, err := os.OpenFile(partPath(path), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, schema.Errorf(schema.Conflict, "%s is there from an export that was interrupted, or is under way", partPath(path)).
			WithNext("go on with it by --resume, or remove it")
	}
	if err != nil {
		return nil, schema.Errorf(schema.Invalid, "%s cannot be written", partPath(path)).WithCause(err)
	}
	if err := durable.WriteFile(aboutPath(path), about); err != nil {
		return nil, errors.Join(err, file.Close(), os.Remove(partPath(path)))
	}
	return &part{exportRequest: r, path: path, file: file}, nil
}

// resumePart opens a part to go on with: behind its last whole row.
func resumePart(path string) (*part, error) {
	p := &part{path: path}
	about, err := os.ReadFile(aboutPath(path))
	if err == nil {
		err = json.Unmarshal(about, &p.exportRequest)
	}
	if err == nil && p.Version != 1 {
		err = fmt.Errorf("version %d is not known", p.Version)
	}
	if err == nil {
		p.file, err = os.OpenFile(partPath(path), os.O_RDWR, 0)
	}
	if err != nil {
		return nil, schema.Errorf(schema.NotFound, "there is no interrupted export at %s", path).
			WithNext("begin it: without --resume").WithCause(err)
	}
	whole, err := p.findLast()
	if p.last == nil {
		whole = 0 // titles alone come again
	}
	if err == nil {
		err = p.file.Truncate(whole)
	}
	if err == nil {
		_, err = p.file.Seek(whole, io.SeekStart)
	}
	if err != nil {
		p.close()
		return nil, fmt.Errorf("go on with %s: %w", partPath(path), err)
	}
	return p, nil
}

func (p *part) close() { _ = p.file.Close() }

// dropEmpty removes a part that holds nothing to go on with, and reports whether it did.
func (p *part) dropEmpty() bool {
	at, err := p.file.Stat()
	if err != nil || at.Size() > 0 {
		return false
	}
	return errors.Join(os.Remove(partPath(p.path)), os.Remove(aboutPath(p.path))) == nil
}

// findLast finds the last whole row, and returns where it ends.
func (p *part) findLast() (whole int64, err error) {
	if p.wire().Name == "csv" {
		return p.findLastCSV()
	}
	in := bufio.NewReaderSize(p.file, 256<<10)
	var last []byte
	for {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return 0, err
		}
		whole += int64(len(line))
		last = line
	}
	if last == nil {
		return 0, nil
	}
	gateway, sensor, t, _, err := export.ParseLine(last)
	p.last = &api.Cursor{Gateway: gateway, Time: t, Sensor: sensor}
	return whole, err
}

// findLastCSV finds it where texts may go over lines. A row that breaks off has no line's end.
func (p *part) findLastCSV() (whole int64, err error) {
	rows := csv.NewReader(bufio.NewReaderSize(p.file, 256<<10))
	rows.ReuseRecord, rows.FieldsPerRecord, rows.LazyQuotes = true, -1, false
	var end [1]byte
	for n := 0; ; n++ {
		row, err := rows.Read()
		if err != nil { // it is the end, or breaks off within quotes
			return whole, nil //nolint:nilerr // what comes after the last whole row is written anew
		}
		at := rows.InputOffset()
		if _, err := p.file.ReadAt(end[:], at-1); err != nil || end[0] != '\n' || len(row) != 7 {
			return whole, err
		}
		whole = at
		if n == 0 {
			continue // titles
		}
		t, err := strconv.ParseInt(row[4], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("row %d: %w", n, err)
		}
		p.last = &api.Cursor{Gateway: sheet.Unquote(row[0]), Time: t, Sensor: sheet.Unquote(row[1])}
	}
}

// finish makes the file of the part, of which was said what end holds.
func (p *part) finish(end exportEnd) error {
	if p.wire().Name != p.Format {
		if err := p.convert(end); err != nil {
			return fmt.Errorf("write %s: %w", p.path, err)
		}
		return errors.Join(os.Remove(partPath(p.path)), os.Remove(aboutPath(p.path)))
	}
	if err := p.file.Sync(); err != nil {
		return err
	}
	if err := os.Rename(partPath(p.path), p.path); err != nil {
		return err
	}
	return os.Remove(aboutPath(p.path))
}

// convert writes the file from JSON lines.
func (p *part) convert(end exportEnd) (err error) {
	format, err := export.Find(p.Format)
	if err != nil {
		return err
	}
	if _, err := p.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	made, err := os.CreateTemp(filepath.Dir(p.path), ".berth-export-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(made.Name())
		}
	}()
	defer made.Close() //nolint:errcheck // it is synced below
	out := bufio.NewWriterSize(made, 256<<10)
	w, err := format.New(out, export.Options{Zone: end.zone, Info: map[string]string{
		"provider": p.Provider, "from": p.From.In(end.zone).Format(time.RFC3339Nano), "to": p.To.In(end.zone).Format(time.RFC3339Nano),
	}})
	if err != nil {
		return err
	}
	if err := p.copyLines(w); err != nil {
		return err
	}
	if err := errors.Join(w.Close(end.info()), out.Flush(), made.Sync()); err != nil {
		return err
	}
	return os.Rename(made.Name(), p.path)
}

// copyLines writes the readings of the part, which holds JSON lines.
func (p *part) copyLines(w export.Writer) error {
	in := bufio.NewReaderSize(p.file, 256<<10)
	for {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) && len(line) == 0 {
			return nil
		}
		if err != nil {
			return err
		}
		gateway, sensor, t, v, err := export.ParseLine(bytes.TrimSpace(line))
		if err != nil {
			return err
		}
		if err := w.Reading(gateway, sensor, t, v); err != nil {
			return err
		}
	}
}
