//go:build !race

package nemesis

// buildFlags is for gateways without the race detector, as they are shipped.
var buildFlags []string
