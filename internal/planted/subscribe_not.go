//go:build !planted_subscribe

package planted

// SubscribeLate: a join is answered before its topic's subscription is in force.
const SubscribeLate = false
