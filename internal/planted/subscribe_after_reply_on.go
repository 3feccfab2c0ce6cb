//go:build planted_subscribe_after_reply

package planted

// SubscribeAfterReply answers a join before its topic's subscription is in force, at any NATS server.
const SubscribeAfterReply = true
