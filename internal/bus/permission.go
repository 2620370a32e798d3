package bus

import "github.com/nats-io/jwt/v2"

// What accounts and users may do, in one place. Within an account permissions are guard rails, not walls (a consumer, or a
// reply subject, can be made to write into another stream of its account): what must be kept apart is in accounts of its
// own.

const (
	accountConnections   = 256
	accountSubscriptions = 20_000
	accountStreams       = 32
	accountConsumers     = 2_000
)

// accountLimits are those of every account but the system's. Bytes are limited by each stream's own quota.
func accountLimits() jwt.OperatorLimits {
	return jwt.OperatorLimits{
		NatsLimits:    jwt.NatsLimits{Subs: accountSubscriptions, Data: jwt.NoLimit, Payload: maxPayload},
		AccountLimits: jwt.AccountLimits{Conn: accountConnections, DisallowBearer: true},
		JetStreamLimits: jwt.JetStreamLimits{
			MemoryStorage: jwt.NoLimit, DiskStorage: jwt.NoLimit, MaxBytesRequired: true,
			Streams: accountStreams, Consumer: accountConsumers, MaxAckPending: jwt.NoLimit,
		},
	}
}

var systemSpec = accountSpec{
	name: "system",
	limits: jwt.OperatorLimits{
		NatsLimits: jwt.NatsLimits{Subs: jwt.NoLimit, Data: jwt.NoLimit, Payload: jwt.NoLimit},
		AccountLimits: jwt.AccountLimits{
			Conn: jwt.NoLimit, Imports: jwt.NoLimit, Exports: jwt.NoLimit, WildcardExports: true, LeafNodeConn: jwt.NoLimit,
		},
	},
	users: map[string]jwt.Permissions{userSystem: {}},
}

var houseSpec = accountSpec{
	name:   "house",
	limits: accountLimits(),
	users: map[string]jwt.Permissions{
		userProvisioner: {},
		userWeb: allow(
			[]string{houseSubjects},
			readBucket("*"),
			writeBucket("links"), writeBucket("tokens"), writeBucket("shares"), writeBucket("people"), writeBucket("sessions"), writeBucket("services"),
			writeBucket("schedules"), writeBucket("runs"), writeBucket("runfiles"), writeBucket("leases"),
			auditSubjects(),
		),
	},
}

func providerSpec(name string) accountSpec {
	return accountSpec{
		name:   name,
		limits: accountLimits(),
		users: map[string]jwt.Permissions{
			userProvisioner: {},
			userPipeline: allow(
				[]string{
					logSubject, rejectsSubject, rejectsSubject + ".*", asideSubject + ".*", headSubjects, houseSubjects,
					"$JS.API.STREAM.INFO." + logStream,
					"$JS.API.STREAM.PURGE." + logStream,
					"$JS.API.STREAM.MSG.GET." + logStream,
					"$JS.API.DIRECT.GET." + logStream,
					"$JS.API.STREAM.INFO." + rejectsStream,
					"$JS.API.DIRECT.GET." + rejectsStream,
					"$JS.API.STREAM.MSG.GET." + rejectsStream,
					"$JS.API.STREAM.MSG.DELETE." + rejectsStream,
					"$JS.API.STREAM.INFO." + asideStream,
					"$JS.API.DIRECT.GET." + asideStream,
					"$JS.API.STREAM.MSG.GET." + asideStream,
					"$JS.API.STREAM.MSG.DELETE." + asideStream,
				},
				readBucket("pipeline"), readBucket("services"), writeBucket("services"),
				readBucket("episodes"), writeBucket("episodes"),
				// What people say about sensors and gateways: of its records these are its own.
				[]string{"$KV.pipeline.sensors", "$KV.pipeline.groups.*", "$KV.pipeline.annotations.*"},
			),
		},
	}
}

// allow returns permissions to publish to the given subjects and to inboxes, and to hear answers and questions.
func allow(subjects ...[]string) jwt.Permissions {
	publish := jwt.StringList{"_INBOX.>"}
	for _, s := range subjects {
		publish = append(publish, s...)
	}
	return jwt.Permissions{
		Pub: jwt.Permission{Allow: publish},
		Sub: jwt.Permission{Allow: jwt.StringList{"_INBOX.>", headSubjects, metricsSubjects}},
	}
}

// readBucket returns the subjects by which a bucket is read and watched; "*" is every one of the account. A user who reads
// them all is told so in few words: what one may do is sent at each connect, in a line that servers bound (4 KB).
func readBucket(name string) []string {
	s := bucketStream(name)
	if name == "*" {
		s = name
	}
	return []string{
		"$JS.API.STREAM.INFO." + s,
		"$JS.API.STREAM.MSG.GET." + s, // of replicas the leader is asked
		"$JS.API.DIRECT.GET." + s,
		"$JS.API.DIRECT.GET." + s + ".>",
		"$JS.API.CONSUMER.CREATE." + s,
		"$JS.API.CONSUMER.CREATE." + s + ".>",
		"$JS.API.CONSUMER.INFO." + s + ".>",
		"$JS.API.CONSUMER.DELETE." + s + ".>",
		"$JS.FC." + s + ".>",
	}
}

// writeBucket returns the subjects by which a bucket's keys are written.
func writeBucket(name string) []string { return []string{"$KV." + name + ".>"} }

func bucketStream(name string) string { return "KV_" + name }
