package record

import (
	"strings"
	"testing"
	"time"

	"berth/schema"
)

func goldenAnnotations() Annotations {
	at := time.Date(2026, 3, 29, 0, 30, 0, 0, time.UTC)
	return Annotations{Version: Version, Gateway: "boiler/1 Süd", Annotations: []Annotation{
		{ID: "a1", From: at, To: at.Add(2 * time.Hour), Text: "Pump replaced\n更换水泵", Who: "jane", Made: at.Add(time.Hour)},
		{ID: "a2", From: at.Add(time.Hour), To: at.Add(time.Hour), Text: "=1+1", Who: "admin", Made: at.Add(time.Hour)},
	}}
}

func TestAnnotationsKeepTheirShape(t *testing.T) {
	golden(t, "annotations.v1.json", goldenAnnotations())
}

func TestAnnotationsThatCannotBeAreNamed(t *testing.T) {
	good := goldenAnnotations().Annotations[0]
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Annotation){
		"no name":       func(a *Annotation) { a.ID = "" },
		"before":        func(a *Annotation) { a.To = a.From.Add(-1) },
		"in no year":    func(a *Annotation) { a.From = time.Time{} },
		"no text":       func(a *Annotation) { a.Text = " \n" },
		"more than 500": func(a *Annotation) { a.Text = strings.Repeat("水", mostAnnotation+1) },
		"print":         func(a *Annotation) { a.Text = "a\x00b" },
	} {
		a := good
		change(&a)
		if err := a.Validate(); !schema.Is(err, schema.Invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %q", err, want)
		}
	}
}

func TestAnAnnotationTouchesAPeriod(t *testing.T) {
	from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	to := from.Add(24 * time.Hour)
	for _, c := range []struct {
		begin, end int
		want       bool
	}{
		{-2, -1, false}, {-1, 0, false}, {-1, 1, true}, {0, 0, true}, {23, 25, true}, {24, 24, false}, {24, 25, false}, {-5, 50, true}, {-1, -1, false},
	} {
		a := Annotation{From: from.Add(time.Duration(c.begin) * time.Hour), To: from.Add(time.Duration(c.end) * time.Hour)}
		if got := a.Touches(from, to); got != c.want {
			t.Errorf("from %d h to %d h: %v", c.begin, c.end, got)
		}
	}
}
