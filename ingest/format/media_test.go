package format_test

import (
	"slices"
	"testing"

	"berth/ingest/format"
	"berth/schema/record"
)

func TestMediaTypes(t *testing.T) {
	for contentType, want := range map[string]string{
		"application/json": "json", "application/JSON; charset=utf-8": "json", "application/senml+json": "senml+json",
		"application/senml+cbor": "senml+cbor", " application/senml+cbor ; x=y": "senml+cbor", "application/json; broken": "json",
		"": "", "text/plain": "", "application/sensml+json": "", "application/sensml+cbor": "", "application/senml+xml": "", ";": "", "application/": "",
	} {
		got, ok := format.OfMediaType(contentType)
		if got != want || ok != (want != "") || ok && !format.Known(got) {
			t.Errorf("%q is %q, %v, want %q", contentType, got, ok, want)
		}
	}
	for number, want := range map[int]string{50: "json", 110: "senml+json", 112: "senml+cbor", 0: "", 60: "", 111: "", 113: ""} {
		got, ok := format.OfContentFormat(number)
		if got != want || ok != (want != "") {
			t.Errorf("%d is %q, %v, want %q", number, got, ok, want)
		}
	}
}

func TestNamedAllocatesNothing(t *testing.T) {
	for _, name := range format.Names() {
		written := []byte(name)
		if n := testing.AllocsPerRun(10, func() {
			if format.Named(written) != name {
				t.Errorf("%s has another name", name)
			}
		}); n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	if got := format.Named([]byte("other")); got != "other" {
		t.Errorf("a name that is of no format became %q", got)
	}
}

// TestTopicsNameTheFormats: a provider's own topic may name each format that there is.
func TestTopicsNameTheFormats(t *testing.T) {
	if want := append(format.Names(), record.FormatValue); !slices.Equal(want, record.TopicFormats) {
		t.Errorf("a topic may name %q, there are %q", record.TopicFormats, want)
	}
	for _, name := range record.TopicFormats {
		if !format.Known(name) {
			t.Errorf("the format %s is unknown", name)
		}
	}
}
