package metrics

// What ingest knows of a provider. Counters of frames and readings are the provider's running totals, which survive
// restarts; the others begin anew with the instance.
var (
	LogMessages = gauge(ofProvider, "berth_log_messages", "Messages in the log.")
	LogBytes    = gauge(ofProvider, "berth_log_bytes", "Bytes in the log.")
	LogQuota    = gauge(ofProvider, "berth_log_quota_bytes", "Bytes that the log may hold.")
	LogAge      = gauge(ofProvider, "berth_log_age_seconds", "How long ago the oldest message came that is not yet safely in the keyspace; 0: there is none.")

	HeadReadings = gauge(ofProvider, "berth_head_readings", "Readings in memory that are not yet surely in the keyspace.")
	HeadParts    = gauge(ofProvider, "berth_head_parts", "Parts (a gateway's readings of a day) in memory.")
	HeadBytes    = gauge(ofProvider, "berth_head_bytes", "Memory that the head's readings take.")
	HeadLag      = gauge(ofProvider, "berth_head_lag_batches", "Batches in the log that the head has not followed yet.")

	AckSeconds  = histogram(ofProvider, "berth_acknowledgement_seconds", "Time from a frame received whole to its acknowledgement.", seconds)
	BatchBytes  = histogram(ofProvider, "berth_batch_bytes", "Size of the batches committed to the log.", []float64{256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 128 << 10, 256 << 10, 1 << 20})
	LogWritten  = counter(ofProvider, "berth_log_written_bytes_total", "Bytes of the batches that were ever committed to the log.")
	BatchFrames = histogram(ofProvider, "berth_batch_frames", "Frames in the batches committed to the log.", []float64{1, 4, 16, 64, 256, 1024, 4096, 16384})

	Connections      = gauge(ofProvider, "berth_connections", "Open connections on the provider's port.")
	FramesReceived   = counter(ofProvider, "berth_frames_received_total", "Frames received whole.")
	FramesEnded      = counter(with(ofProvider, "outcome"), "berth_frames_total", "Frames by what became of them: committed, rejected, given_up.")
	FramesInHand     = gauge(ofProvider, "berth_frames_in_hand", "Frames received of which nothing is decided yet.")
	Readings         = counter(with(ofProvider, "outcome"), "berth_readings_total", "Readings of committed frames: accepted, rejected.")
	ReadingsTimeless = counter(ofProvider, "berth_readings_timeless_total", "Accepted readings that came without a time.")
	Rejected         = counter(with(ofProvider, "reason"), "berth_rejected_total", "Readings, and frames refused whole, by reason.")
	Strangers        = counter(ofProvider, "berth_strangers_total", "Connections that ended without a valid key.")
	Limit            = gauge(with(ofProvider, "limit"), "berth_limit", "The provider's limits by name, as they are set; 0: none.")
	LimitUsed        = gauge(with(ofProvider, "limit"), "berth_limit_used", "How much of each limit is used: a rate lately, a limit for each gateway or address by the one that uses most of it.")
	RejectsKept      = gauge(ofProvider, "berth_rejects_kept", "Rejects that are kept to look at.")
	RejectsBytes     = gauge(ofProvider, "berth_rejects_bytes", "Bytes of the rejects that are kept.")
	RejectsQuota     = gauge(ofProvider, "berth_rejects_quota_bytes", "Bytes that the kept rejects may take; then the oldest make room.")
	RejectsNotKept   = counter(ofProvider, "berth_rejects_not_kept_total", "Rejects that came faster than they could be kept, or could not be kept; they were answered and counted.")
	SetAside         = counter(ofProvider, "berth_set_aside_total", "Readings that were acknowledged and set aside, since they can never be stored or cannot be read.")
	AsideKept        = gauge(ofProvider, "berth_aside_kept", "Pieces of what was acknowledged that cannot be stored or read, and are set aside for somebody to look at.")
	AsideBytes       = gauge(ofProvider, "berth_aside_bytes", "Bytes that are set aside.")
	AsideQuota       = gauge(ofProvider, "berth_aside_quota_bytes", "Bytes that may be set aside; then sealing waits.")

	SourceConnected = gauge(with(ofProvider, "source"), "berth_source_connected", "1 if ingest is connected to the provider's own broker, else 0.")
	SourceMessages  = counter(with(ofProvider, "source", "outcome"), "berth_source_messages_total", "Messages of a provider's own broker by what became of them: taken, refused, retained.")
	SourceInHand    = gauge(with(ofProvider, "source"), "berth_source_in_hand", "Messages of a provider's own broker that are not acknowledged yet.")

	BlocksWritten  = counter(ofProvider, "berth_blocks_written_total", "Blocks written into the keyspace.")
	BlockBytes     = counter(ofProvider, "berth_block_bytes_total", "Bytes of blocks written into the keyspace.")
	TailsWritten   = counter(ofProvider, "berth_tails_written_total", "Rows of gateways, with their tails, written into the keyspace.")
	RollupsWritten = counter(ofProvider, "berth_rollups_written_total", "Rollups written into the keyspace.")
	KeyspaceErrors = counter(ofProvider, "berth_keyspace_errors_total", "Rounds of sealing that failed, on the keyspace or on trimming the log.")
	KeyspaceBytes  = gauge(ofProvider, "berth_keyspace_bytes", "Bytes that the keyspace occupies.")
	Gateways       = gauge(ofProvider, "berth_gateways", "Gateways in the keyspace.")
	IngestState    = gauge(with(ofProvider, "state"), "berth_ingest_state", "1 for each state that ingest is in, 0 for the others; ready is alone.")
)

