//go:build planted_ignore_overflow

package planted

// IgnoreOverflow tells no channel that messages were dropped because the inbox was full.
const IgnoreOverflow = true
