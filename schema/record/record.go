// Package record holds the shapes of Berth's records: what NATS key-value buckets keep of providers, credentials,
// settings, sign-in links, tokens and running instances. All are JSON with a version field; a reader accepts the
// version before its own.
//
//	bucket (account)        key                        value
//	providers (house)       <provider>                 Provider
//	links (house)           <sha256 of the link>       Link
//	tokens (house)          <sha256 of the token>      Token
//	shares (house)          <sha256 of the secret>     Share
//	people (house)          <sha256 of the name>       Person
//	sessions (house)        <session>                  kept by web
//	services (house)        <provider>.<role>.<inst>   Service, mirrored; the house's own role is web
//	schedules (house)       <provider>.<schedule>      Schedule
//	runs (house)            <provider>.<schedule>.<begin of the period, Unix seconds>.<number>  ScheduleRun
//	runfiles (house)        <run>.<file>.<piece>       a piece of a file that a run made
//	usage (house)           <provider>.<when it was made, Unix seconds>.<day>  Usage
//	leases (house)          schedules                  which web makes scheduled reports, expires unless renewed
//	pipeline (provider)     pipeline                   Pipeline: all that its instances may know
//	pipeline (provider)     port.certificate           PortCertificate
//	pipeline (provider)     gateway.<sha256 of name>   GatewayKey
//	pipeline (provider)     sensors                    Sensors, written by reports
//	pipeline (provider)     groups.<shard>             Groups of some gateways, written by reports
//	pipeline (provider)     annotations.<sha256 of name>  Annotations of a gateway, written by reports
//	services (provider)     <role>.<instance>          Service, expires unless renewed
//	episodes (provider)     <role>                     Episodes: what was out of the ordinary, kept by the instance
//	episodes (provider)     waiting.<sha256 of name>   Waiting: a gateway that waits for approval
//	episodes (provider)     shown.<sha256 of name>     Shown: how a key was shown; shown.enrolment of the enrolment key
//	episodes (provider)     log.trimmed                the sequence up to which the log is trimmed, in decimal: internal/bus
//	episodes (provider)     log.unchecked              the first claim since the keyspace was asked last, in decimal: internal/bus
package record

import (
	"fmt"
	"maps"
	"slices"
	"time"
	"unicode/utf8"

	"berth/schema"
)

// Version is the version that this release writes, of all but providers.
const Version = 1

// ProviderVersion is the newest version of a Provider. The second knows Stopped and Roles. A record that has neither is
// written as the first, so that the release before can still be gone back to; one that has must not be read by it, since
// it would start what is to be stopped.
const ProviderVersion = 2

// Provider is what is wanted of a provider, and its secrets as the house keeps them.
type Provider struct {
	Version   int         `json:"version"`
	Name      string      `json:"name"`
	Slot      schema.Slot `json:"slot"`
	Keyspace  string      `json:"keyspace"`            // the keyspace's name within its backend
	Placement Placement   `json:"placement,omitempty"` // chosen once
	Created   time.Time   `json:"created"`
	Wanted    Wanted      `json:"wanted"`
	Purge     bool        `json:"purge,omitempty"`   // when Wanted is Removed: the data goes too
	Removed   time.Time   `json:"removed,omitzero"`  // when removal began; a freed port rests from here
	Restart   int         `json:"restart,omitempty"` // raised by one to ask for a restart of the instances
	Freed     []Freed     `json:"freed,omitempty"`   // slots that it had before its data were purged, while they rest
	Settings  Settings    `json:"settings"`
	Sources   []Source    `json:"sources,omitempty"`

	Roles map[string]Wish `json:"roles,omitempty"` // what is wanted of the instances of a role, where it is not the default

	EnrolmentHash   string `json:"enrolment_hash"`              // SHA-256 of the enrolment key, hex
	EnrolmentSealed []byte `json:"enrolment_sealed"`            // the key, sealed with the house's secret: the page shows it
	ReportsToken    string `json:"reports_token"`               // signs the house's requests to the provider's reports
	GatewayCA       string `json:"gateway_ca,omitempty"`        // PEM: the authority that signs its gateways' certificates; empty: none yet
	GatewayCASealed []byte `json:"gateway_ca_sealed,omitempty"` // that with its key, sealed alike
	KeyspaceSealed  []byte `json:"keyspace_sealed,omitempty"`   // the password of its keyspace's role, sealed alike; nil: from before there were any
	Account         string `json:"account"`                     // the provider's NATS account (a public key)
}

// Placement says whether a provider has a keyspace of its own.
type Placement string

// The placements.
const (
	Own    Placement = ""       // a keyspace of its own
	Shared Placement = "shared" // in one keyspace with others that chose so
)

// Freed is a slot that was freed.
type Freed struct {
	Slot schema.Slot `json:"slot"`
	At   time.Time   `json:"at"` // it rests from here
}

// Wanted says what should become of a provider.
type Wanted string

// What may be wanted of a provider.
const (
	Active  Wanted = "active"
	Stopped Wanted = "stopped" // no instance runs; slot, data and keys stay, and settings can be changed
	Removed Wanted = "removed"
)

// Stamp sets the record's version to the lowest that can say what it says.
func (p *Provider) Stamp() {
	p.Version = Version
	if p.Wanted == Stopped || len(p.Roles) > 0 {
		p.Version = ProviderVersion
	}
}

// SetRole changes what is wanted of a role. The map is made anew, since records share it.
func (p *Provider) SetRole(role string, w Wish) {
	roles := maps.Clone(p.Roles)
	if roles == nil {
		roles = map[string]Wish{}
	}
	if roles[role] = w; w == (Wish{}) {
		delete(roles, role)
	}
	p.Roles = roles
}

