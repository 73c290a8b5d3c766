// Package miniostore keeps blobs in a bucket of MinIO, or of another store
// that speaks Amazon's protocol and that the newer defaults of Amazon's own
// SDK trip (checksums in trailers, the bucket's name in the host's name):
//
//	minio://minio.example:9000/bucket/prefix
//	minio://127.0.0.1:9000/bucket/prefix?tls=false
//
// # Parameters
//
//   - tls: whether to speak HTTPS; default is true
//   - region: for the signature; default is to ask the store, once
//   - lookup: where the bucket's name goes: path (default), or dns, into the
//     host's name
//   - lock: auto (default), compliance, governance or off: whether and how
//     backups are locked in a bucket with object lock. auto goes by the mode of
//     the bucket's own default retention, and is compliance without one
//
// Credentials come from the first of: MINIO_ROOT_USER and MINIO_ROOT_PASSWORD,
// MINIO_ACCESS_KEY and MINIO_SECRET_KEY, AWS_ACCESS_KEY_ID and
// AWS_SECRET_ACCESS_KEY, the file of Amazon's tools, the host's role, the
// configuration of mc (not its placeholders). Certificates are trusted that the
// system trusts, or SSL_CERT_FILE names.
//
// # Requests
//
// A put is one PutObject of known size, with the body's hash in its signature.
// The SDK's uploads in parts would lose the put's condition. The SDK's retries
// are off, as in package s3store, whose doc tells about tokens and outcomes.
package miniostore
