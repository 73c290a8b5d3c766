package blobstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
)

// Version is one version of a blob, in a bucket that keeps those that were
// overwritten or deleted.
type Version struct {
	Attrs
	// ID names the version to GetVersion; opaque.
	ID string
	// Deleted is true of what says that the blob was deleted at this time. It
	// has no body.
	Deleted bool
}

// Versions is what a provider has whose buckets can keep versions.
type Versions interface {
	// KeepsVersions reports whether the bucket keeps versions, now or since
	// some time ago.
	KeepsVersions(ctx context.Context) (bool, error)
	// Versions yields the versions of the blobs whose key has the prefix: keys
	// in ascending byte order, of one key the newest first, until the consumer
	// stops or an error is yielded, which is the last pair.
	Versions(ctx context.Context, prefix string) iter.Seq2[Version, error]
	// GetVersion is Store.Get of one version. One that is not there any more is
	// ErrNotFound.
	GetVersion(ctx context.Context, key, id string, opt GetOptions) (io.ReadCloser, Attrs, error)
}

// VersionsOf yields the versions of one blob, the newest first.
func VersionsOf(ctx context.Context, v Versions, key string) iter.Seq2[Version, error] {
	return func(yield func(Version, error) bool) {
		for version, err := range v.Versions(ctx, key) {
			if err == nil && version.Key != key {
				return // the key comes before those that go on after it
			}
			if !yield(version, err) {
				return
			}
		}
	}
}

// FindVersion reads the versions of a blob of at most limit bytes, the oldest first, until
// one is right. It is ErrNotFound where none is.
func FindVersion(ctx context.Context, v Versions, key string, limit int64, right func([]byte) bool) ([]byte, Version, error) {
	var all []Version
	for version, err := range VersionsOf(ctx, v, key) {
		if err != nil {
			return nil, Version{}, fmt.Errorf("list earlier versions of %s: %w", key, err)
		}
		if !version.Deleted && version.Size <= limit {
			all = append(all, version)
		}
	}
	for _, version := range slices.Backward(all) {
		body, err := readVersion(ctx, v, version, limit)
		switch {
		case errors.Is(err, ErrNotFound): // it has just expired
		case err != nil:
			return nil, Version{}, fmt.Errorf("read an earlier version of %s: %w", key, err)
		case right(body):
			return body, version, nil
		}
	}
	return nil, Version{}, &Error{Op: "get", Key: key, Kind: ErrNotFound, Err: errors.New("no earlier version of it is right")}
}

func readVersion(ctx context.Context, v Versions, version Version, limit int64) ([]byte, error) {
	content, attrs, err := v.GetVersion(ctx, version.Key, version.ID, GetOptions{})
	if err != nil {
		return nil, err
	}
	defer content.Close() // read to the end or failed: closing tells nothing new
	return readWhole(version.Key, content, attrs, limit)
}
