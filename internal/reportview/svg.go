package reportview

import (
	"strconv"
	"strings"
)

// looks are how a shape is drawn where no style sheet says otherwise.
var looks = map[Role]string{
	Grid:  `fill="none" stroke="#c9d3d8" stroke-width="1"`,
	Band:  `fill="#0b6680" fill-opacity="0.2" stroke="none"`,
	Line:  `fill="none" stroke="#0b6680" stroke-width="1.5" stroke-linejoin="round"`,
	Bar:   `fill="#0b6680" fill-opacity="0.7" stroke="none"`,
	Note:  `fill="#b45309" fill-opacity="0.18" stroke="none"`,
	Label: `fill="#52656f" font-size="11" font-family="sans-serif"`,
}

// anchors are SVG's names of where a text lies.
func anchor(a float64) string {
	switch {
	case a < 0.25:
		return "start"
	case a < 0.75:
		return "middle"
	default:
		return "end"
	}
}

// svg writes a drawing as an image with a name that is read out.
func (d *Drawing) svg(name string) markup {
	var b strings.Builder
	b.WriteString(`<svg class="report-chart" role="img" viewBox="0 0 ` + short(d.Width) + " " + short(d.Height) + `" xmlns="http://www.w3.org/2000/svg" width="` +
		short(d.Width) + `" height="` + short(d.Height) + `" aria-label="` + string(text(name)) + `">`)
	for _, s := range d.Shapes {
		if s.Role == Label {
			b.WriteString(`<text class="label" x="` + short(s.Points[0].X) + `" y="` + short(s.Points[0].Y) + `" text-anchor="` + anchor(s.Anchor) + `" ` + looks[Label] + `>` +
				string(text(s.Text)) + `</text>`)
			continue
		}
		b.WriteString(`<path class="` + string(s.Role) + `" ` + looks[s.Role] + ` d="`)
		for i, p := range s.Points {
			b.WriteByte("ML"[min(i, 1)])
			b.WriteString(short(p.X) + " " + short(p.Y))
		}
		if s.Role == Band || s.Role == Bar || s.Role == Note {
			b.WriteByte('Z')
		}
		b.WriteString(`"/>`)
	}
	b.WriteString("</svg>")
	return markup(b.String())
}

// short writes a coordinate.
func short(f float64) string {
	s := strconv.FormatFloat(f, 'f', 1, 64)
	return strings.TrimSuffix(s, ".0")
}
