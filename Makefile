# The one entry: what a person and CI run.
.PHONY: run test lint build bench bench-backend fuzz nemesis planted example-chat-go example-chat-node

# Everything in one process: NATS, an authz service, a gateway, and a chat page at http://localhost:4000/
run:
	go run ./cmd/gateway dev

build:
	go build -o bin/ ./cmd/...

# Modules of their own, which the root's ./... does not see: the backends' module, an example built on it, and their tests against a gateway.
MODULES = backend examples/chat-go internal/backends internal/openapi

# A gateway, NATS and a chat backend of examples/ in place of the authz service, which serves its page at http://localhost:4040/. What is said stays in bin/; MODERATOR_TOKEN makes moderators of those who know it.
example-chat-go: build
	cd examples/chat-go && go build -o ../../bin/ .
	@DB_FILE="$${DB_FILE:-bin/chat-go.db}" bin/chat-go & $(BESIDE_DEV)

example-chat-node: build examples/chat-node/node_modules/.package-lock.json
	@DB_FILE="$${DB_FILE:-bin/chat-node.db}" node examples/chat-node/chat.js & $(BESIDE_DEV)

examples/chat-node/node_modules/.package-lock.json: examples/chat-node/package-lock.json
	cd examples/chat-node && npm ci --no-audit --no-fund
	touch $@

# gateway dev beside the process that a recipe just started; both end with the gateway, or when make is told to stop.
BESIDE_DEV = backend=$$!; CHANNELS_FILE=examples/chat.yaml bin/gateway dev --authz=false & gateway=$$!; \
	trap "kill $$backend $$gateway 2>/dev/null; wait" EXIT; trap "exit 0" INT TERM; wait $$gateway

# All tests, with the race detector. Those that need npm or Chromium say so and are skipped where these can't be had; with CI set they fail instead.
test: lint
	go test -count=1 -race -timeout 20m $$(go list ./... | grep -v $(ALONE))
	go test -count=1 -v -p 1 -timeout 30m $$(go list ./... | grep $(ALONE))
	@for m in $(MODULES); do echo "$$m"; (cd $$m && go test -count=1 -race -timeout 5m ./...) || exit 1; done

# Whole fleets of processes under faults and load, and what builds programs and runs browsers: one after the other, and without the race detector, which the rest has.
ALONE = -e /internal/nemesis$$ -e /internal/ceilings$$ -e /internal/e2e$$

# A fleet under random faults for NEMESIS_SECONDS; NEMESIS_SEED repeats a run's faults (RACE=-race watches the gateways too).
NEMESIS_SECONDS ?= 600
nemesis:
	NEMESIS_SECONDS=$(NEMESIS_SECONDS) go test -count=1 -v $(RACE) -timeout 0 -run 'Test(Presence)?Nemesis$$' ./internal/nemesis

# Programs with bugs built in on purpose, each of which that test must find.
planted:
	PLANTED=1 go test -count=1 -v -timeout 30m -run TestPlanted ./internal/nemesis

lint:
	@test -z "$$(gofmt -l .)" || { echo "gofmt -w these:"; gofmt -l .; exit 1; }
	go vet ./...
	GOOS=darwin go vet ./gateway ./nats
	go tool -modfile=tools/go.mod staticcheck ./...
	@for m in $(MODULES); do (cd $$m && go vet ./... && go tool -modfile=$(CURDIR)/tools/go.mod staticcheck ./...) || exit 1; done

# Decode, encode and fan-out, with allocations.
bench:
	go test -run '^$$' -bench . -benchmem ./gateway/... ./nats

# Calls and joins through a gateway, NATS and a Go backend: latency, and the gateway's CPU time.
bench-backend:
	cd internal/backends && go test -run '^$$' -bench . -benchtime 20000x

# Each fuzz target for a number of inputs (FUZZ=1000000x for long).
FUZZ ?= 100000x
fuzz:
	@for p in $$(go list ./...); do for f in $$(go test -list '^Fuzz' $$p | grep '^Fuzz'); do \
		echo "$$p $$f"; go test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZ) $$p || exit 1; done; done
