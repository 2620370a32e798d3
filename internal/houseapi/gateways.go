package houseapi

import "time"

// The states of a gateway, as lists of keys show it.
const (
	GatewayKeyed     = "key"         // it has a key of its own
	GatewayCertified = "certificate" // it has a certificate of its own, signed here
	GatewayKnown     = "known"       // something is recorded of it, and it shows what any gateway may show
	GatewayApproved  = "approved"    // it shows the enrolment key
	GatewayWaiting   = "waiting"     // it has shown the enrolment key, and waits for approval
	GatewayRevoked   = "revoked"     // it is shut out
)

// Gateway is how a gateway shows who it is: one that has, or had, a key of its own, was approved or shut out, or waits for
// approval. Times that are absent have not been.
type Gateway struct {
	Provider string     `json:"provider"`
	Gateway  string     `json:"gateway"`
	State    string     `json:"state"`
	Relay    bool       `json:"relay"`
	PSK      bool       `json:"psk,omitempty"` // its key may be a pre-shared one, of CoAP within DTLS
	Created  time.Time  `json:"created"`       // of one that waits: when it came first
	Revoked  *time.Time `json:"revoked,omitempty"`
	HadKey   bool       `json:"had_key,omitempty"` // of one that is shut out: adding it again gives it a new one
	Approved *time.Time `json:"approved,omitempty"`

	Used     *time.Time `json:"used,omitempty"`       // its key, first
	Clear    *time.Time `json:"clear,omitempty"`      // its key was first shown on a plain connection, where others may have read it
	LastSo   *time.Time `json:"clear_last,omitempty"` // and last, to the day
	Previous *Previous  `json:"previous,omitempty"`   // the key before is still good

	Serial  string     `json:"serial,omitempty"`          // of its certificate, in hex
	Until   *time.Time `json:"until,omitempty"`           // when its certificate ends
	Serials []string   `json:"revoked_serials,omitempty"` // of certificates by the provider's own authority

	Address string     `json:"address,omitempty"` // of one that waits: from where it came last
	Last    *time.Time `json:"last,omitempty"`    // and when
	Times   uint64     `json:"times,omitempty"`   // and how often, about
}

// Previous is a key that was replaced and is still good.
type Previous struct {
	Until     time.Time `json:"until"`
	UntilUsed bool      `json:"until_used,omitempty"` // and no longer than until the new key is first used
}

// GatewayRequest asks for a gateway's key, for another, for its end, or for approval. What an act does not need is ignored.
type GatewayRequest struct {
	Gateway   string  `json:"gateway"`
	Relay     bool    `json:"relay,omitempty"`
	PSK       bool    `json:"psk,omitempty"`        // of add and rotate: the key may be a pre-shared one, of CoAP within DTLS
	Cert      bool    `json:"cert,omitempty"`       // of add and rotate: a certificate in the place of a key
	Life      *string `json:"life,omitempty"`       // of the certificate, such as "730d"
	Serial    string  `json:"serial,omitempty"`     // of revoke: this certificate alone, by the provider's own authority
	Overlap   *string `json:"overlap,omitempty"`    // of rotate: how long the key before stays good, such as "24h"; absent: a day
	UntilUsed bool    `json:"until_used,omitempty"` // of rotate: and no longer than until the new one is first used
}

// GatewayKey is a gateway's key, which is shown once; it is empty when there is no new one.
type GatewayKey struct {
	Gateway
	Key     string `json:"key"`
	Cert    string `json:"certificate,omitempty"` // PEM, in the place of a key
	Secret  string `json:"private_key,omitempty"` // PEM, of the certificate
	CA      string `json:"ca,omitempty"`          // PEM: whom the gateway is to trust of the port; empty: its certificate comes from files
	Changed bool   `json:"changed"`
	Taken
}

// Taken says whether the provider's ingest goes by a change that was written.
type Taken struct {
	Live    bool   `json:"live"`              // it does
	Refused bool   `json:"refused,omitempty"` // it cannot use it, and goes by what was before; else it will go by it once it runs
	Why     string `json:"why,omitempty"`     // it does not yet
}

// Enrolment is what was seen of the enrolment key. Times that are absent have not been.
type Enrolment struct {
	Used   *time.Time `json:"used,omitempty"`  // first
	Clear  *time.Time `json:"clear,omitempty"` // first shown on a plain connection
	LastSo *time.Time `json:"clear_last,omitempty"`
}

// SendersSubject is the subject of the question who may send, and of its changes. Web has decided whether whoever asks may.
const SendersSubject = "house.senders"

// SendersRequest asks who may send to a provider, after a change if there is one.
type SendersRequest struct {
	Provider string          `json:"provider"`
	Act      string          `json:"act,omitempty"` // add, rotate, revoke, approve, refuse: to the gateway; set: the settings that are not nil
	Gateway  *GatewayRequest `json:"gateway,omitempty"`
	Settings *SenderSettings `json:"settings,omitempty"`
}

// SenderSettings are a provider's settings of who may send, and of what is made of what they send. What is nil is not changed.
type SenderSettings struct {
	Timezone      *string   `json:"timezone,omitempty"`       // IANA name
	Retention     *string   `json:"retention,omitempty"`      // such as 400d, 52w, 5y or 36h
	GatewayTag    *string   `json:"gateway_tag,omitempty"`    // that names the gateway; empty: gateway, else host
	AttributeTags *[]string `json:"attribute_tags,omitempty"` // that are kept with the gateway, and are no part of a sensor's name

	RequireTLS *bool `json:"require_tls,omitempty"`
	Approve    *bool `json:"approve_gateways,omitempty"`

	Networks *[]string `json:"allow_networks,omitempty"` // whose senders need no key for bare line protocol
	ClientCA *string   `json:"client_ca,omitempty"`      // PEM: the provider's own authorities of gateways' certificates; empty: none
}

// Authority is an authority of the provider's own, whose certificates name gateways.
type Authority struct {
	Name  string    `json:"name"`
	Until time.Time `json:"until"`
}

// Senders are who may send to a provider, and what is made of what they send.
type Senders struct {
	Timezone      string   `json:"timezone"`
	Retention     string   `json:"retention"`
	GatewayTag    string   `json:"gateway_tag"`
	AttributeTags []string `json:"attribute_tags"`

	RequireTLS bool        `json:"require_tls"`
	Approve    bool        `json:"approve_gateways"`
	Networks   []string    `json:"allow_networks"`
	Hidden     bool        `json:"addresses_hidden,omitempty"` // senders' addresses may be an engine's: no network can be allowed
	ClientCA   []Authority `json:"client_ca"`
	Enrolment  Enrolment   `json:"enrolment"`
	Gateways   []Gateway   `json:"gateways"`
	Changed    *GatewayKey `json:"changed,omitempty"` // the gateway that was changed; a new key is shown this once
	Taken      *Taken      `json:"taken,omitempty"`   // what became of a change
}
