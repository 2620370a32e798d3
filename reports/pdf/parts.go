package pdf

import (
	"strconv"
	"strings"

	"codeberg.org/go-pdf/fpdf"

	"berth/internal/api"
	"berth/internal/reportview"
)

// head writes what the report is about, and its totals.
func (d *document) head() {
	v, r := d.v, d.v.Report
	d.line(v.T("of", "provider", r.Provider), titleSize, black)
	d.Ln(1.5)
	period := v.Span(r.From, r.To)
	if name := v.Name(); name != "" {
		period = name + " · " + period
	}
	d.fact("period", period)
	if of := v.Of(); of != "" {
		d.fact("gateways", of)
	}
	d.fact("zone", r.Zone)
	if r.Before != nil {
		d.fact("before", v.Span(r.Before.From, r.Before.To))
	}
	d.fact("made", v.Time(r.Made))
	d.heading(v.T("summary"), 12)
	t := &r.Totals
	d.figures([][2]string{
		{v.T("completeness"), v.Share(t.Completeness)},
		{v.T("availability"), v.Share(t.Availability)},
		{v.T("readings"), v.Whole(t.Readings)},
		{v.T("expected"), v.Count(t.Expected)},
		{v.T("late"), v.Whole(t.Late)},
		{v.T("rejected"), v.Whole(t.Rejected)},
		{v.T("gateways"), v.Whole(uint64(t.Gateways))},
		{v.T("sensors"), v.Whole(uint64(t.Sensors))},
	}, titleSize*0.75)
	if len(r.Gateways) > 1 {
		d.overview()
	}
	if len(r.Gateways) == 0 {
		d.line(v.T("none"), textSize, black)
	}
}

// fact writes a line of a name and what it is.
func (d *document) fact(key, text string) {
	d.room(textHeight)
	d.SetX(margin)
	d.use(textSize, muted)
	d.CellFormat(34, textHeight, d.fit(d.v.T(key), 34), "", 0, "L", false, 0, "")
	d.use(textSize, black)
	d.CellFormat(width-34, textHeight, d.fit(text, width-34), "", 1, "L", false, 0, "")
}

// figures writes numbers side by side, each below its name.
func (d *document) figures(all [][2]string, size float64) {
	d.room(2 * textHeight)
	each, top := width/float64(len(all)), d.GetY()
	for i, f := range all {
		d.SetXY(margin+float64(i)*each, top)
		d.use(smallSize, muted)
		d.CellFormat(each, textHeight, d.fit(f[0], each), "", 2, "L", false, 0, "")
		d.use(size, black)
		d.CellFormat(each, size*0.5, d.fit(f[1], each), "", 0, "L", false, 0, "")
	}
	d.SetXY(margin, top+textHeight+size*0.5+1.5)
}

// overview is the table of all gateways.
func (d *document) overview() {
	v := d.v
	columns := []column{
		{v.T("gateway"), 91, false},
		{v.T("readings"), 26, true},
		{v.T("expected"), 26, true},
		{v.T("completeness"), 26, true},
		{v.T("availability"), 26, true},
		{v.T("gap.longest"), 26, true},
		{v.T("late"), 26, true},
		{v.T("rejected"), 26, true},
	}
	rows := make([]tableRow, 0, len(v.Report.Gateways))
	for i := range v.Report.Gateways {
		g := &v.Report.Gateways[i]
		rows = append(rows, tableRow{
			g.Name, v.Whole(g.Readings), v.Count(g.Expected), v.Share(g.Completeness), v.Share(g.Availability),
			v.Longest(*g), v.Whole(g.Late), v.Whole(g.Rejected),
		})
	}
	d.Ln(1)
	d.rows(columns, rows)
}

// limits writes what the report could not know; why says why there is no font for Chinese.
func (d *document) limits(why string) {
	all := d.v.Limits()
	if why != "" {
		all = append(all, why)
	}
	if len(all) == 0 {
		all = append(all, d.v.T("limits.all"))
	}
	d.heading(d.v.T("limits"), 2*textHeight)
	for _, text := range all {
		d.paragraph("• "+text, black)
	}
}

