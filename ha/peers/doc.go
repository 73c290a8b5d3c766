// Package peers is how the instances of a cluster talk to each other without the bucket,
// where they can: signed messages to each other's URLs. Nothing depends on it but time.
//
//	Notifier   wakes the others up when something is new, and is woken by them
//	Sightings  what each instance sees of the head, where a bucket was put back
package peers
