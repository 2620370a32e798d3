package logging

// The keys that more than one program sets in its set-up; a single line never has them again.
const (
	KeyService  = "service"
	KeyProvider = "provider"
	KeyInstance = "instance"
)

// Key is a key of log lines and what its value is.
type Key struct{ Name, Meaning string }

// Keys returns all keys that lines may have, beside time, level and msg. A name means the same in every line.
func Keys() []Key {
	return []Key{
		{KeyService, "the program that writes: provisioner, ingest, reports, web"},
		{KeyProvider, "the provider's name"},
		{KeyInstance, "the instance's name; in the provisioner's lines that of the instance spoken of"},
		{"gateway", "the gateway's name"},
		{"remote", "address and port of the peer"},
		{"address", "address and port that is listened on"},
		{"error", "what went wrong, and its causes"},
		{"reason", "why, in words"},

		{"role", "ingest, reports or web: the instance that a step is about"},
		{"step", "a step of the provisioner's plan, or of a stop"},
		{"took", "seconds"},
		{"until", "time at which a span ends, such as that in which a certificate holds"},
		{"pid", "process id"},
		{"spec", "hash of what an instance was started with"},
		{"version", "of a program, or of a record"},
		{"cause", "why the program ends"},
		{"grace", "seconds that an instance has to end"},
		{"task", "a part of a program"},

		{"claim", "id of a claim of the log"},
		{"sequence", "of a message of the log"},
		{"followed", "sequence up to which the head follows the log"},
		{"first", "the first of a range: a sequence, a time or a position"},
		{"last", "the last of a range"},
		{"start", "time at which a span begins"},
		{"bytes", "how many"},
		{"kept", "where something is kept"},
		{"stream", "of NATS"},
		{"limit", "how many bytes, or others, may be"},
		{"quota", "how many bytes may be"},
		{"readings", "how many"},
		{"frames", "how many"},
		{"messages", "how many"},
		{"sessions", "of MQTT, how many"},
		{"id", "of a kept reject, or of what is set aside"},
		{"what", "block, row, tail or rollup; what was changed"},
		{"busy", "whether somebody reads or writes there"},
		{"detail", "more, in words"},

		{"source", "name of a source"},
		{"broker", "URL of a source's broker"},
		{"client", "client identifier of MQTT"},
		{"state", "what something has become"},

		{"who", "who changes something"},
		{"by", "by what: a page, the API, the command line"},
		{"does", "what is done, by its name in the audit log"},
		{"failed", "why a change was not made"},
		{"schedule", "name of a scheduled report"},
		{"attempts", "how many"},

		{"bucket", "of records"},
		{"key", "of a record"},
		{"entry", "of the registry: role and instance"},
		{"subject", "of a message of NATS"},
		{"account", "public key of an account of NATS"},
		{"servers", "URLs of NATS servers"},
		{"text", "what the NATS server says"},
		{"file", "path"},
		{"folder", "path"},
		{"port", "number"},
		{"network", "name of a network of the Docker engine"},

		{"request_id", "of a request over HTTP, also in its answer"},
		{"method", "of a request"},
		{"path", "of a request"},
		{"status", "of an answer"},
		{"panic", "what a handler panicked with"},
		{"stack", "where it did"},
	}
}
