//go:build race

package nemesis

// buildFlags has the gateways watched by the race detector as well.
var buildFlags = []string{"-race"}
