// Package contracttest holds the tests of docs/contract.md and nothing else:
// the built program, started with environment variables alone, is looked at
// over WebSocket, HTTP and NATS. No package of the product is imported, and
// subjects, headers and JSON are spelled out here a second time, so that the
// product and its tests cannot share a misreading.
package contracttest
