package pdf

// column is a column of a table.
type column struct {
	title string
	width float64
	right bool // numbers stand at the right
}

// tableRow is a row: each cell's text.
type tableRow []string

// mostLines is over how many lines a row's first cell, or a heading, may go.
const mostLines = 4

// rows writes a table; its titles are repeated on each page. The first cell of a row goes on over several lines where it must,
// the others are cut.
func (d *document) rows(columns []column, rows []tableRow) {
	d.room(3 * rowHeight)
	d.titles(columns)
	for _, r := range rows {
		d.use(smallSize, black)
		first := d.lines(r[0], columns[0].width)
		height := rowHeight * float64(len(first))
		if d.GetY()+height > floor {
			d.AddPage()
			d.SetY(margin)
			d.titles(columns)
			d.use(smallSize, black)
		}
		top := d.GetY()
		for i, l := range first {
			d.SetXY(margin, top+float64(i)*rowHeight)
			d.CellFormat(columns[0].width, rowHeight, l, "", 0, "L", false, 0, "")
		}
		d.SetXY(margin+columns[0].width, top)
		for i, c := range columns[1:] {
			d.cell(r[i+1], c)
		}
		d.rule(top + height)
		d.SetXY(margin, top+height)
	}
	d.Ln(2)
}

// least is the smallest that a number is written so that all its digits are there.
const least = 4.0

// cell writes a cell on one line. A number that is too long is written smaller; only what is still too long is cut.
func (d *document) cell(s string, c column) {
	text, within := d.text(s), c.width-2*d.GetCellMargin()
	if long := d.GetStringWidth(text); c.right && long > within {
		d.SetFontSize(max(smallSize*within/long*0.99, least))
		defer d.SetFontSize(smallSize)
	}
	d.CellFormat(c.width, rowHeight, d.fit(s, c.width), "", 0, c.align(), false, 0, "")
}

func (c column) align() string {
	if c.right {
		return "R"
	}
	return "L"
}

// titles writes the titles of a table's columns.
func (d *document) titles(columns []column) {
	d.use(smallSize, muted)
	d.SetX(margin)
	for _, c := range columns {
		d.CellFormat(c.width, rowHeight, d.fit(c.title, c.width), "", 0, c.align(), false, 0, "")
	}
	d.Ln(rowHeight)
	d.rule(d.GetY())
}

// rule draws a line over the whole width.
func (d *document) rule(y float64) {
	d.SetDrawColor(faint[0], faint[1], faint[2])
	d.SetLineWidth(0.2)
	d.Line(margin, y, margin+width, y)
}
