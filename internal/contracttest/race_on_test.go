//go:build race

package contracttest

// buildFlags has the program under test watched by the race detector as well.
var buildFlags = []string{"-race"}
