// Package planted names bugs that can be built in on purpose, each behind a build tag of its own, to show that the tests which must find such a bug do. Without a tag every constant is
// false, and the compiler leaves nothing of it.
//
//	go build -tags planted_tombstone ./cmd/...
package planted
