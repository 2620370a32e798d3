// Package bus is all that Berth knows of NATS: the embedded server, the accounts and their users, a provider's log and
// its rejects, the records and the registry in key-value buckets, and the questions that one instance asks another.
//
//	subject or stream (provider's account)   holds
//	log            stream LOG                claims and batches, one writer, discard new
//	rejects        stream REJECTS            what was refused, discard old
//	aside.<hash>   stream ASIDE              what was acknowledged and can never be stored, discard new
//	$KV.pipeline   stream KV_pipeline        what the pipeline may know; the provisioner writes it
//	$KV.services   stream KV_services        the registry: memory only, entries expire
//	head.>                                   questions to ingest
//	metrics.>                                the provisioner's questions to every instance, the house's too
//
// What the messages mean is left to others (schema/batch, schema/record, internal/headapi). The package's one
// invariant: a batch that [Writer.Next] has confirmed is in the log, synced to disk, exactly once, and directly behind
// the batch that was confirmed before it.
package bus

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"berth/schema"
)

// Sizes, in bytes.
const (
	// MaxBatch is the longest data of one message of the log.
	MaxBatch = 3 << 20
	// DefaultQuota is what a provider's log may hold unless set otherwise.
	DefaultQuota = 1 << 30
	// DefaultRejectsQuota is what a provider's rejects may hold unless set otherwise.
	DefaultRejectsQuota = 64 << 20
	// DefaultAsideQuota is what may be set aside of a provider unless set otherwise.
	DefaultAsideQuota = 64 << 20

	// maxPayload is the longest message that the server takes, headers included.
	maxPayload = 4 << 20
)

// Names within a provider's account.
const (
	logStream      = "LOG"
	logSubject     = "log"
	rejectsStream  = "REJECTS"
	rejectsSubject = "rejects"
	asideStream    = "ASIDE"
	asideSubject   = "aside"
	headSubjects   = "head.>"
	houseSubjects  = "house.>" // what the provisioner answers

	metricsSubjects = "metrics.>"
)

// Errors of a [Writer].
var (
	// ErrTakenOver says that another instance has claimed the log. It is final.
	ErrTakenOver = errors.New("the log was taken over by another instance")
	// ErrLogFull says that the oldest batch was refused for the log's quota and is not stored.
	ErrLogFull = errors.New("the log is full")
	// ErrClosed says that the Writer was closed.
	ErrClosed = errors.New("the log's writer is closed")
)

// kinds of what nats.go reports, as schema's. The first match counts.
var kinds = []struct {
	err  error
	code schema.Code
	text string
}{
	{jetstream.ErrKeyNotFound, schema.NotFound, "there is no such record"},
	{jetstream.ErrKeyExists, schema.Conflict, "the record was changed meanwhile, or exists"},
	{jetstream.ErrKeyRevisionMismatch, schema.Conflict, "the record was changed meanwhile"},
	{jetstream.ErrInvalidKey, schema.Invalid, "that is no key of a record"},
	{jetstream.ErrBucketNotFound, schema.NotFound, "there is no such bucket of records"},
	{jetstream.ErrStreamNotFound, schema.NotFound, "the account has no such stream"},
	{jetstream.ErrMsgNotFound, schema.NotFound, "there is no such message"},
	{nats.ErrMaxPayload, schema.TooLarge, "the message is too large"},
	{nats.ErrAuthorization, schema.Unauthorized, "the NATS server does not accept these credentials"},
	{nats.ErrPermissionViolation, schema.Forbidden, "the NATS account does not allow this"},
	{nats.ErrNoResponders, schema.Unavailable, "nobody answers"},
	{jetstream.ErrNoStreamResponse, schema.Unavailable, "the NATS stream does not answer"},
	{jetstream.ErrJetStreamNotEnabled, schema.Unavailable, "the NATS server's JetStream is not ready"},
	{nats.ErrReconnectBufExceeded, schema.Unavailable, "the NATS server is away"},
	{nats.ErrConnectionClosed, schema.Unavailable, "the connection to NATS is closed"},
	{nats.ErrConnectionReconnecting, schema.Unavailable, "the NATS server is away"},
	{nats.ErrDisconnected, schema.Unavailable, "the NATS server is away"},
	{nats.ErrNoServers, schema.Unavailable, "no NATS server can be reached"},
	{nats.ErrTimeout, schema.Unavailable, "NATS did not answer in time"},
	{context.DeadlineExceeded, schema.Unavailable, "NATS did not answer in time"},
}

// noPeers is JetStream's error code of a cluster that knows of too few servers for the replicas: its others may just start.
const noPeers = jetstream.ErrorCode(10005)

// failed returns err, which came of act, as an error of schema's kinds; nil for nil.
func failed(act string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*schema.Error](err); ok {
		return fmt.Errorf("%s: %w", act, err)
	}
	for _, k := range kinds {
		if errors.Is(err, k.err) {
			return fmt.Errorf("%s: %w", act, schema.Errorf(k.code, "%s", k.text).WithCause(err))
		}
	}
	if api, ok := errors.AsType[*jetstream.APIError](err); ok && (api.Code == 503 || api.ErrorCode == noPeers) {
		return fmt.Errorf("%s: %w", act, schema.Errorf(schema.Unavailable, "NATS cannot do that now").WithCause(err))
	}
	return fmt.Errorf("%s: %w", act, err)
}
