// Package control is the provisioner's API: HTTP and JSON over a unix socket in the data directory, which only its owner
// may open. The command line speaks to the daemon through it, and through nothing else.
//
//	GET    /v1/status                                 Status
//	GET    /v1/plan                                   []plan.Step
//	GET    /v1/doctor                                 []doctor.Check
//	GET    /v1/logs?name=&lines=&follow=              text
//	POST   /v1/links                                  LinkRequest → Link
//	GET    /v1/orphans                                []plan.Orphan
//	POST   /v1/gc                                     CollectRequest → Collected
//	GET    /v1/usage                                  usage.Usage  ?provider= ?month= ?by_month=true
//	*      /v1/tokens                                 an operator's tokens, as those of a provider
//	GET    /v1/providers                              []Provider   ?all=true with the removed ones, ?usage=true with memory
//	POST   /v1/providers                              AddRequest → Added
//	GET    /v1/providers/{provider}                   Provider     ?usage=true with memory
//	DELETE /v1/providers/{provider}?purge=true        Removed
//	POST   /v1/providers/{provider}/restart           Provider     ?password=new: of its keyspace's role, and of NATS
//	POST   /v1/providers/{provider}/stop              Changed
//	POST   /v1/providers/{provider}/start             Changed
//	POST   /v1/providers/{provider}/update            UpdateRequest → Updated
//	POST   /v1/providers/{provider}/exec              ExecRequest → ExecEvents, a JSON object a line
//	PATCH  /v1/providers/{provider}/settings          SettingsChange → SettingsChanged
//	GET    /v1/providers/{provider}/tokens            []Token
//	POST   /v1/providers/{provider}/tokens            TokenRequest → NewToken
//	DELETE /v1/providers/{provider}/tokens?name=      Token
//	GET    /v1/providers/{provider}/gateways          []Gateway
//	POST   /v1/providers/{provider}/gateways          GatewayRequest → GatewayKey   ?act=add|rotate|revoke|approve|refuse
//	GET    /v1/providers/{provider}/enrolment         Enrolment
//	GET    /v1/providers/{provider}/sources           []Source
//	POST   /v1/providers/{provider}/sources           SourceRequest → SourceChanged
//	DELETE /v1/providers/{provider}/sources?name=     SourceChanged
//	*      /v1/providers/{provider}/reports/…         what its reports answers (internal/api)
//
// Errors are problems of RFC 9457 that carry a schema.Error's code, text and next command; the client makes them
// schema.Errors again. The package's one invariant: it decides nothing about the world; it changes records and shows
// what the loop sees.
package control

import (
	"time"

	"berth/internal/houseapi"
	"berth/provisioner/runtime"
	"berth/schema"
	"berth/schema/record"
)

// Status is what the daemon says of itself.
type Status struct {
	Install   string    `json:"install"`
	Version   string    `json:"version"`
	PID       int       `json:"pid"`
	Started   time.Time `json:"started"`
	Data      string    `json:"data"`
	Web       string    `json:"web"` // URL
	Host      string    `json:"host"`
	PortBase  int       `json:"port_base"`
	NATS      string    `json:"nats"` // URL
	Keyspaces string    `json:"keyspaces"`
	CA        string    `json:"ca"` // PEM: whom to trust of the ports by TLS; empty: their certificate comes from files
}

// Provider is a provider as lists show it.
type Provider struct {
	Name      string      `json:"name"`
	Slot      schema.Slot `json:"slot"`
	Port      int         `json:"port"`
	Host      string      `json:"host"` // to send to
	Keyspace  string      `json:"keyspace"`
	State     string      `json:"state"`  // ready, starting, degraded, crash-looping, stopping, stopped, removing, removed, resting
	Detail    string      `json:"detail"` // what it waits for, or what is wrong
	Created   time.Time   `json:"created"`
	Removed   *time.Time  `json:"removed,omitempty"`
	DataKept  bool        `json:"data_kept,omitempty"` // of a removed one
	Settings  Settings    `json:"settings"`
	Instances []Instance  `json:"instances"`

	Roles map[string]record.Wish `json:"roles,omitempty"` // what is wanted of instances, where it is not the default
}

// Settled reports whether a provider is as it was asked to be, so that nothing is to be waited for.
func (p *Provider) Settled() bool {
	for _, w := range p.Roles {
		if w.Trial != nil && p.State != Stopped {
			return false
		}
	}
	return p.State == Ready || p.State == Stopped
}

// The states of a provider.
const (
	Ready    = "ready"
	Starting = "starting"      // it has not been ready since the provisioner started
	Degraded = "degraded"      // it was ready, and something is wrong
	Looping  = "crash-looping" // an instance ends again and again, soon after its start
	Stopping = "stopping"
	Stopped  = "stopped" // until somebody starts it
	Removing = "removing"
	Removed  = "removed" // its data are kept
	Resting  = "resting" // its data are gone; its slot is not given yet
)

// States returns all of them.
func States() []string {
	return []string{Ready, Starting, Degraded, Looping, Stopping, Stopped, Removing, Removed, Resting}
}

