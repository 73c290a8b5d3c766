// Package gcsstore keeps blobs in a bucket of Google Cloud Storage:
//
//	gs://bucket/prefix
//	gs://bucket/prefix?endpoint=http://127.0.0.1:4443
//
// It speaks to Google's JSON API by itself, in the six requests of its type api.
// Google's SDKs link gRPC, whichever protocol they speak, and with it a third of the
// whole program; what they do besides a request (retries, resumed bodies, rules of
// which they forget what they do not know) was in the way here. Credentials are found
// by Google's own package for them, and errors read by another.
//
// # Parameters
//
//   - endpoint: the URL of a store that is not Google's, or of a private way
//     to it; default is what STORAGE_EMULATOR_HOST names (with or without
//     http://), else Google's
//   - anonymous: whether to ask without credentials; default is true where
//     there is another endpoint, false without
//
// Credentials come from Google's chain (Application Default Credentials): the
// file that GOOGLE_APPLICATION_CREDENTIALS names, gcloud's, the host's
// service account.
//
// # Tokens and outcomes
//
// A token is a generation, which every write makes anew. A put is one request
// whatever its size, and the store refuses a body that is not the one whose
// checksum comes with it. Time is when a generation was created.
//
// Nothing is retried here: blobstore.Retry is the one place that repeats,
// and it never repeats a conditional put. A conditional put's error is
// ErrUnknownOutcome unless it is certain that nothing was written: the store
// refused it, or no connection was there to send it on. That is what a 429
// comes to as well: Google takes about one write a second to the same blob.
//
// # Lifecycle
//
// Google's rules have no names. Those that delete by one age, below exactly
// one prefix within the store's, and on no further condition, are the store's
// own; so a store is not kept within another one's prefix. A rule that expires
// both blobs and their noncurrent versions is two rules of Google's. All other
// rules are written back with all that they say, and only if nobody changed the
// bucket since they were read.
package gcsstore
