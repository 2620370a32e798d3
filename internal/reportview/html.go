package reportview

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"io"

	"berth/internal/api"
)

//go:embed report.css
var style string

// StyleSource allows that style sheet in a content security policy, and no other.
func StyleSource() string {
	sum := sha256.Sum256([]byte(style))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// WriteHTML writes the report as a page of its own, which loads nothing.
func (v *View) WriteHTML(w io.Writer) error {
	p := page{View: v}
	p.whole()
	if _, err := io.WriteString(w, p.String()); err != nil {
		return fmt.Errorf("write the report as a page: %w", err)
	}
	return nil
}

// Body returns the report as a part of a page, as HTML that holds no more than the report's texts, escaped.
func (v *View) Body() string {
	p := page{View: v}
	p.body()
	return p.String()
}

// Figure is a chart with its name.
type Figure struct {
	Name    string
	Drawing *Drawing
}

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
