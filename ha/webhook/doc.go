// Package webhook tells URLs of an instance's events, as Standard Webhooks says
// (https://www.standardwebhooks.com): signed messages, each with an id that stays
// the same in every attempt.
//
// Each instance tells of its own events. A message that is not taken is tried
// again for three days, with growing pauses; what is still to be told outlives the
// process. Nothing waits for a webhook, and the memory for messages is bounded.
//
// The webhooks are part of the shared configuration, in its sealed part. Webhooks
// reads and changes them through a Store, which the agent is.
package webhook
