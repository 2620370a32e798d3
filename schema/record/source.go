package record

import (
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"berth/schema"
)

// Source is a broker of the provider's own, of which its ingest is a client: what is published there is taken, and
// acknowledged when the log has it.
type Source struct {
	Name     string      `json:"name"`
	Kind     string      `json:"kind"`             // SourceMQTT
	URL      string      `json:"url"`              // tcp://host:port, or tls://host:port
	Topics   []TopicRule `json:"topics"`           // what is subscribed to; those that say more than a filter are asked before the provider's own
	Left     []string    `json:"left,omitempty"`   // filters that were subscribed to before and are not any more: the broker's session may have them
	ClientID string      `json:"client_id"`        // the session's name at the broker, which keeps what is not acknowledged
	User     string      `json:"user,omitempty"`   // empty: none
	Sealed   []byte      `json:"sealed,omitempty"` // the user's password, sealed with the house's secret, or in Pipeline with the pipeline's
	CA       string      `json:"ca,omitempty"`     // PEM: whom to trust of TLS; empty: whom the machine trusts
	Created  time.Time   `json:"created"`
	Changed  time.Time   `json:"changed,omitzero"` // when it was last changed
}

// SourceMQTT is a broker of MQTT.
const SourceMQTT = "mqtt"

const (
	// MaxSources is how many sources a provider may have.
	MaxSources = 16
	// maxSourceName is the longest name of a source, in bytes, and maxSourceText that of what else it is told.
	maxSourceName = 63
	maxSourceText = 1 << 10
	maxSourceCA   = 64 << 10
)

// The schemes of a source's URL.
const (
	SchemeTCP = "tcp"
	SchemeTLS = "tls"
)

// Address returns host and port, and whether it is reached by TLS.
func (s *Source) Address() (hostPort string, secure bool) {
	u, err := url.Parse(s.URL)
	if err != nil {
		return "", false
	}
	return u.Host, u.Scheme == SchemeTLS
}

// Filters returns the topic filters of MQTT that are subscribed to.
func (s *Source) Filters() []string {
	var filters []string
	for i := range s.Topics {
		if f := s.Topics[i].Filter(); !slices.Contains(filters, f) {
			filters = append(filters, f)
		}
	}
	return filters
}

// Rules returns the topics that say whose readings their messages have, or in which format.
func (s *Source) Rules() []TopicRule {
	return slices.DeleteFunc(slices.Clone(s.Topics), func(r TopicRule) bool {
		return r.Gateway == "" && r.Format == "" && !strings.Contains(r.Pattern, "{")
	})
}

// Validate returns an Invalid error that says why the source cannot be.
func (s *Source) Validate() error {
	switch {
	case !sourceName(s.Name):
		return schema.Errorf(schema.Invalid, "%q is no name of a source: 1 to %d letters, digits, dots, dashes and underscores", s.Name, maxSourceName).WithNext("give --name")
	case s.Kind != SourceMQTT:
		return schema.Errorf(schema.Invalid, "%q is no kind of source", s.Kind).WithNext("use %s", SourceMQTT)
	case len(s.Topics) == 0:
		return schema.Errorf(schema.Invalid, "the source %s has no topic", s.Name).WithNext("give --topic, such as 'plant/{gateway}/#'")
	case s.ClientID == "" || !sourceText(s.ClientID):
		return schema.Errorf(schema.Invalid, "the client identifier of %s is empty, too long, or no text", s.Name)
	case !sourceText(s.User):
		return schema.Errorf(schema.Invalid, "the user name of %s is too long, or no text", s.Name)
	case len(s.Sealed) > 0 && s.User == "":
		return schema.Errorf(schema.Invalid, "the source %s has a password and no user name", s.Name).WithNext("give --user too") // [MQTT-3.1.2-22]
	case len(s.CA) > maxSourceCA:
		return schema.Errorf(schema.Invalid, "the certificates of %s are longer than %d bytes", s.Name, maxSourceCA)
	}
	if err := s.validateURL(); err != nil {
		return err
	}
	return validateTopics(s.Topics)
}

func (s *Source) validateURL() error {
	u, err := url.Parse(s.URL)
	switch {
	case err != nil || u.Scheme != SchemeTCP && u.Scheme != SchemeTLS || u.Hostname() == "" || u.Port() == "":
		return schema.Errorf(schema.Invalid, "%q is no address of a broker", s.URL).WithNext("give one such as tcp://broker.example:1883 or tls://broker.example:8883")
	case len(s.URL) > maxSourceText || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "":
		return schema.Errorf(schema.Invalid, "the address of a broker is scheme, host and port alone").WithNext("give the user by --user and --password-file")
	case s.CA != "" && u.Scheme != SchemeTLS:
		return schema.Errorf(schema.Invalid, "certificates are for TLS").WithNext("give an address such as tls://%s", u.Host)
	}
	return nil
}

func sourceName(name string) bool {
	if name == "" || len(name) > maxSourceName {
		return false
	}
	return !strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '.' && r != '-' && r != '_'
	})
}

// sourceText reports whether a text may be sent to a broker.
func sourceText(s string) bool {
	return len(s) <= maxSourceText && utf8.ValidString(s) && !strings.ContainsRune(s, 0)
}
