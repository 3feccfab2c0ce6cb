//go:build !planted_tombstone

package planted

// Tombstone: the death of a gateway is not applied.
const Tombstone = false
