// Package shared is what all instances of a cluster share through the bucket: the
// configuration that is in force, and what each says of itself.
//
//	Configs   the shared configuration, in force or by its digest
//	Follower  has the one that the head names loaded, and tells the machine
//	Shared    changes it on the active: settings, instances, users, webhooks, keys
//	Records   the other instances' records
package shared
