// Package phxtest holds the instruments with which tests look at a gateway
// from the outside: over the wire and over NATS, never through its Go types.
// It imports none of the gateway's packages, so a mistake that the gateway and
// its own encoder share cannot hide here.
//
//   - [Dial] opens a [Client], a WebSocket client that keeps a transcript of
//     every frame and speaks in verbs (Join, Push, Want, WantClosed).
//   - [LoadTranscripts] and [Run] play scripted sessions, JSON files that were
//     executed against Phoenix 1.8.12, against any server.
//   - [StartApp] is the application that those sessions expect behind the
//     server, built on NATS alone, as docs/contract.md describes it.
//   - [StartNATS] and [StartCluster] run NATS servers inside the test process.
//
// A goroutine that an instrument starts ends in the test's cleanup, which
// waits for it. Every wait has a deadline, see [Scaled].
package phxtest
