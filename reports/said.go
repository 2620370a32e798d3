package reports

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"io"
	"net/http"

	"berth/internal/api"
	"berth/schema"
)

const (
	// mostSaidBody is the longest request that says something, and mostSaidRecord the longest record that keeps what is said:
	// it is one message of NATS.
	mostSaidBody   = 1 << 20
	mostSaidRecord = 512 << 10
	// sayTries is how often a change is made anew because another came between.
	sayTries = 10
)

// readSaid reads the body of a request that says something, whose digest was signed, into v.
func readSaid(req *http.Request, v any) error {
	body, err := io.ReadAll(io.LimitReader(req.Body, mostSaidBody+1))
	if err != nil || len(body) > mostSaidBody {
		return schema.Errorf(schema.TooLarge, "the request is longer than %d bytes, or broke off", mostSaidBody).WithCause(err)
	}
	if digest := req.URL.Query().Get(api.DigestParameter); subtle.ConstantTimeCompare([]byte(digest), []byte(api.Digest(body))) != 1 {
		return schema.Errorf(schema.Unauthorized, "the request's body is not the one that was signed")
	}
	if err := json.Unmarshal(body, v); err != nil {
		return schema.Errorf(schema.Invalid, "what the request says cannot be read").WithCause(err)
	}
	return nil
}

// sayRecord changes a record that reports writes, as change makes it of the one that is there, nil when there is none. It
// returns the record's revision then.
func (r *Reports) sayRecord(ctx context.Context, key string, change func(before []byte) (any, error)) (revision uint64, err error) {
	for range sayTries {
		value, before, err := r.records.Get(ctx, key)
		if err != nil && !schema.Is(err, schema.NotFound) {
			return 0, err
		}
		after, err := change(value)
		if err != nil {
			return 0, err
		}
		if value, err = json.Marshal(after); err != nil {
			return 0, err
		}
		if len(value) > mostSaidRecord {
			return 0, schema.Errorf(schema.Limited, "what is said would be longer than %d bytes in one record", mostSaidRecord).WithNext("say less, or of fewer")
		}
		if before == 0 {
			revision, err = r.records.Create(ctx, key, value)
		} else {
			revision, err = r.records.Update(ctx, key, value, before)
		}
		if !schema.Is(err, schema.Conflict) {
			return revision, err
		}
	}
	return 0, schema.Errorf(schema.Conflict, "others change what is said all the time").WithNext("try again")
}

// laterRelease is the error for a record that this release cannot read.
func laterRelease(what string) error {
	return schema.Errorf(schema.Conflict, "what is said about %s was written by a later release", what).WithNext("go back to that release")
}
