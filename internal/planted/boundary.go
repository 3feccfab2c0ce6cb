//go:build planted_boundary

package planted

// Boundary: a topic's state is taken between two changes that a diff merges.
const Boundary = true
