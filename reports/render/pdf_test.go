package render

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"berth/reports/pdf"
)

// textOfPDF returns what a PDF says, page after page.
func textOfPDF(t *testing.T, data []byte) string {
	t.Helper()
	if !bytes.HasPrefix(data, []byte("%PDF-1.")) || !bytes.Contains(data[max(len(data)-16, 0):], []byte("%%EOF")) {
		t.Fatalf("%d bytes are no PDF", len(data))
	}
	if _, err := exec.LookPath("pdftotext"); err != nil {
		t.Skip("there is no pdftotext: it is of poppler-utils")
	}
	path := filepath.Join(t.TempDir(), "report.pdf")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	text, err := exec.CommandContext(t.Context(), "pdftotext", "-layout", path, "-").CombinedOutput()
	if err != nil {
		t.Fatalf("pdftotext: %v\n%s", err, text)
	}
	return string(text)
}

func TestPDFHasTheReportsNumbers(t *testing.T) {
	font := pdf.Find("")
	if font == "" {
		t.Skip("there is no font with Chinese, such as that of fonts-lxgw-wenkai")
	}
	r, q := bench(t, "Europe/Berlin")
	for language, wants := range map[string][]string{
		"en": {"Report of p1", "How these numbers are computed", "+134", "nearest rank"},
		"zh": {"p1 的报表", "完整率", "这些数字如何计算", "增 134"},
	} {
		text := textOfPDF(t, write(t, r, q, "pdf", language))
		for _, want := range append(wants, "91.66 %", "Vorlauf 供水温度", "=1+1", "9,007,199,254,741,154", "02:10:00", "2026-03-09 00:00 +01:00", "1. 2026-03-09 01:00", "Pumpe getauscht 更换水泵 (jane)", "2. 2026-03-09 20:00 +01:00: =1+1") {
			if !strings.Contains(text, want) {
				t.Errorf("in %s the file lacks %q", language, want)
			}
		}
		if strings.Contains(text, "?") {
			t.Errorf("in %s a character was not printed", language)
		}
	}
}

// Without a font for Chinese the file is in English, says so, and has no empty box.
func TestPDFWithoutAFontSaysSo(t *testing.T) {
	r, q := bench(t, "Europe/Berlin")
	broken := filepath.Join(t.TempDir(), "broken.ttf")
	if err := os.WriteFile(broken, []byte("no font"), 0o600); err != nil {
		t.Fatal(err)
	}
	for font, why := range map[string]string{"": "no font was found", broken: "is no TrueType font", "/nowhere.ttf": "cannot be read"} {
		r.Font = func() string { return font }
		text := textOfPDF(t, write(t, r, q, "pdf", "zh"))
		for _, want := range []string{"Report of p1", "This report is in English", why, "Vorlauf ????", "°C", "9,007,199,254,741,154"} {
			if !strings.Contains(text, want) {
				t.Errorf("with the font %q the file lacks %q", font, want)
			}
		}
	}
}

// BenchmarkPDF tells how long a page takes, numbers and all.
func BenchmarkPDF(b *testing.B) {
	r, q := bench(b, "Europe/Berlin")
	pages := 0
	for b.Loop() {
		pages += bytes.Count(write(b, r, q, "pdf", "zh"), []byte("/Type /Page\n"))
	}
	b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(max(pages, 1)), "ms/page")
}
