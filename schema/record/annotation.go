package record

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"berth/schema"
)

// AnnotationsPrefix begins the keys of Annotations in the bucket "pipeline"; the SHA-256 of the gateway's name follows, hex.
const AnnotationsPrefix = "annotations."

// AnnotationsKey returns the key of a gateway's Annotations.
func AnnotationsKey(gateway string) string {
	sum := sha256.Sum256([]byte(gateway))
	return AnnotationsPrefix + hex.EncodeToString(sum[:])
}

// Annotations are what people have noted on one gateway's charts, in order of time. The provider's reports writes it.
type Annotations struct {
	Version     int          `json:"version"`
	Gateway     string       `json:"gateway"`
	Annotations []Annotation `json:"annotations"`
}

// Annotation is a note about a stretch of time.
type Annotation struct {
	ID   string    `json:"id"`
	From time.Time `json:"from"`
	To   time.Time `json:"to"` // not before From; the same: a moment
	Text string    `json:"text"`
	Who  string    `json:"who"` // has written it
	Made time.Time `json:"made"`
}

// Limits of annotations.
const (
	MostAnnotations    = 500    // of one gateway
	MostAnnotationsAll = 10_000 // of a provider
	mostAnnotation     = 500    // characters
)

// Touches reports whether it has a moment in [from, to).
func (a *Annotation) Touches(from, to time.Time) bool {
	return a.From.Before(to) && (a.To.After(from) || a.To.Equal(a.From) && !a.From.Before(from))
}

// Validate returns an Invalid error that names what cannot be.
func (a *Annotation) Validate() error {
	year := func(t time.Time) bool { return t.Year() >= 1970 && t.Year() < 2262 } // as readings' times
	switch {
	case a.ID == "" || len(a.ID) > 64:
		return schema.Errorf(schema.Invalid, "the annotation has no name of its own")
	case !year(a.From) || !year(a.To) || a.To.Before(a.From):
		return schema.Errorf(schema.Invalid, "the annotation ends at %s, before it begins at %s, or it is in no year of readings", a.To.Format(time.RFC3339), a.From.Format(time.RFC3339))
	case strings.TrimSpace(a.Text) == "" || !utf8.ValidString(a.Text) || utf8.RuneCountInString(a.Text) > mostAnnotation:
		return schema.Errorf(schema.Invalid, "the annotation has no text, or more than %d characters", mostAnnotation)
	case strings.ContainsFunc(a.Text, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }):
		return schema.Errorf(schema.Invalid, "the annotation's text has characters that do not print")
	}
	return nil
}
