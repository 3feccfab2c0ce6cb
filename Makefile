# The one entry: what a person and CI run.
.PHONY: run test lint build bench fuzz

# Everything in one process: NATS, an authz service, a gateway, and a chat page at http://localhost:4000/
run:
	go run ./cmd/gateway dev

build:
	go build -o bin/ ./cmd/...

# All tests, with the race detector. Those that need npm or Chromium say so and are skipped where these can't be had; with CI set they fail instead.
test: lint
	go test -count=1 -race -timeout 20m $$(go list ./... | grep -v $(ALONE))
	go test -count=1 -p 1 -timeout 20m $$(go list ./... | grep $(ALONE))

# Whole fleets of processes under faults and load: one after the other, and without the race detector, which the rest has.
ALONE = -e /internal/nemesis$$ -e /internal/ceilings$$

lint:
	@test -z "$$(gofmt -l .)" || { echo "gofmt -w these:"; gofmt -l .; exit 1; }
	go vet ./...
	GOOS=darwin go vet ./gateway ./nats
	go tool -modfile=tools/go.mod staticcheck ./...

# Decode, encode and fan-out, with allocations.
bench:
	go test -run '^$$' -bench . -benchmem ./gateway/... ./nats

# Each fuzz target for a number of inputs (FUZZ=1000000x for long).
FUZZ ?= 100000x
fuzz:
	@for p in $$(go list ./...); do for f in $$(go test -list '^Fuzz' $$p | grep '^Fuzz'); do \
		echo "$$p $$f"; go test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZ) $$p || exit 1; done; done
