# Berth's commands. `make run` and `make test` are the only set-up, given Go, Node with npm, and make.
.DEFAULT_GOAL := help
SHELL := /bin/bash

GO          ?= go
VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS     := -s -w -X berth/internal/version.Version=$(VERSION)
PROGRAMS    := provisioner ingest reports web fieldsim
KILLS       ?= 20
CUTS        ?= 20
NODE_KILLS  ?= 10
CLIENTS     := ingest/gate/testdata/npm
CASSANDRA_41 := 4.1.10
ENGINE_FAULTS ?= 21
# The full length of each promise's test; a test's own flags say what they count.
LENGTHS     ?= -kills=200 -cuts=200 -takeovers=40 -histories=5000 -slow=1m -server-kills=12 -feeds=30 -audits=20 -neighbour=30s -drip=30s -export-every=15m
BENCHTIME   ?= 1s
PYTHON      ?= /usr/bin/python3
FUZZTIME    ?= 10s
READINGS    ?= 15000000
DAYS        ?= 30
STEPS       ?= 1,10,100
CONNS       ?= 1800
LOG         ?= 1GiB
GOLANGCI    := v2.15.0
TELEGRAF    := v1.37.2
# The programs need no C compiler; only the race detector does.
export CGO_ENABLED := 0

##@ Everyday

.PHONY: run
run: build ## build, start everything, print the address and a one-time sign-in link
	bin/provisioner serve

.PHONY: build
build: assets ## build the programs into bin/
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/ $(addprefix ./cmd/,$(PROGRAMS))

