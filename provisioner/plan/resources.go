package plan

import (
	"berth/provisioner/runtime"
	"berth/schema/record"
)

// planResources changes what a running instance may use, when it was last told something else. What one was told that runs
// since before the provisioner's start is unknown: its runtime may have its own defaults in the place of what is not set.
func planResources(p *record.Provider, u Unit, state State) []Step {
	i, ok := state.Instances[u.Role]
	told, known := state.Told[u.Role]
	if !ok || i.State != runtime.Running || i.Hash != u.Hash() || known && told == u.Resources {
		return nil
	}
	code := "resources"
	if !known {
		code = "resources_unsure"
	}
	return []Step{{Provider: u.Provider, Kind: Update, Role: u.Role, Unit: &u, Why: because(code, "resources", u.Resources.String()), Record: *p}}
}
