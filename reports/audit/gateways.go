package audit

import (
	"context"
	"time"

	"berth/internal/api"
	"berth/reports/query"
)

// gateways recounts what is stored, gateway by gateway.
func (a *audit) gateways(ctx context.Context) error {
	for after := ""; ; {
		page, err := a.Engine.Gateways(ctx, query.GatewaysRequest{After: after, Limit: query.MostGateways})
		if err != nil {
			return err
		}
		for i := range page.Gateways {
			if err := a.gateway(ctx, page.Gateways[i].Name); err != nil {
				return err
			}
		}
		if after = page.Next; after == "" {
			return nil
		}
	}
}

// gateway recounts one gateway. While ingest is starting it is tried again.
func (a *audit) gateway(ctx context.Context, name string) error {
	k := &a.result.Keyspace
	if err := a.progress("gateway %s, the %d.: %d readings so far", name, k.Gateways+1, k.Identities); err != nil {
		return err
	}
	limit := time.Now().Add(patience)
	for {
		var findings []api.Finding
		incomplete := false
		r, err := a.Engine.Recount(ctx, name, func(f api.Finding) {
			findings = append(findings, f)
			incomplete = incomplete || f.What == api.FoundIncomplete
		})
		if err != nil {
			return err
		}
		if incomplete && time.Now().Before(limit) {
			if err := pause(ctx); err != nil {
				return err
			}
			continue
		}
		k.Gateways++
		k.Blocks += r.Blocks
		k.Tails += r.Tails
		k.Stored += r.Stored
		k.Identities += r.Identities
		k.Rollups += r.Rollups
		k.Moving += r.Moving
		k.Latest += r.Latest
		for _, f := range findings {
			if err := a.found(f); err != nil {
				return err
			}
		}
		return nil
	}
}