// What reports and web count.
var (
	Questions       = counter(with(ofProvider, "kind", "status"), "berth_questions_total", "Questions answered by reports, by kind and HTTP status.")
	QuestionSeconds = histogram(with(ofProvider, "kind"), "berth_question_seconds", "Time to answer a question, to the last byte.", seconds)
	WebRequests     = counter([]string{"route", "status"}, "berth_web_requests_total", "Requests to web, by route and HTTP status.")
	WebSeconds      = histogram(nil, "berth_web_request_seconds", "Time to answer a request to web, to the last byte; live streams are left out.", seconds)
	WebSessions     = gauge(nil, "berth_web_sessions", "Sessions that are kept, those of people who have left included until they expire.")
)

// What every instance says of itself.
var (
	BuildInfo  = gauge(with(ofInstance, "version"), "berth_build_info", "1, with the version of the program.")
	Resident   = gauge(ofInstance, "berth_process_resident_memory_bytes", "Resident memory of the process.")
	CPU        = counter(ofInstance, "berth_process_cpu_seconds_total", "User and system time of the process.")
	Goroutines = gauge(ofInstance, "berth_process_goroutines", "Goroutines of the process.")
	Started    = gauge(ofInstance, "berth_process_start_time_seconds", "When the instance was started, in Unix time.")
)

// What the provisioner knows.
var (
	Up              = gauge(ofInstance, "berth_up", "1 if the instance answered the scrape within a second, else 0.")
	InstanceStarts  = counter(ofInstance, "berth_instance_starts_total", "Starts of the instance since the provisioner's start, the first included, and those by its runtime.")
	InstanceFailed  = gauge(ofInstance, "berth_instance_failures", "Ends of the instance in a row that came soon after its start.")
	ProviderState   = gauge(with(ofProvider, "state"), "berth_provider_state", "1 for the state that the provider is in, 0 for the others.")
	Orphans         = gauge(nil, "berth_orphans", "Instances that no record wants; nothing stops them but provisioner gc --apply.")
	NATSHealthy     = gauge(nil, "berth_nats_healthy", "1 if NATS and all of its streams work, else 0.")
	DiskFree        = gauge([]string{"holds"}, "berth_disk_free_bytes", "Bytes that are free on the disk that holds nats (logs and records) or keyspaces.")
	DiskSize        = gauge([]string{"holds"}, "berth_disk_size_bytes", "Bytes of the disk that holds nats or keyspaces.")
	DiskLow         = gauge(nil, "berth_disk_low", "1 while gateways wait since less of a disk is free than is kept free, else 0.")
	ClockSynced     = gauge(nil, "berth_clock_synchronized", "1 if the kernel holds the clock for synchronized, else 0.")
	ScrapeInstances = gauge(nil, "berth_scrape_instances", "Instances that were asked for this scrape.")
)
