// Package conformance finds out whether a store keeps the promises that Understudy
// rests on. It asks the store itself, and believes no version string.
//
// Safety checks what a promotion rests on, in a few requests: `serve` does so
// at every start. Full adds what a person wants to know of a new bucket: the
// permissions one by one, the clock, speed.
//
// All objects lie under a folder of their own below Prefix, and are deleted at
// the end, also after a failure or an interrupt. What a killed examination leaves
// behind is read by nobody; Full removes it once it is an hour old.
//
// # What a failure means
//
// A store that answers, and whose answer breaks a promise, fails the check with
// an error that is ErrUnsafe. A store that does not answer, or denies access,
// fails it with its own error: the promise could not be checked. A conditional
// write whose outcome is unknown is settled first, by reading, as the protocol
// itself does.
package conformance