// gateway writes what one gateway did.
func (d *document) gateway(g *api.ReportGateway) {
	v := d.v
	d.heading(v.T("gateway")+" "+g.Name, 40)
	d.figures([][2]string{
		{v.T("completeness"), v.Share(g.Completeness)},
		{v.T("availability"), v.Share(g.Availability)},
		{v.T("received"), v.Whole(g.Readings)},
		{v.T("expected"), v.Count(g.Expected)},
		{v.T("late"), v.Whole(g.Late)},
		{v.T("rejected"), v.Whole(g.Rejected)},
		{v.T("before.readings"), v.Count(g.Before)},
		{v.T("gap.limit"), v.Duration(g.GapLimit)},
	}, textSize+1)
	if g.Silent {
		d.paragraph(v.T("limits.gateway"), black)
	}
	d.paragraph(v.T("first_seen")+" "+v.When(g.FirstSeen)+" · "+v.T("last_seen")+" "+v.When(g.LastSeen), black)
	switch {
	case g.Gaps > 0:
		d.paragraph(v.T("gaps.all", "n", v.Whole(g.Gaps), "time", v.Duration(g.GapTime)), black)
		for _, gap := range g.LongestGaps {
			d.paragraph("• "+v.T("gap", "from", v.Time(gap.From), "to", v.Time(gap.To), "time", v.Duration(gap.Seconds)), black)
		}
	case g.GapLimit > 0:
		d.paragraph(v.T("gaps.none"), black)
	}
	for i := range g.Annotations {
		a := &g.Annotations[i]
		if i == 0 {
			d.Ln(1)
			d.paragraph(v.T("annotations"), muted)
		}
		d.paragraph(strconv.Itoa(i+1)+". "+v.Noted(*a)+": "+strings.Join(strings.Fields(a.Text), " ")+" ("+a.Who+")", black)
	}
	if len(g.Sensors) == 0 {
		d.paragraph(v.T("no_sensors"), black)
		return
	}
	d.Ln(1)
	d.sensors(g)
	d.charts(v.Figures(g))
}

// sensors is the table of a gateway's sensors.
func (d *document) sensors(g *api.ReportGateway) {
	v := d.v
	columns := []column{
		{v.T("sensor"), 52, false},
		{v.T("unit"), 13, false},
		{v.T("received"), 17, true},
		{v.T("expected"), 17, true},
		{v.T("min"), 20, true},
		{v.T("mean"), 22, true},
		{v.T("p95"), 20, true},
		{v.T("max"), 20, true},
		{v.T("first"), 23, true},
		{v.T("last"), 23, true},
		{v.T("sum_increase"), 27, true},
		{v.T("change"), 19, true},
	}
	rows := make([]tableRow, 0, len(g.Sensors))
	for i := range g.Sensors {
		s := &g.Sensors[i]
		name := s.Sensor
		if s.Label != "" {
			name = s.Label + " · " + s.Sensor
		}
		rows = append(rows, tableRow{
			name, s.Unit, v.Whole(s.Readings), v.Count(s.Expected), v.Number(s.Min, s.Decimals), v.Mean(s.Mean, s.Decimals),
			v.Number(s.P95, s.Decimals), v.Number(s.Max, s.Decimals), v.Value(s.First, s.Decimals), v.Value(s.Last, s.Decimals),
			v.SumOrIncrease(*s), v.Change(s.Change),
		})
	}
	d.rows(columns, rows)
}

// methods writes how the numbers are computed.
func (d *document) methods() {
	d.heading(d.v.T("methods"), 12)
	for _, m := range d.v.Methods() {
		d.room(2 * textHeight)
		d.line(m.Name, textSize, accent)
		d.paragraph(m.Text, black)
		d.Ln(1)
	}
}

// charts writes charts, two side by side.
func (d *document) charts(figures []reportview.Figure) {
	const gap = 6.0
	each := (width - gap) / 2
	for i := 0; i < len(figures); i += 2 {
		height := 0.0
		for _, f := range figures[i:min(i+2, len(figures))] {
			height = max(height, f.Drawing.Height/f.Drawing.Width*each+textHeight+2)
		}
		d.room(height)
		top := d.GetY()
		for j, f := range figures[i:min(i+2, len(figures))] {
			x := margin + float64(j)*(each+gap)
			d.SetXY(x, top)
			d.use(smallSize, black)
			d.CellFormat(each, textHeight, d.fit(f.Name, each), "", 0, "L", false, 0, "")
			d.draw(f.Drawing, x, top+textHeight, each/f.Drawing.Width)
		}
		d.SetXY(margin, top+height)
	}
}

// draw draws a chart at a place, so many millimetres a unit.
func (d *document) draw(drawing *reportview.Drawing, x, y, scale float64) {
	for _, s := range drawing.Shapes {
		points := make([]fpdf.PointType, 0, len(s.Points))
		for _, p := range s.Points {
			points = append(points, fpdf.PointType{X: x + p.X*scale, Y: y + p.Y*scale})
		}
		switch s.Role {
		case reportview.Label:
			d.use(6.5, muted)
			text := d.text(s.Text)
			d.Text(points[0].X-s.Anchor*d.GetStringWidth(text), points[0].Y, text)
		case reportview.Band, reportview.Bar, reportview.Note:
			opaque, c := 0.2, accent
			switch s.Role {
			case reportview.Bar:
				opaque = 0.7
			case reportview.Note:
				c = amber
			default:
			}
			d.SetAlpha(opaque, "Normal")
			d.SetFillColor(c[0], c[1], c[2])
			d.Polygon(points, "F")
			d.SetAlpha(1, "Normal")
		case reportview.Grid, reportview.Line:
			c, thick := faint, 0.15
			if s.Role == reportview.Line {
				c, thick = accent, 0.35
			}
			d.SetDrawColor(c[0], c[1], c[2])
			d.SetLineWidth(thick)
			d.MoveTo(points[0].X, points[0].Y)
			for _, p := range points[1:] {
				d.LineTo(p.X, p.Y)
			}
			d.DrawPath("D")
		}
	}
}
