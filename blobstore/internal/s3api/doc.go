// Package s3api holds what the providers have in common that speak S3 through
// different SDKs: what an error's code means, and a bucket's lifecycle rules.
//
// # Lifecycle
//
// Rules are read from and written to the XML document itself, not an SDK's
// model of it, because a bucket's rules are replaced as a whole: what a model
// does not know (a second transition, another vendor's action) would be lost
// from the rules of others.
//
// A rule is a store's own by its ID, which holds the store's prefix ("/" for a
// whole bucket), a number, and the rule's prefix below the store's:
//
//	understudy cluster/ #1 backups/
//
// Of others' rules, one that is disabled, or that deletes nothing, is not
// seen. One whose prefix is shorter than the store's has the prefix "". A rule
// with a date deletes everything on that day, whatever its age, and is seen as
// one of a single day. A rule for some tags or sizes is Narrowed, and so is one
// that keeps some noncurrent versions.
package s3api