// Settings are what a provider may set about its own data; changes are live within a second.
type Settings struct {
	GatewayTag    string        `json:"gateway_tag,omitempty"`    // the tag that names the gateway; empty: gateway, else host
	AttributeTags []string      `json:"attribute_tags,omitempty"` // tags kept with the gateway, no part of a sensor's name
	Retention     time.Duration `json:"retention"`                // how long readings are kept, ns
	Future        time.Duration `json:"future"`                   // how far ahead of now a reading's time may lie, ns
	Timezone      string        `json:"timezone"`                 // IANA name
	Limits        Limits        `json:"limits"`
	RequireTLS    bool          `json:"require_tls,omitempty"`      // gateways may connect by TLS alone
	Approve       bool          `json:"approve_gateways,omitempty"` // a new gateway that shows the enrolment key waits for approval
	ClientCA      string        `json:"client_ca,omitempty"`        // PEM: the provider's own authorities of gateways' certificates
	Networks      []string      `json:"allow_networks,omitempty"`   // whose senders need no key for bare line protocol
	DropLog       uint64        `json:"drop_log,omitempty"`         // a log that ends here, before what the keyspace has, may be given up
	Topics        []TopicRule   `json:"topics,omitempty"`           // of MQTT, asked before those that every provider has
}

// DefaultSettings returns the settings of a new provider. A reader of a record begins with them: a setting that the record
// does not have yet has its default.
func DefaultSettings() Settings {
	return Settings{
		Retention: 400 * 24 * time.Hour,
		Future:    24 * time.Hour,
		Timezone:  "UTC",
		Limits:    DefaultLimits(),
	}
}

// Validate returns an Invalid error that names the first setting which cannot be.
func (s Settings) Validate() error {
	switch _, err := time.LoadLocation(s.Timezone); {
	case err != nil || s.Timezone == "" || s.Timezone == "Local":
		return schema.Errorf(schema.Invalid, "timezone %q is unknown", s.Timezone).WithNext("give an IANA name such as Europe/Berlin")
	case s.Retention < 24*time.Hour || s.Retention > 100*365*24*time.Hour:
		return schema.Errorf(schema.Invalid, "a retention of %v is not between 1 day and 100 years", s.Retention)
	case s.Future < time.Minute || s.Future > 366*24*time.Hour:
		return schema.Errorf(schema.Invalid, "a future window of %v is not between 1 minute and 366 days", s.Future)
	case s.GatewayTag != "" && !utf8.ValidString(s.GatewayTag):
		return schema.Errorf(schema.Invalid, "the gateway tag is not UTF-8")
	case len(s.AttributeTags) > 32:
		return schema.Errorf(schema.Invalid, "%d attribute tags are more than 32", len(s.AttributeTags))
	case s.GatewayTag != "" && slices.Contains(s.AttributeTags, s.GatewayTag):
		return schema.Errorf(schema.Invalid, "the tag %q cannot name the gateway and be its attribute", s.GatewayTag)
	case slices.Contains(s.AttributeTags, ""):
		return schema.Errorf(schema.Invalid, "an attribute tag has no name")
	}
	if err := validateTopics(s.Topics); err != nil {
		return err
	}
	if _, err := Authorities(s.ClientCA); err != nil {
		return err
	}
	if err := checkNetworks(s.Networks); err != nil {
		return err
	}
	return s.Limits.validate()
}

// Pipeline is all that a provider's instances may know about it. The provisioner writes it into the provider's account.
type Pipeline struct {
	Version       int         `json:"version"`
	Name          string      `json:"name"`
	Slot          schema.Slot `json:"slot"`
	Keyspace      string      `json:"keyspace"`
	Settings      Settings    `json:"settings"`
	EnrolmentHash string      `json:"enrolment_hash"`
	ReportsToken  string      `json:"reports_token"`
	GatewayCA     string      `json:"gateway_ca,omitempty"` // PEM
	Sources       []Source    `json:"sources,omitempty"`
}

// PipelineKey is the key of the Pipeline in its bucket.
const PipelineKey = "pipeline"

// Service roles.
const (
	RoleIngest  = "ingest"
	RoleReports = "reports"
	RoleWeb     = "web"
)

// Service is a running instance, as it announces itself.
type Service struct {
	Version  int       `json:"version"`
	Provider string    `json:"provider,omitempty"` // empty: the house's own
	Role     string    `json:"role"`
	Instance string    `json:"instance"`
	Address  string    `json:"address"` // host:port of its HTTP API, or of ingest's port
	Program  string    `json:"program"` // version of the program
	Spec     string    `json:"spec"`    // hash of what it was started with
	Started  time.Time `json:"started"`
	State    string    `json:"state"` // "ready", "replaying", "slow", ...: one word
	Detail   string    `json:"detail,omitempty"`
	Since    time.Time `json:"since,omitzero"`     // when the state began; zero: it is as it should be
	Episodes []Episode `json:"episodes,omitempty"` // all that last now, the gravest first: its state is the first one's
	PID      int       `json:"pid,omitempty"`
}

// Key returns the service's key in its provider's own bucket: <role>.<instance>.
func (s Service) Key() string { return fmt.Sprintf("%s.%s", s.Role, s.Instance) }

// Episode is a time in which an instance was not as it should be.
type Episode struct {
	State  string    `json:"state"`
	Detail string    `json:"detail,omitempty"` // as it was last
	From   time.Time `json:"from"`
	To     time.Time `json:"to,omitzero"`     // zero: it lasts
	Times  int       `json:"times,omitempty"` // how often it ended and began again at once; 0: never
}

// Episodes are what an instance's role keeps of its episodes: those that last, then the newest that have ended.
type Episodes struct {
	Version  int       `json:"version"`
	Episodes []Episode `json:"episodes"`
}
