// Package ceilings drives a gateway past each of its limits and looks at what that costs. It holds tests only. The gateway is a process of its own, with the
// settings of the environment (docs/contract.md, "Programs"); thousands of lean sockets press on one limit at a time, while twenty healthy clients measure.
//
// For each limit three things must hold: the gateway's resident memory stays under a bound that follows from its settings, a metric counts what was refused, dropped
// or cut off, and the healthy clients' 99th percentiles (heartbeat round trips, and a broadcast every 20 ms) stay within three times, or 50 ms above, what they were before.
//
// A press is paced below what a processor can take, since a processor that is saturated would say nothing about a limit; the flood of the bus inbox is the
// exception: the gateway is given one processor, and what it wants to be written is far beyond that. Where others take much of the machine during a press, times are printed but not judged; memory and counts always are.
//
// The parts:
//
//   - gateway_test.go, metrics_test.go, memory_test.go: the process, what it counts, and what it occupies.
//   - crowd_test.go, frames_test.go: raw sockets, a number of bytes each, no goroutine. healthy_test.go, latency_test.go: the clients that measure.
//   - arena_test.go, pace_test.go, cpu_test.go: one limit's run: before, during, verdict. table_test.go: all figures, printed at the end.
//   - one file per limit.
//
// The tests run one after the other, since they measure. With the race detector or -short they run at a twentieth of their size; CEILINGS=full is the whole size in any case, and the times of healthy clients, which are printed always, are judged.
package ceilings
