package intake

import (
	"context"
	"time"

	"berth/ingest/commit"
	"berth/ingest/format"
	"berth/schema"
)

// Again is a payload that was refused, to be taken in by the keys and settings of now.
type Again struct {
	Payload
	Gateway string // who sent it
	Relay   bool
	Arrived time.Time // readings without a time get this one, so that feeding it twice changes nothing
}

// Feed takes in what was refused before. It counts as a frame of its own. The report says what is refused still; only an
// error leaves it unknown whether the log has the rest.
func (in *Intake) Feed(ctx context.Context, a *Again) (format.Report, error) {
	if full := in.Full(); full != nil {
		return format.Report{}, full
	}
	keys := in.Keys()
	id, err := keys.sender(a.Gateway, a.Relay)
	if err != nil {
		return format.Report{}, err
	}
	rows := commit.TakeRows()
	report, err := in.decode(keys, id, &a.Payload, a.Arrived.UnixNano(), rows)
	if err != nil || report.Accepted == 0 && report.Rejected > 0 {
		commit.GiveRows(rows)
		in.Committer.Count(commit.Counts{FramesRejected: 1, Reasons: report.Reasons})
		return report, nil //nolint:nilerr // the report says it
	}
	counts := commit.Counts{Frames: 1, Rejected: uint64(report.Rejected), Reasons: report.Reasons}
	return report, in.Committer.Put(ctx, rows, counts)
}

// sender returns who sent something before, by what is known of him now. A gateway that was revoked is Forbidden.
func (k *Keys) sender(gateway string, relay bool) (Identity, error) {
	if gateway == "" {
		return Identity{Relay: relay}, nil
	}
	own := k.gateways[gateway]
	if own != nil && !own.Revoked.IsZero() {
		return Identity{}, schema.Errorf(schema.Forbidden, "gateway %q was revoked", gateway).WithNext("give it a key again, or remove what it sent")
	}
	return Identity{Gateway: gateway, Relay: relay || own != nil && own.Relay}, nil
}
