// Package s3store keeps blobs in a bucket of Amazon S3 or of a store that
// speaks its protocol:
//
//	s3://bucket/prefix?region=eu-west-1
//	s3://bucket/prefix?endpoint=http://127.0.0.1:9000
//
// Everything goes through Amazon's own SDK, whose client gocloud.dev/aws
// configures. gocloud.dev/blob does not serve here: it has no compare-and-swap,
// it asks for a blob before it deletes it, and it links gRPC into the program.
//
// # Parameters
//
//   - region: default is what the SDK's own configuration says, else us-east-1
//   - endpoint: the URL of a store that is not Amazon's
//   - use_path_style: whether the bucket's name goes into the path instead of
//     the host's name; default is true with an endpoint, false without
//   - request_checksum_calculation, response_checksum_validation:
//     when_supported (default) or when_required, for stores that do not know
//     Amazon's newer checksums
//   - lock: auto (default), compliance, governance or off: whether and how
//     backups are locked in a bucket with object lock. auto goes by the mode of
//     the bucket's own default retention, and is compliance without one
//   - profile, role, dualstack, fips, anonymous: as in gocloud.dev/aws
//
// Credentials come from the SDK's chain: environment, shared files, the host.
//
// # Tokens and outcomes
//
// A token is an ETag. For most stores that is a hash of the content, so that
// writing the same bytes again keeps it.
//
// The SDK's retries are off: blobstore.Retry is the one place that repeats,
// and it never repeats a conditional put. A conditional put's error is
// ErrUnknownOutcome unless it is certain that nothing was written: the store
// refused it, or no connection was there to send it on.
package s3store
