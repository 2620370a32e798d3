package plan

import "strings"

// reasons are why steps are planned, by their stable codes, with named places. Pages have their own texts for these codes.
var reasons = map[string]string{
	"removed":             "it is removed",
	"purged":              "its data are purged",
	"stopped":             "it is stopped",
	"rested":              "its data are gone and its slot has rested",
	"rests":               "to forget it: its slot {slot} rests",
	"unwanted":            "no record wants it",
	"keyspace_absent":     "keyspace {keyspace} does not exist",
	"keyspace_unsure":     "keyspace {keyspace} may not exist",
	"access":              "its instances should come in with secret {secret}",
	"log_absent":          "its account, streams and buckets do not exist",
	"log_unsure":          "its account, streams and buckets may not exist",
	"settings":            "its instances should know settings {settings}",
	"certificate":         "its port should have certificate {certificate}",
	"renewal":             "its port's certificate is to be renewed since {since}",
	"ready":               "ingest and reports are ready",
	"idle":                "it does not run",
	"ended":               "it ended at {time}: {cause}",
	"replaced":            "it runs spec {is}, wanted is {wanted}",
	"after_replaced":      "stopped for its new spec",
	"silent":              "it runs, but {silence}",
	"after_silent":        "stopped since it did not answer",
	"unhealthy":           "it runs, but is not healthy: {cause}",
	"after_unhealthy":     "stopped since it was not healthy",
	"held":                "to start {role}: port {port} is held by {holder}",
	"again":               "to {step} again: {cause}",
	"lacks":               "{role} {state}",
	"lacks_idle":          "{role} does not run",
	"lacks_ready":         "{role} is ready",
	"lacks_unheard":       "{role} has not answered yet",
	"unannounced":         "to announce it: {role} {state}",
	"unannounced_idle":    "to announce it: {role} does not run",
	"unannounced_ready":   "to announce it: {role} is ready",
	"unannounced_unheard": "to announce it: {role} has not answered yet",
	"resources":           "it should be held to {resources}",
	"resources_unsure":    "it may not be held to {resources}",
	"kept":                "image {image} is healthy",
	"trial":               "to keep image {image}: it has to stay healthy for a moment",
}

// Reason says why a step is planned, or what is waited for.
type Reason struct {
	Code string            // empty: it is in words alone
	Args map[string]string // what fills the places of the code's text
	text string
}

// because returns the reason with a code; args are pairs of a place's name and what fills it.
func because(code string, args ...string) Reason {
	r := Reason{Code: code, text: reasons[code]}
	for i := 0; i+1 < len(args); i += 2 {
		if r.Args == nil {
			r.Args = map[string]string{}
		}
		r.Args[args[i]] = args[i+1]
		r.text = strings.ReplaceAll(r.text, "{"+args[i]+"}", args[i+1])
	}
	return r
}

// InWords returns a reason that has no code, which pages show as it is.
func InWords(text string) Reason { return Reason{text: text} }

// String returns the reason in English.
func (r Reason) String() string { return r.text }

// MarshalText writes the reason as a text: so the command line prints it.
func (r Reason) MarshalText() ([]byte, error) { return []byte(r.text), nil }

// UnmarshalText reads what MarshalText has written: the code is not in it.
func (r *Reason) UnmarshalText(text []byte) error {
	*r = InWords(string(text))
	return nil
}
