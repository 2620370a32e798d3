package survey

import (
	"cmp"
	"slices"

	"berth/internal/houseapi"
	"berth/internal/metrics"
	"berth/provisioner/control"
	"berth/provisioner/doctor"
	"berth/schema/record"
)

// textMost bounds what one check says on a page, in characters.
const textMost = 500

// Show returns a survey and what the doctor found as the operator's pages show them; v is nil when the installation could
// not be seen. When it was seen, and the disks, is for the caller to say.
func Show(v *Survey, portBase int, checks []doctor.Check) *houseapi.Survey {
	out := &houseapi.Survey{Checks: []houseapi.SurveyCheck{}, Disks: []houseapi.SurveyDisk{}, Providers: []houseapi.SurveyProvider{}}
	for i := range checks {
		c := &checks[i]
		if c.State == doctor.OK {
			out.Passed++
			continue
		}
		out.Checks = append(out.Checks, houseapi.SurveyCheck{
			Name: c.Name, Provider: c.Provider, Fails: c.State == doctor.Fail, Text: cut(c.Text), Next: cut(c.Next),
		})
	}
	slices.SortStableFunc(out.Checks, func(a, b houseapi.SurveyCheck) int { return cmp.Compare(gravity(&a), gravity(&b)) })
	if n := len(out.Checks); n > houseapi.SurveyChecks {
		out.Checks, out.More = out.Checks[:houseapi.SurveyChecks], n-houseapi.SurveyChecks
	}
	if v == nil {
		return out
	}
	at := map[string][]*Instance{}
	for i := range v.Instances {
		at[v.Instances[i].Provider] = append(at[v.Instances[i].Provider], &v.Instances[i])
	}
	for i := range v.Providers {
		if p := &v.Providers[i]; p.Wanted != record.Removed {
			out.Providers = append(out.Providers, v.show(p, portBase, at[p.Name]))
		}
	}
	slices.SortFunc(out.Providers, func(a, b houseapi.SurveyProvider) int { return cmp.Compare(a.Port, b.Port) })
	return out
}

// gravity orders checks: what fails is first.
func gravity(c *houseapi.SurveyCheck) int {
	if c.Fails {
		return 0
	}
	return 1
}

// show returns what is known of a provider.
func (v *Survey) show(p *record.Provider, portBase int, instances []*Instance) houseapi.SurveyProvider {
	out := houseapi.SurveyProvider{Provider: p.Name, Port: p.Slot.Port(portBase), Instances: []houseapi.SurveyInstance{}}
	out.State, out.Detail = control.StateOf(p, v.Steps, v.World)
	out.Detail = cut(out.Detail)
	for _, at := range instances {
		i := houseapi.SurveyInstance{Role: at.Role, Up: at.Up, Memory: known(&at.Answer, metrics.Resident)}
		for j := range at.Answer.Samples {
			if s := &at.Answer.Samples[j]; s.Name == metrics.BuildInfo.Name && len(s.Labels) == 1 {
				i.Version = s.Labels[0]
			}
		}
		out.Instances = append(out.Instances, i)
		if at.Role != record.RoleIngest {
			continue
		}
		out.Rate = known(&at.Answer, metrics.LimitUsed, "readings_per_second")
		out.Log, out.LogQuota, out.LogAge = known(&at.Answer, metrics.LogBytes), known(&at.Answer, metrics.LogQuota), known(&at.Answer, metrics.LogAge)
		out.Keyspace = known(&at.Answer, metrics.KeyspaceBytes)
	}
	return out
}

// known returns a value as a whole number, nil when it was not answered.
func known(a *metrics.Answer, m *metrics.Metric, labels ...string) *uint64 {
	v, ok := a.Value(m, labels...)
	if !ok || v < 0 {
		return nil
	}
	n := uint64(v)
	return &n
}

// cut bounds a text.
func cut(s string) string {
	if r := []rune(s); len(r) > textMost {
		return string(r[:textMost]) + "…"
	}
	return s
}
