//go:build planted_overflow

package planted

// OverflowIgnored: messages that the inbox had no room for are dropped in silence.
const OverflowIgnored = true
