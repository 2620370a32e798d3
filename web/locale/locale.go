// Package locale holds every text that a page shows, in each language.
package locale

import (
	"embed"

	"berth/internal/locale"
)

//go:embed *.json
var embedded embed.FS

// Languages are those that pages are shown in, the default first.
var Languages = locale.Languages

// Language is a language of the pages.
type Language = locale.Language

// Catalog holds all texts.
type Catalog = locale.Catalog

// Printer gives texts in one language.
type Printer = locale.Printer

// Load reads the texts.
func Load() (*Catalog, error) { return locale.Load(embedded) }

// Known returns the code of the language with that code, "" for none.
func Known(code string) string { return locale.Known(code) }

// Choose returns the code of the language that an Accept-Language header prefers.
func Choose(header string) string { return locale.Choose(header) }
