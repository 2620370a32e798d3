package plan

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Pages say why in their languages: their English texts are these, and their catalogues are held against each other.
func TestPagesHaveTextsForAllReasons(t *testing.T) {
	data, err := os.ReadFile("../../web/locale/en.json")
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	if err := json.Unmarshal(data, &texts); err != nil {
		t.Fatal(err)
	}
	said := map[string]string{}
	for code := range reasons {
		said[code] = texts["why."+code]
	}
	if d := cmp.Diff(reasons, said); d != "" {
		t.Errorf("web's texts of reasons (-here +there):\n%s", d)
	}
}

func TestAReasonIsPrintedAsText(t *testing.T) {
	r := because("held", "role", "ingest", "port", "6001", "holder", "java(812)")
	data, err := json.Marshal(Step{Kind: Wait, Why: r})
	var back Step
	if err == nil {
		err = json.Unmarshal(data, &back)
	}
	if want := "to start ingest: port 6001 is held by java(812)"; err != nil || back.Why.String() != want || r.String() != want || r.Args["port"] != "6001" {
		t.Errorf("%s, %v, %v", data, r, err)
	}
}
