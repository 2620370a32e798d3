package reportview

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"strings"
	"sync"

	"berth/internal/api"
)

//go:embed report.html
var page string

//go:embed report.css
var style string

// Style is the style sheet of a report that is a page of its own.
func (v *View) Style() template.CSS { return template.CSS(style) }

// StyleSource allows that style sheet in a content security policy, and no other.
func StyleSource() string {
	sum := sha256.Sum256([]byte(style))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

var pages = sync.OnceValues(func() (*template.Template, error) {
	return template.New("report").Option("missingkey=error").Parse(page)
})

// WriteHTML writes the report as a page of its own, which loads nothing.
func (v *View) WriteHTML(w io.Writer) error { return v.execute(w, "page") }

// Body returns the report as a part of a page.
func (v *View) Body() (template.HTML, error) {
	var b strings.Builder
	if err := v.execute(&b, "body"); err != nil {
		return "", err
	}
	return template.HTML(b.String()), nil
}

func (v *View) execute(w io.Writer, name string) error {
	t, err := pages()
	if err != nil {
		return fmt.Errorf("parse the report's page: %w", err)
	}
	if err := t.ExecuteTemplate(w, name, v); err != nil {
		return fmt.Errorf("write the report as a page: %w", err)
	}
	return nil
}

// Figure is a chart with its name.
type Figure struct {
	Name    string
	Drawing *Drawing
}

// SVG writes the chart as an image.
func (f Figure) SVG() template.HTML { return f.Drawing.SVG(f.Name) }

// Figures returns the charts of a gateway.
func (v *View) Figures(g *api.ReportGateway) []Figure {
	var all []Figure
	for i := range g.Sensors {
		s := &g.Sensors[i]
		if d := v.Chart(s, g.Annotations); d != nil {
			all = append(all, Figure{v.Caption(s), d})
		}
	}
	return all
}

// Caption names the chart of a sensor.
func (v *View) Caption(s *api.ReportSensor) string {
	name := v.Label(s)
	if s.Unit != "" {
		name += " (" + s.Unit + ")"
	}
	if s.Counter {
		return v.T("chart.increase", "sensor", name)
	}
	return v.T("chart.mean", "sensor", name)
}