// Instance is a running instance: what the runtime knows, and what it says of itself. Its restarts are those by the
// runtime and by the loop.
type Instance struct {
	runtime.Instance
	Memory  *int64     `json:"memory,omitempty"`  // that it uses, in bytes; absent: unknown, or not asked for
	Program string     `json:"program,omitempty"` // the version of the program, as it says itself: an image may hold another than the daemon's
	Address string     `json:"address,omitempty"`
	Says    string     `json:"says,omitempty"` // ready, replaying, slow, full, disk, quota, stalled, aside
	Detail  string     `json:"detail,omitempty"`
	Since   *time.Time `json:"since,omitempty"` // when what it says began; absent: it is as it should be
}

// Settings are a provider's settings in a form for people.
type Settings struct {
	GatewayTag    string        `json:"gateway_tag"`
	AttributeTags []string      `json:"attribute_tags"`
	Retention     string        `json:"retention"` // "400d"
	Future        string        `json:"future"`    // how far ahead of now a reading's time may lie
	Timezone      string        `json:"timezone"`
	RequireTLS    bool          `json:"require_tls"`              // gateways may connect by TLS alone
	Approve       bool          `json:"approve_gateways"`         // new gateways wait for approval
	Networks      []string      `json:"allow_networks,omitempty"` // whose senders need no key for bare line protocol
	ClientCA      []string      `json:"client_ca,omitempty"`      // whose certificates gateways may show, beside those signed here: the subjects
	Limits        record.Limits `json:"limits"`

	Topics []record.TopicRule `json:"topics"` // of MQTT, in the order in which they are asked
}

// SettingsChange changes what is not nil.
type SettingsChange struct {
	GatewayTag    *string   `json:"gateway_tag,omitempty"`
	AttributeTags *[]string `json:"attribute_tags,omitempty"`
	Retention     *string   `json:"retention,omitempty"`
	Future        *string   `json:"future,omitempty"`
	Timezone      *string   `json:"timezone,omitempty"`
	RequireTLS    *bool     `json:"require_tls,omitempty"`
	Approve       *bool     `json:"approve_gateways,omitempty"`
	ClientCA      *string   `json:"client_ca,omitempty"` // PEM; empty: none
	Networks      *[]string `json:"allow_networks,omitempty"`
	DropLog       *uint64   `json:"drop_log,omitempty"`

	Limits map[string]int64 `json:"limits,omitempty"` // by the names of record.Limits

	AddTopic    *record.TopicRule `json:"add_topic,omitempty"` // behind the others, or in the place of the one with its pattern
	FirstTopic  bool              `json:"first_topic,omitempty"`
	RemoveTopic *string           `json:"remove_topic,omitempty"` // by its pattern
}

// SettingsChanged are the settings after a change.
type SettingsChanged struct {
	Name    string `json:"name"`
	Changed bool   `json:"changed"`
	Taken
	Settings
}

// AddRequest asks for a provider.
type AddRequest struct {
	Name      string           `json:"name"`
	Placement record.Placement `json:"placement,omitempty"`
}

// Added is what somebody needs to know of a provider that was added.
type Added struct {
	Provider
	Changed      bool     `json:"changed"`
	Restored     bool     `json:"restored"` // it had been removed; its data and keys are what they were
	EnrolmentKey string   `json:"enrolment_key"`
	AdminURL     string   `json:"admin_url"`       // a one-time sign-in link
	Skipped      []string `json:"skipped"`         // ports that were not given, and why
	Notes        []string `json:"notes,omitempty"` // what somebody should know
}

// RemovedProvider is what came of a removal.
type RemovedProvider struct {
	Name    string `json:"name"`
	Slot    int    `json:"slot"`
	Purge   bool   `json:"purge"`
	Changed bool   `json:"changed"`
}

// LinkRequest asks for a one-time sign-in link: a provider's admin's, or without a provider the operator's.
type LinkRequest struct {
	Provider string      `json:"provider"`
	Role     record.Role `json:"role,omitempty"`   // of a provider's: admin, which is the default, or viewer
	Invite   bool        `json:"invite,omitempty"` // whoever opens it chooses a name and a password
}

// Link is a one-time sign-in link.
type Link struct {
	URL     string    `json:"url"`
	Expires time.Time `json:"expires"`
}

// TokenRequest asks for an API token.
type TokenRequest struct {
	Name    string       `json:"name"`
	Scope   record.Scope `json:"scope,omitempty"`  // empty: write
	Expires time.Time    `json:"expires,omitzero"` // zero: never
}

// NewToken is an API token with its secret, which is shown once.
type NewToken struct {
	Provider string       `json:"provider"`
	Name     string       `json:"name"`
	Scope    record.Scope `json:"scope"`
	Expires  time.Time    `json:"expires,omitzero"`
	Token    string       `json:"token"`
}

// Token is an API token without its secret.
type Token struct {
	Provider string       `json:"provider"`
	Name     string       `json:"name"`
	Scope    record.Scope `json:"scope,omitempty"`
	Created  time.Time    `json:"created"`
	Expires  time.Time    `json:"expires,omitzero"`
	Used     time.Time    `json:"used,omitzero"` // last, to ten minutes
}

// What is said of gateways' keys the pages say too.
type (
	// GatewayRequest asks for a gateway's key, or for its end.
	GatewayRequest = houseapi.GatewayRequest
	// Gateway is how a gateway shows who it is.
	Gateway = houseapi.Gateway
	// GatewayKey is a gateway's key, which is shown once.
	GatewayKey = houseapi.GatewayKey
	// Taken says whether ingest goes by a change.
	Taken = houseapi.Taken
	// Enrolment is what was seen of the enrolment key.
	Enrolment = houseapi.Enrolment
)
