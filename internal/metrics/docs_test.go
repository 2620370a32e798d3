package metrics

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v2"
)

var update = flag.Bool("update", false, "write the table of metrics into docs/operations.md")

// The lines between which docs/operations.md has the table.
const (
	tableBegin = "<!-- the table of metrics: go test ./internal/metrics -update -->\n"
	tableEnd   = "<!-- end of the table -->\n"
)

func docTable() string {
	var b strings.Builder
	b.WriteString("| metric | kind | labels | |\n|---|---|---|---|\n")
	for _, m := range All() {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", m.Name, m.Kind, strings.Join(m.Labels, ", "), m.Help)
	}
	return b.String()
}

// TestEveryMetricIsDocumented compares the table of metrics with that of the documentation.
func TestEveryMetricIsDocumented(t *testing.T) {
	path := filepath.Join("..", "..", "docs", "operations.md")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), tableBegin)
	have, after, ended := strings.Cut(rest, tableEnd)
	if !ok || !ended {
		t.Fatalf("%s has no table of metrics", path)
	}
	if *update {
		if err := os.WriteFile(path, []byte(before+tableBegin+docTable()+tableEnd+after), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if have != docTable() {
		t.Errorf("the table of metrics in %s is not that of the programs: run go test ./internal/metrics -update", path)
	}
	for _, name := range metricNames(before + after) {
		if known(name) == nil {
			t.Errorf("%s tells of %s, which there is not", path, name)
		}
	}
}

var aMetric = regexp.MustCompile(`\bberth_[a-z_]+`)

func metricNames(text string) []string { return aMetric.FindAllString(text, -1) }

// known returns the metric that a name in a question to Prometheus is of, nil if there is none.
func known(name string) *Metric {
	if m := names()[name]; m != nil {
		return m
	}
	for _, suffix := range []string{"_bucket", "_count", "_sum"} {
		if m := names()[strings.TrimSuffix(name, suffix)]; m != nil && m.Kind == Histogram && strings.HasSuffix(name, suffix) {
			return m
		}
	}
	return nil
}

// TestAlertsAskForWhatThereIs reads the alerting rules as Prometheus does, strictly, and looks at what they ask for.
func TestAlertsAskForWhatThereIs(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "alerts.yml"))
	if err != nil {
		t.Fatal(err)
	}
	operations, err := os.ReadFile(filepath.Join("..", "..", "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Name  string `yaml:"name"`
			Rules []struct {
				Alert       string            `yaml:"alert"`
				Expr        string            `yaml:"expr"`
				For         string            `yaml:"for"`
				Labels      map[string]string `yaml:"labels"`
				Annotations map[string]string `yaml:"annotations"`
			} `yaml:"rules"`
		} `yaml:"groups"`
	}
	if err := yaml.UnmarshalStrict(text, &file); err != nil {
		t.Fatal(err)
	}
	alerts := map[string]bool{}
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			if alerts[r.Alert] || r.Alert == "" {
				t.Errorf("the alert %q is there twice, or has no name", r.Alert)
			}
			alerts[r.Alert] = true
			if s := r.Labels["severity"]; s != "page" && s != "ticket" || r.Annotations["summary"] == "" {
				t.Errorf("%s has the severity %q and says %q", r.Alert, s, r.Annotations["summary"])
			}
			asked := metricNames(r.Expr)
			if len(asked) == 0 {
				t.Errorf("%s asks for nothing of ours", r.Alert)
			}
			for _, name := range asked {
				if m := known(name); m == nil || m.Kind == Histogram && names()[name] != nil {
					t.Errorf("%s asks for %s, which there is not", r.Alert, name)
				}
			}
			for _, pair := range []string{"()", "{}", "[]"} {
				if strings.Count(r.Expr, pair[:1]) != strings.Count(r.Expr, pair[1:]) {
					t.Errorf("%s: %s is not closed in %s", r.Alert, pair, r.Expr)
				}
			}
			if title, ok := strings.CutPrefix(r.Annotations["see"], "operations.md: "); ok != (r.Annotations["see"] != "") || ok && !strings.Contains(string(operations), "\n### "+title+"\n") {
				t.Errorf("%s names %q, which operations.md does not have", r.Alert, r.Annotations["see"])
			}
		}
	}
	if len(alerts) < 10 {
		t.Errorf("%d alerts were read", len(alerts))
	}
}
