# The one entry: what a person and CI run.
.PHONY: run test lint build bench bench-backend fuzz nemesis planted example-chat-go example-chat-node

# Everything in one process: NATS, an authz service, a gateway, and a chat page at http://localhost:4000/
run:
	go run ./cmd/gateway dev

build:
	go build -o bin/ ./cmd/...

# Modules of their own, which the root's ./... does not see: the backends' module, an example built on it, and their tests against a gateway.
MODULES = backend examples/chat-go internal/backends

# A gateway, NATS, the chat page, and a chat backend of examples/ in place of the authz service: http://localhost:4000/
example-chat-go: build
	cd examples/chat-go && go build -o ../../bin/ .
	@trap 'kill $$!' EXIT; CHANNELS_FILE=examples/chat.yaml bin/gateway dev --authz=false & bin/chat-go -db bin/chat.db -moderator-token "$(MODERATOR_TOKEN)"

example-chat-node: build
	cd examples/chat-node && npm ci --no-audit --no-fund
	@trap 'kill $$!' EXIT; CHANNELS_FILE=examples/chat.yaml bin/gateway dev --authz=false & cd examples/chat-node && MODERATOR_TOKEN="$(MODERATOR_TOKEN)" node chat.js

# All tests, with the race detector. Those that need npm or Chromium say so and are skipped where these can't be had; with CI set they fail instead.
test: lint
	go test -count=1 -race -timeout 20m $$(go list ./... | grep -v $(ALONE))
	go test -count=1 -v -p 1 -timeout 30m $$(go list ./... | grep $(ALONE))
	@for m in $(MODULES); do echo "$$m"; (cd $$m && go test -count=1 -race -timeout 5m ./...) || exit 1; done

# Whole fleets of processes under faults and load: one after the other, and without the race detector, which the rest has.
ALONE = -e /internal/nemesis$$ -e /internal/ceilings$$

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
