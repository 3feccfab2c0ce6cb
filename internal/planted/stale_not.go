//go:build !planted_stale

package planted

// Stale: entries of an incarnation that is not registered count.
const Stale = false
