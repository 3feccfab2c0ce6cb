//go:build !race

package ceilings

// raceDetector reports whether this process runs with the race detector. The gateway never does: its memory is measured.
const raceDetector = false
