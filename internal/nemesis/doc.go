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
//   - nemesis_test.go: the rounds, each a fault, a recovery and an audit.
//
// NEMESIS_SEED repeats a run's faults (their order and durations; not the interleaving of processes), NEMESIS_SECONDS says for how long new faults begin.
package nemesis
