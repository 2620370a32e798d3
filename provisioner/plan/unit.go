package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	"berth/schema"
	"berth/schema/record"
)

// Unit is an instance that should run: everything whose change means a new start, what it may use, and nothing secret.
type Unit struct {
	Provider string      `json:"provider,omitempty"`
	Role     string      `json:"role"`
	Slot     schema.Slot `json:"slot,omitempty"`
	Keyspace string      `json:"keyspace,omitempty"`
	Host     string      `json:"host"`
	PortBase int         `json:"port_base"`
	Listen   string      `json:"listen,omitempty"` // of web
	Told     string      `json:"told,omitempty"`   // see Site
	Mail     string      `json:"mail,omitempty"`   // see Site
	Front    string      `json:"front,omitempty"`  // see Site
	Version  string      `json:"version"`
	Restart  int         `json:"restart,omitempty"`
	Access   string      `json:"access,omitempty"` // fingerprint of the sealed password of its keyspace's role
	Image    string      `json:"image,omitempty"`  // of a container; empty: the runtime's own

	Resources record.Resources `json:"resources,omitzero"` // changed in place: no part of Hash
}

// Name returns the unit's name within the installation.
func (u Unit) Name() string {
	if u.Provider == "" {
		return u.Role
	}
	return u.Provider + "-" + u.Role
}

// Hash returns the hash of the unit: a running instance of another hash is replaced.
func (u Unit) Hash() string {
	u.Resources = record.Resources{}
	return fingerprint(u)
}

// Roles returns the roles of a pipeline in the order in which they are started.
func Roles() []string { return []string{record.RoleIngest, record.RoleReports} }

func providerUnit(p *record.Provider, role string, site Site) Unit {
	wish := p.Roles[role]
	return Unit{
		Provider: p.Name, Role: role, Slot: p.Slot, Keyspace: p.Keyspace,
		Host: site.Host, PortBase: site.PortBase, Told: site.Told, Version: site.Version, Restart: p.Restart, Access: Access(p),
		Image: wish.Image, Resources: wish.Resources,
	}
}

// Access returns the fingerprint of what lets the provider's instances into its keyspace; empty when there is nothing.
func Access(p *record.Provider) string {
	if len(p.KeyspaceSealed) == 0 {
		return ""
	}
	return fingerprint(p.KeyspaceSealed)
}

func webUnit(site Site) Unit {
	return Unit{Role: record.RoleWeb, Host: site.Host, PortBase: site.PortBase, Listen: site.Web, Told: site.Told, Mail: site.Mail, Front: site.Front, Version: site.Version}
}

// Pipeline returns the record that tells a provider's instances all they may know.
func Pipeline(p *record.Provider) record.Pipeline {
	return record.Pipeline{
		Version: record.Version, Name: p.Name, Slot: p.Slot, Keyspace: p.Keyspace,
		Settings: p.Settings, EnrolmentHash: p.EnrolmentHash, ReportsToken: p.ReportsToken, GatewayCA: p.GatewayCA,
		Sources: p.Sources, // whose passwords are sealed for the house: who writes it seals them for the pipeline
	}
}

// PipelineFingerprint returns the fingerprint of the provider's pipeline record.
func PipelineFingerprint(p *record.Provider) string { return fingerprint(Pipeline(p)) }

// MailFingerprint returns the fingerprint of the settings of the mail server; empty when there is none.
func MailFingerprint(settings []byte) string {
	if len(settings) == 0 {
		return ""
	}
	return fingerprint(settings)
}

// FrontFingerprint returns the fingerprint of how browsers reach web; empty when there is nothing to tell it.
func FrontFingerprint(base, proxies, certificate string) string {
	if base == "" && proxies == "" && certificate == "" {
		return ""
	}
	return fingerprint([]string{base, proxies, certificate})
}

// fingerprint returns the first twelve hex digits of the SHA-256 of v's JSON.
func fingerprint(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // plain structs of ours
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:6])
}
