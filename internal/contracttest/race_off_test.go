//go:build !race

package contracttest

// buildFlags is for a program without the race detector, as it is shipped.
var buildFlags []string
