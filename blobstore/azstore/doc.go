// Package azstore keeps blobs in a container of Azure Blob Storage or of a
// store that speaks its protocol:
//
//	azblob://container/prefix?account=name
//	azblob://container/prefix?endpoint=http://127.0.0.1:10000/name
//
// Everything goes through Azure's own SDK. gocloud.dev/blob does not serve
// here: it panics where an answer lacks a header that it counts on, as a
// proxy's own do and a 304 may, its writer panics on every error, and it
// cannot list from a key on.
//
// # Parameters
//
//   - account: the storage account's name; default is AZURE_STORAGE_ACCOUNT
//   - endpoint: the URL of the account's blob service, default
//     https://ACCOUNT.blob.core.windows.net; for emulators, private clouds and
//     sovereign ones
//
// Credentials come from the environment, the first of these that is there:
//
//   - AZURE_STORAGE_KEY: the account's key
//   - AZURE_STORAGE_SAS_TOKEN: a shared access signature, with the permissions
//     to read, create, write, delete and list
//   - AZURE_STORAGE_CONNECTION_STRING, which names account and endpoint too
//   - what the SDK's DefaultAzureCredential finds: the variables of a service
//     principal (AZURE_TENANT_ID, …), a workload's or the host's managed
//     identity, the Azure CLI's login. It needs the role Storage Blob Data
//     Contributor, and https.
//
// # Tokens and outcomes
//
// A token is an ETag, which every write makes anew. A put is one Put Blob
// request whatever its size; there are never uncommitted blocks. Its time is
// the Last-Modified that the store answers with.
//
// The SDK's retries are off: blobstore.Retry is the one place that repeats,
// and it never repeats a conditional put. A conditional put's error is
// ErrUnknownOutcome unless it is certain that nothing was written: the store
// refused it, or no connection was there to send it on. Azure says that a blob
// exists already with 409 and BlobAlreadyExists, which is ErrPrecondition; a
// blob on which somebody holds an Azure lease is ErrDenied.
//
// # Lists
//
// A list after some key starts there at the store (startFrom, in the protocol
// since version 2026-02-06). A store that does not heed this is read from the
// prefix's beginning, and what comes before is skipped here.
//
// Accounts with a hierarchical namespace (Data Lake Storage) do not serve:
// they show folders as blobs, and list in another order than that of bytes.
// List is ErrInvalid when it sees that.
//
// # Lifecycle, versions, soft delete
//
// The store is no blobstore.Lifecycle: Azure has rules, but the service that
// holds the blobs does not tell or set them; that is the management plane's,
// with other credentials. So the active deletes for itself. In a container
// with versioning or soft delete nothing that is overwritten or deleted goes
// until a rule of Azure's own removes it, and the head is rewritten all day:
// have one that deletes previous versions after a day, and keep soft delete
// short. A delete leaves a blob alone that has snapshots, and is ErrDenied.
package azstore
