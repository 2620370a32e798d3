package render

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"berth/internal/api"
	"berth/internal/reportview"
	"berth/reports/pdf"
)

var look = flag.String("look", "", "keep the PDFs of awkward reports, and their pages as PNG, in this directory, to be looked at")

// copyOf returns a copy that shares nothing.
func copyOf(t testing.TB, g *api.ReportGateway) (c api.ReportGateway) {
	t.Helper()
	data, err := json.Marshal(g)
	if err == nil {
		err = json.Unmarshal(data, &c)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// awkward are reports that are hard to lay out: nothing, one gateway, many gateways, many sensors, long names, long notes.
func awkward(t testing.TB) map[string]*api.Report {
	r, q := bench(t, "Europe/Berlin")
	one := made(t, r, q)
	empty, many, long := *one, *one, *one
	empty.Gateways, empty.Totals = []api.ReportGateway{}, api.ReportTotals{}

	many.Groups, many.Tags, many.Gateways = []string{"north", "北区"}, []string{"site=Kai 3"}, nil
	for i := range 45 {
		g := copyOf(t, &one.Gateways[0])
		if g.Name = fmt.Sprintf("gateway-%03d 网关", i); i == 3 {
			g.Name = strings.Repeat("a-very-long-name-of-a-gateway/", 8)
		}
		g.Sensors = g.Sensors[:1+i%3]
		many.Gateways = append(many.Gateways, g)
	}
	many.Totals.Gateways = len(many.Gateways)

	g := copyOf(t, &one.Gateways[0])
	for i := range 40 {
		s := g.Sensors[i%4]
		if s.Sensor = fmt.Sprintf("%s.with.a.name.that.is.long.%d", s.Sensor, i); i%5 == 0 {
			s.Sensor = strings.Repeat("measurement_温度_", 9) + fmt.Sprint(i)
		}
		s.Label = strings.Repeat("标签 label ", i%4)
		g.Sensors = append(g.Sensors, s)
	}
	for i := range 6 {
		a := g.Annotations[0]
		a.Text = strings.Repeat("换泵，（pump） exchanged ", 1+i*4)
		g.Annotations = append(g.Annotations, a)
	}
	long.Gateways = []api.ReportGateway{g}
	return map[string]*api.Report{"one": one, "empty": &empty, "many": &many, "long": &long}
}

// TestPDFIsLaidOut has each word of awkward reports within its page's margins, and no line begin with what ends one.
func TestPDFIsLaidOut(t *testing.T) {
	font := pdf.Find("")
	if font == "" {
		t.Skip("there is no font with Chinese, such as that of fonts-lxgw-wenkai")
	}
	if _, err := exec.LookPath("pdftotext"); err != nil {
		t.Skip("there is no pdftotext: it is of poppler-utils")
	}
	dir := *look
	if dir == "" {
		dir = t.TempDir()
	}
	for name, r := range awkward(t) {
		for _, language := range []string{"en", "zh"} {
			v, err := reportview.New(r, language)
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			if err := pdf.Write(&out, v, font); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, name+"-"+language)
			if err := os.WriteFile(path+".pdf", out.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
			laidOut(t, path+".pdf")
			if *look != "" {
				if out, err := exec.CommandContext(t.Context(), "pdftoppm", "-r", "75", "-png", path+".pdf", path).CombinedOutput(); err != nil {
					t.Fatalf("pdftoppm: %v: %s", err, out)
				}
			}
		}
	}
}

// laidOut looks where the words of a PDF stand, in points.
func laidOut(t *testing.T, path string) {
	t.Helper()
	text, err := exec.CommandContext(t.Context(), "pdftotext", "-bbox", path, "-").Output()
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Pages []struct {
			Width  float64 `xml:"width,attr"`
			Height float64 `xml:"height,attr"`
			Words  []struct {
				Left   float64 `xml:"xMin,attr"`
				Top    float64 `xml:"yMin,attr"`
				Right  float64 `xml:"xMax,attr"`
				Bottom float64 `xml:"yMax,attr"`
				Text   string  `xml:",chardata"`
			} `xml:"word"`
		} `xml:"body>doc>page"`
	}
	if err := xml.Unmarshal(text, &doc); err != nil || len(doc.Pages) == 0 {
		t.Fatalf("%s has no words: %v", path, err)
	}
	const edge = 20 // points, of the 34 that the margin has
	for n, page := range doc.Pages {
		if len(page.Words) == 0 {
			t.Errorf("page %d of %s is empty", n+1, filepath.Base(path))
		}
		for _, w := range page.Words {
			if w.Left < edge || w.Top < edge || w.Right > page.Width-edge || w.Bottom > page.Height-edge/2 {
				t.Errorf("%q on page %d of %s stands at %.0f–%.0f, %.0f–%.0f of %.0f x %.0f", w.Text, n+1, filepath.Base(path), w.Left, w.Right, w.Top, w.Bottom, page.Width, page.Height)
			}
			if strings.HasPrefix(w.Text, "）") || strings.HasPrefix(w.Text, "，") && w.Left < 40 {
				t.Errorf("%q begins a line on page %d of %s", w.Text, n+1, filepath.Base(path))
			}
		}
	}
}
