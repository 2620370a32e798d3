package provisioner

import (
	"context"
	"fmt"
	"strings"
	"time"

	"berth/provisioner/doctor"
	"berth/provisioner/house"
	"berth/schema"
	"berth/schema/record"
)

const (
	// certSoon is how long before its end a gateway's certificate is named.
	certSoon = 30 * 24 * time.Hour
	// sendersLimit bounds how long the doctor looks at who may send, of all providers together.
	sendersLimit = 5 * time.Second
	// sendersNamed is how many gateways are named.
	sendersNamed = 5
)

// examineSenders looks for gateways that wait for somebody: for approval, or soon for a new certificate.
func (p *Provisioner) examineSenders(ctx context.Context) []doctor.Check {
	const name = "gateways"
	ctx, cancel := context.WithTimeout(ctx, sendersLimit)
	defer cancel()
	providers, err := p.house.Providers(ctx)
	if err != nil {
		return nil // another check says so
	}
	var checks []doctor.Check
	for i := range providers {
		provider := &providers[i]
		if provider.Wanted != record.Active {
			continue
		}
		all, err := p.sendersOf(ctx, provider)
		if schema.Is(err, schema.Unavailable) {
			continue // its log is not ready: another check says so
		}
		if err != nil {
			checks = append(checks, doctor.Bad(doctor.Warn, name, "look at the daemon's own log", "%s: who may send cannot be looked at: %s", provider.Name, schema.Show(err)))
			continue
		}
		checks = append(checks, sendersToName(provider, all, time.Now())...)
	}
	if len(checks) == 0 {
		return []doctor.Check{doctor.Good(name, "none waits for approval, and no certificate ends within %d days", int(certSoon.Hours()/24))}
	}
	return checks
}

func (p *Provisioner) sendersOf(ctx context.Context, provider *record.Provider) ([]house.Seen, error) {
	pipeline, err := p.world.Bucket(ctx, provider.Name)
	if err != nil {
		return nil, err
	}
	seen, err := p.world.Seen(ctx, provider.Name)
	if err != nil {
		return nil, err
	}
	all, _, err := p.house.Gateways(provider.Name, pipeline, seen).List(ctx, provider.EnrolmentHash)
	return all, err
}

// sendersToName returns what is to be said of a provider's gateways.
func sendersToName(provider *record.Provider, all []house.Seen, now time.Time) []doctor.Check {
	const name = "gateways"
	var waiting, ended, ending []string
	for _, s := range all {
		switch k := s.Key; {
		case s.Waiting != nil && provider.Settings.Approve:
			waiting = append(waiting, s.Gateway)
		case k == nil || k.Cert == nil || !k.Revoked.IsZero():
		case !now.Before(k.Cert.Until):
			ended = append(ended, s.Gateway)
		case k.Cert.Until.Sub(now) < certSoon:
			ending = append(ending, fmt.Sprintf("%s on %s", s.Gateway, k.Cert.Until.Format(time.DateOnly)))
		}
	}
	var checks []doctor.Check
	say := func(state doctor.State, found []string, next, text string) {
		if n := len(found); n > 0 {
			if n > sendersNamed {
				found = append(found[:sendersNamed:sendersNamed], fmt.Sprintf("%d more", n-sendersNamed))
			}
			check := doctor.Bad(state, name, fmt.Sprintf(next, provider.Name), text, provider.Name, strings.Join(found, ", "))
			check.Provider = provider.Name
			checks = append(checks, check)
		}
	}
	say(doctor.Warn, waiting, "provisioner gateway approve %[1]s GATEWAY, or refuse", "%s: new gateways wait for approval: %s")
	say(doctor.Fail, ended, "provisioner gateway rotate %[1]s GATEWAY, and give it what is printed", "%s: certificates have ended, and their gateways are refused: %s")
	say(doctor.Warn, ending, "provisioner gateway rotate %[1]s GATEWAY, and give it what is printed: the old one goes on meanwhile", "%s: certificates end soon: %s")
	return checks
}
