//go:build race

package phxtest

// raceFactor stretches deadlines where the race detector slows the code.
const raceFactor = 2.0
