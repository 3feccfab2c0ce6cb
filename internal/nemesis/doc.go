// Package nemesis breaks a whole fleet on purpose and looks at what its clients were told. Three clustered NATS servers, three gateways and the links between
// them are processes and TCP proxies of their own; hundreds of clients and a backend at each NATS server publish numbered messages. One fault at a time is drawn
// from a seed: a process is killed or stopped, a link is cut or stalled. After each, the fleet must recover by itself, and the books must balance: what a client
// has not received it was told of (docs/contract.md, "Gaps"), or its publisher was, and nothing comes twice or out of order.
//
// The parts:
//
//   - fleet_test.go, process_test.go, proxy_test.go, natsd: what can be broken. fault_test.go: how.
//   - crowd_test.go, client_test.go, receive_test.go, channel_test.go, frames_test.go: clients that reconnect and rejoin as phoenix.js does.
//     backend_test.go: who publishes at NATS itself.
//   - ledger_test.go: what was published, and by whom received. audit_test.go: which of it is owed; audit_rules_test.go tests that.
//   - nemesis_test.go: the rounds, each a fault, a recovery and an audit. figures_test.go, overflow_test.go: what a run says at its end.
//   - presence_*_test.go: the same for presence, every list compared with the truth.
//   - rolling_test.go: every gateway replaced in turn; storm_test.go: ten thousand clients that come back at once. Both with visitor_test.go's clients, which have phoenix.js's own waits, and
//     calls_test.go, which knows when the authz service was asked.
//   - planted_test.go: bugs of internal/planted, each of which must be found.
//
// A join's reply promises all that is published from then on, at whichever NATS server. So a hundred times a second some client joins a topic that is new at its gateway, and
// the moment it has the reply each backend publishes on it; and no join is allowed to miss that, during a fault or not, without being told.
//
// NEMESIS_SEED repeats a run's faults (their order and durations; not the interleaving of processes), NEMESIS_SECONDS says for how long new faults begin (60), NEMESIS_FAULTS which
// ("cut link,flood"). `make nemesis` runs it for long, `make planted` with the bugs. A run prints its seed, each round, and at the end the figures of the books and of the recoveries. What
// fails on one machine under load may be the machine's: PHXTEST_SCALE stretches the limits.
package nemesis
