//go:build !planted_gap

package planted

// NoGapNotice: channels are not told that messages may have been missed.
const NoGapNotice = false
