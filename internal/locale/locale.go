// Package locale gives texts in the languages that people read here, and chooses the language for a visitor. The texts are
// those of who loads them, a file of JSON for each language. A text may have named places, such as {name}. Its one invariant:
// all languages of a catalogue have the same texts with the same places; localetest says so.
package locale

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

// Languages are those that pages and reports are shown in, the default first. The tag is that of the html element.
var Languages = []Language{
	{Code: "en", Tag: "en", Name: "English", Intl: "en-GB", Day: "2 Jan 2006", Clock: "2 Jan 2006, 15:04:05"},
	{Code: "zh", Tag: "zh-Hans", Name: "简体中文", Intl: "zh-Hans", Day: "2006年1月2日", Clock: "2006年1月2日 15:04:05"},
}

// Language is a language of theirs.
type Language struct {
	Code  string
	Tag   string
	Name  string // in the language itself
	Intl  string // by which browsers write times and numbers as Day, Clock and Count do
	Day   string // layout of a day
	Clock string // layout of a time, to the second
}

// Count writes a whole number.
func (l Language) Count(n uint64) string { return l.Number(strconv.FormatUint(n, 10)) }

// Number writes a number that is given as a program does, without an exponent: -1234.5 as -1,234.5. Both languages have a point
// before the decimals, and a comma between groups of three digits.
func (l Language) Number(s string) string {
	sign, digits := "", s
	if strings.HasPrefix(s, "-") {
		sign, digits = "-", s[1:]
	}
	whole, decimals, pointed := strings.Cut(digits, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if pointed {
		decimals = "." + decimals
	}
	return sign + whole + decimals
}

// Catalog holds all texts.
type Catalog struct {
	texts map[string]map[string]string // by code, by key
}

// Load reads a catalogue: a file for each language, such as en.json.
func Load(files fs.FS) (*Catalog, error) {
	c := &Catalog{texts: map[string]map[string]string{}}
	for _, l := range Languages {
		data, err := fs.ReadFile(files, l.Code+".json")
		if err != nil {
			return nil, fmt.Errorf("read texts: %w", err)
		}
		texts := map[string]string{}
		if err := json.Unmarshal(data, &texts); err != nil {
			return nil, fmt.Errorf("read the texts of %s: %w", l.Code, err)
		}
		c.texts[l.Code] = texts
	}
	return c, nil
}

// Texts returns the texts of one language by key.
func (c *Catalog) Texts(code string) map[string]string { return c.texts[code] }

// Printer returns the texts in one language, the default if it is unknown.
func (c *Catalog) Printer(code string) *Printer {
	i := max(slices.IndexFunc(Languages, func(l Language) bool { return l.Code == code }), 0)
	return &Printer{Language: Languages[i], texts: c.texts[Languages[i].Code]}
}

// Printer gives texts in one language.
type Printer struct {
	Language Language
	texts    map[string]string
}

// T returns the text of a key; args are pairs of a place's name and what to put there. A key without a text is returned
// itself, in brackets.
func (p *Printer) T(key string, args ...any) string {
	text, ok := p.texts[key]
	if !ok {
		return "[" + key + "]"
	}
	for i := 0; i+1 < len(args); i += 2 {
		text = strings.ReplaceAll(text, fmt.Sprintf("{%v}", args[i]), fmt.Sprint(args[i+1]))
	}
	return text
}

// Has reports whether there is a text for the key.
func (p *Printer) Has(key string) bool {
	_, ok := p.texts[key]
	return ok
}

// Group returns the texts whose keys begin with the prefix, by the rest of their keys: what a script needs.
func (p *Printer) Group(prefix string) map[string]string {
	group := map[string]string{}
	for key, text := range p.texts {
		if rest, ok := strings.CutPrefix(key, prefix); ok {
			group[rest] = text
		}
	}
	return group
}

// Known returns the code of the language with that code, "" for none.
func Known(code string) string {
	for _, l := range Languages {
		if l.Code == code {
			return code
		}
	}
	return ""
}

// Choose returns the code of the language that an Accept-Language header prefers, the default for one without ours
// (RFC 9110 §12.5.4).
func Choose(header string) string {
	best, quality := Languages[0].Code, 0.0
	for part := range strings.SplitSeq(header, ",") {
		tag, params, _ := strings.Cut(strings.TrimSpace(part), ";")
		primary, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(tag)), "-")
		q := 1.0
		if text, ok := strings.CutPrefix(strings.ReplaceAll(params, " ", ""), "q="); ok {
			var err error
			if q, err = strconv.ParseFloat(text, 64); err != nil {
				continue
			}
		}
		if code := Known(primary); code != "" && q > quality {
			best, quality = code, q
		}
	}
	return best
}