.PHONY: assets
assets: web/assets/dist/.built ## bundle what the browser loads
web/assets/dist/.built: web/package.json web/package-lock.json $(wildcard web/build.mjs web/src/* web/assets/src/*)
	npm ci --prefix web --no-fund --no-audit
	npm run --prefix web build
	@touch $@

.PHONY: clients
clients: $(CLIENTS)/node_modules/.built ## clients of other makers, for tests
$(CLIENTS)/node_modules/.built: $(CLIENTS)/package.json $(CLIENTS)/package-lock.json
	npm ci --prefix $(CLIENTS) --no-fund --no-audit
	@touch $@

.PHONY: images
images: build ## an image per program, berth/<program>:VERSION, in the Docker engine that answers; prints their sizes
	docker/images bin '$(VERSION)' '$(shell git rev-parse HEAD 2>/dev/null || echo unknown)'

.PHONY: test
test: build clients ## every test on the real parts, the promises in their normal form
	$(GO) test -shuffle=on -timeout=20m ./promises ./...

.PHONY: test-engines
test-engines: build ## what production runs on: tests on a real Cassandra node (Java 17, Maven) and a Docker engine (root)
	docker/cassandra/node fetch
	$(GO) test -count=1 -timeout=30m -v ./internal/dockertest ./provisioner/runtime/docker -p 1 -docker=start
	$(GO) test -count=1 -timeout=30m -v ./internal/keyspace/cassandra -cassandra=start
	CASSANDRA_VERSION=$(CASSANDRA_41) $(GO) test -count=1 -timeout=30m -v -run 'Contract|Killed|Migrated|TakenOver|Role' ./internal/keyspace/cassandra -cassandra=start
	$(GO) test -count=1 -timeout=30m -v -run 'OfA.*NATS|AClusterThat' ./promises -server-kills=4
	$(GO) test -count=1 -timeout=60m -v -run 'Cassandra|Containers|FaultsOfTheEngines' ./promises -cassandra=start -docker=start -node-kills=$(NODE_KILLS) -engine-faults=$(ENGINE_FAULTS)

.PHONY: test-cassandra-short
test-cassandra-short: build ## the contract suite and three faults on a real Cassandra node: killed, taken over, away
	docker/cassandra/node fetch
	$(GO) test -count=1 -short -timeout=5m -v -run 'TestContract$$|TestKilledNode|TestMigrated|TestTakenOver' ./internal/keyspace/cassandra -cassandra=start
	$(GO) test -count=1 -short -timeout=5m -v -run 'TestCassandraAway$$' ./promises -cassandra=start -node-away=10s

.PHONY: test-docker-short
test-docker-short: ## the contract of runtimes on a real Docker engine, which is found or started; needs root
	$(GO) test -count=1 -short -timeout=5m -v -run 'TestContract|TestPorts|TestTheEngineStartsAgain' ./provisioner/runtime/docker -docker=start

.PHONY: test-office
test-office: ## exports read by LibreOffice (Debian: libreoffice-calc-nogui) and pyarrow: make test-office PYTHON=venv/bin/python
	$(GO) test -count=1 -timeout=5m -v -run 'Office|OtherPrograms' ./internal/export -office -python=$(PYTHON)

.PHONY: clean
clean: ## remove what the other targets made; data in var/ stays
	rm -rf bin web/assets/dist web/node_modules $(CLIENTS)/node_modules web/browser/out promises/out

##@ Promises and figures

.PHONY: promises
promises: build ## every promise at full length: hours
	$(GO) test -count=1 -timeout=0 -v ./promises/... $(LENGTHS)

.PHONY: kill
kill: build ## the kill test at length: make kill KILLS=500
	$(GO) test -count=1 -timeout=0 -v -run 'TestAckedIsStoredThroughKills' ./promises -kills=$(KILLS)

.PHONY: powercut
powercut: build ## the test of power cuts at length, as root: make powercut CUTS=200
	$(GO) test -count=1 -timeout=0 -v -run 'PowerCuts' ./promises -cuts=$(CUTS)

.PHONY: bench
bench: build ## print the figures that README quotes, in one run
	$(GO) run ./promises/bench -benchtime=$(BENCHTIME)

.PHONY: bench-small
bench-small: build ## frames of one reading, each acknowledged from disk, on 500 connections, by protocol
	$(GO) run ./promises/bench -small

.PHONY: bench-engines
bench-engines: build ## the figures end to end: embedded, on a Cassandra node (Java 17), in containers (root), in one run
	docker/cassandra/node fetch
	$(GO) run ./promises/bench -engines

.PHONY: bench-queries
bench-queries: build ## only what questions about a month of one gateway take through web: embedded, on a Cassandra node
	docker/cassandra/node fetch
	$(GO) run ./promises/bench -queries -engines

.PHONY: bench-memory
bench-memory: build ## resident memory of ingest for an idle and a busy connection, by protocol: make bench-memory CONNS=1800
	$(GO) run ./promises/bench -memory=$(CONNS)

.PHONY: bench-protocols
bench-protocols: ## acknowledged messages by MQTT at QoS 1 and confirmable CoAP, beside mosquitto (Debian: mosquitto), in one run
	$(GO) run ./promises/bench -protocols -benchtime=$(BENCHTIME)

.PHONY: bench-peers
bench-peers: build ## beside VictoriaMetrics and InfluxDB 1.x (Debian: victoria-metrics, influxdb), in one run: make bench-peers READINGS=15000000
	$(GO) run ./promises/peers -readings=$(READINGS)

.PHONY: bench-cassandra
bench-cassandra: build ## beside one row per reading, on the same Cassandra node (Java 17, Maven), in one run: make bench-cassandra DAYS=2
	docker/cassandra/node fetch
	$(GO) run ./promises/peers -on-cassandra -readings=$(READINGS) -days=$(DAYS)

.PHONY: bench-scale
bench-scale: build ## how costs grow with connections, gateways, providers and the log: make bench-scale STEPS=1,10,100
	$(GO) run ./promises/scale -steps=$(STEPS)

.PHONY: bench-replay
bench-replay: build ## how long a start with a full log takes: make bench-replay LOG=1GiB
	$(GO) run ./promises/scale -only=full -log=$(LOG)

.PHONY: fuzz
fuzz: assets ## every fuzz target for FUZZTIME each, from its corpus in testdata/fuzz
	@GO=$(GO) .ci/fuzz $(FUZZTIME)

##@ Checks

.PHONY: check
check: fmt-check vet lint race browser-test ## everything that must be clean before a change lands

.PHONY: fmt
fmt: bin/golangci-lint ## format the code
	bin/golangci-lint fmt

.PHONY: fmt-check
fmt-check: bin/golangci-lint
	bin/golangci-lint fmt --diff

.PHONY: vet
vet: assets
	$(GO) vet ./...

.PHONY: lint
lint: bin/golangci-lint assets ## the linters of .golangci.yml
	bin/golangci-lint run

# The promises are left out: the programs that they run are built without the race detector, so that it would watch the tests'
# own side alone, and what that is made of (internal/gateways, promises/cutfs and the rest) has tests here. `make test` runs them,
# and longer; to see them here as well: make race RACED=./...
RACED = $(shell $(GO) list ./... | grep -vx berth/promises)

.PHONY: race
race: assets clients ## the tests under the race detector, in short form, without the promises; needs a C compiler
	CGO_ENABLED=1 $(GO) test -race -shuffle=on -short -timeout=20m $(RACED)

.PHONY: browser-test
browser-test: build ## the newcomer's path in Chromium; screenshots in web/browser/out; LOOKS=all: every page in each language, theme and width
	npm run --prefix web browser-test

# The linter is built from its module, once for each version.
bin/golangci-lint: Makefile
	GOBIN=$(CURDIR)/bin $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI)
	@touch $@

# Telegraf with no more than the snippet on the pages needs, for the test that runs it; found in PATH it serves as well.
bin/telegraf: Makefile
	GOBIN=$(CURDIR)/bin $(GO) install -tags custom,inputs.exec,parsers.influx,outputs.influxdb_v2,serializers.influx github.com/influxdata/telegraf/cmd/telegraf@$(TELEGRAF)
	@touch $@

.PHONY: help
help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
