package web

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"berth/web/locale"
)

// guides are the documents in docs/ that there are in each language.
var guides = []string{"admins", "operators"}

// guide is what a test reads of a guide, by section.
type guide struct {
	shape  []string   // each line's kind, and what must be the same in every language
	labels [][]string // of each section, what is quoted from the pages
}

var (
	quotedLabel = regexp.MustCompile(`\*\*(.+?)\*\*`)
	listed      = regexp.MustCompile(`^([0-9]+\.|-) `)
	notInAnchor = regexp.MustCompile(`[^\p{L}\p{N} -]`)
	linkTarget  = regexp.MustCompile(`\]\(([^)]+)\)`)
)

func readGuide(t *testing.T, language, name string) (g guide) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "docs", language, name+".md"))
	check(t, err)
	g.labels = [][]string{nil}
	code := false
	for i, line := range strings.Split(string(text), "\n") {
		kind := ""
		switch {
		case strings.HasPrefix(line, "```"):
			code = !code
			kind = line
		case code:
			kind = line
		case strings.HasPrefix(line, "#"):
			kind, _, _ = strings.Cut(line, " ")
			g.labels = append(g.labels, nil)
		case listed.MatchString(line):
			kind, _, _ = strings.Cut(line, " ")
		case strings.HasPrefix(line, "|"):
			kind = fmt.Sprintf("%d columns", strings.Count(line, "|")-1)
		}
		if kind != "" {
			g.shape = append(g.shape, kind)
		}
		if code {
			continue
		}
		section := len(g.labels) - 1
		for _, m := range quotedLabel.FindAllStringSubmatch(line, -1) {
			g.labels[section] = append(g.labels[section], m[1])
		}
		for _, m := range linkTarget.FindAllStringSubmatch(line, -1) {
			checkTarget(t, fmt.Sprintf("%s/%s.md:%d", language, name, i+1), filepath.Join("..", "docs", language), m[1])
		}
	}
	return g
}

// checkTarget fails unless a link leads to a file, and to a heading in it.
func checkTarget(t *testing.T, at, folder, target string) {
	t.Helper()
	path, anchor, _ := strings.Cut(target, "#")
	text, err := os.ReadFile(filepath.Join(folder, path))
	if err != nil {
		t.Errorf("%s: the link to %s leads nowhere", at, target)
		return
	}
	for line := range strings.Lines(string(text)) {
		if heading := strings.TrimLeft(line, "#"); heading != line && anchorOf(strings.TrimSpace(heading)) == anchor {
			return
		}
	}
	if anchor != "" {
		t.Errorf("%s: %s has no heading %s", at, path, anchor)
	}
}

// anchorOf returns the anchor that GitHub gives a heading.
func anchorOf(heading string) string {
	return strings.ReplaceAll(notInAnchor.ReplaceAllString(strings.ToLower(heading), ""), " ", "-")
}

// labels finds the texts of one language by what is quoted of them.
type labels map[string]*regexp.Regexp // by key

func labelsOf(texts map[string]string) labels {
	all, place := labels{}, regexp.MustCompile(`\\\{[a-z]+\\\}`)
	for key, text := range texts {
		if pattern := place.ReplaceAllString(regexp.QuoteMeta(text), ".+"); pattern != ".+" {
			all[key] = regexp.MustCompile("^" + pattern + "$")
		}
	}
	return all
}

// keys returns the keys of the texts that the label is, with something in their places.
func (l labels) keys(label string) (keys []string) {
	for key, text := range l {
		if text.MatchString(label) {
			keys = append(keys, key)
		}
	}
	return keys
}

// TestGuidesSayTheSameInEveryLanguage holds the guides against each other, step by step, and against the pages: what is in
// bold is a text of the pages in that language, and the sections of two languages quote the same texts.
func TestGuidesSayTheSameInEveryLanguage(t *testing.T) {
	catalog, err := locale.Load()
	check(t, err)
	texts := map[string]labels{}
	for _, language := range locale.Languages {
		texts[language.Code] = labelsOf(catalog.Texts(language.Code))
	}
	for _, name := range guides {
		first := readGuide(t, "en", name)
		quoted := map[string]bool{}
		for _, language := range locale.Languages {
			at := language.Code + "/" + name + ".md"
			g := readGuide(t, language.Code, name)
			if d := cmp.Diff(first.shape, g.shape); d != "" {
				t.Fatalf("%s has other headings, steps, tables or commands than that in English (-en +%s):\n%s", at, language.Code, d)
			}
			for i, section := range g.labels {
				theirs := map[string]bool{}
				for _, label := range first.labels[i] {
					for _, key := range texts["en"].keys(label) {
						theirs[key] = true
					}
				}
				for _, label := range section {
					keys := texts[language.Code].keys(label)
					if !slices.ContainsFunc(keys, func(key string) bool { return theirs[key] }) {
						t.Errorf("%s: %q in section %d is no text of the pages, or another than in English (it is %v)", at, label, i, keys)
					}
					for _, key := range keys {
						quoted[key] = true
					}
				}
				if len(section) != len(first.labels[i]) {
					t.Errorf("%s: section %d quotes %d texts of the pages, %d in English", at, i, len(section), len(first.labels[i]))
				}
			}
		}
		requireQuoted(t, catalog.Texts("en"), name, quoted)
	}
}

// requireQuoted fails unless a guide speaks of everything that it must: each page, state and notice, each way to be let in.
func requireQuoted(t *testing.T, texts map[string]string, name string, quoted map[string]bool) {
	t.Helper()
	for key := range texts {
		prefix, state, _ := strings.Cut(key, ".")
		wanted := key
		switch {
		case prefix == "trouble": // how the pages call it in a word
			wanted = "service." + state
		case name == "operators" || strings.Contains(state, "."):
			continue
		case prefix == "nav", prefix == "state", key == "role.admin", key == "role.viewer":
		default:
			continue
		}
		if !quoted[wanted] {
			t.Errorf("%s.md does not speak of %q (%s)", name, texts[wanted], wanted)
		}
	}
}
