// Package rules holds the channel rules (docs/contract.md, "Channel rules"): which topics may be joined and how, and
// what a client's event on them does.
//
// Parse turns the YAML of CHANNELS_FILE into a Set, or into an error that names every mistake with file and line; it
// reads the YAML as nodes, since only those carry lines. A Set is never changed after that, so that any number of
// goroutines may match against it, and a gateway that rereads its file swaps one Set for another.
//
//	rule.go event.go   the types, matching
//	pattern.go         patterns of topics and events
//	source.go          where the values of `set` come from
//	payload.go         writing those values into a broadcast's payload
//	parse*.go yaml.go  from YAML to the types
package rules
