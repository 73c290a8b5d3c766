package azstore

import (
	"context"
	"io"
	"iter"
	"slices"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/internal/edge"
)

var _ blobstore.Versions = (*Store)(nil)

// KeepsVersions implements blobstore.Versions. The data plane does not tell
// whether the account keeps versions: that of the store's first blob does.
func (s *Store) KeepsVersions(ctx context.Context) (bool, error) {
	for item, err := range s.items(ctx, "") {
		if err != nil {
			return false, translator.Error("read versioning of", s.prefix, err)
		}
		return value(item.VersionID) != "", nil
	}
	return false, nil
}

// items yields all versions of all blobs: by name, and of one name the oldest
// first.
func (s *Store) items(ctx context.Context, prefix string) iter.Seq2[*container.BlobItem, error] {
	return func(yield func(*container.BlobItem, error) bool) {
		whole := s.prefix + prefix
		pages := s.container.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{
			Prefix: &whole, Include: container.ListBlobsInclude{Versions: true},
		})
		for pages.More() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, item := range page.Segment.BlobItems {
				if !yield(item, nil) {
					return
				}
			}
		}
	}
}

// Versions implements blobstore.Versions. Azure does not write down when a blob
// was deleted: its last version counts as in force until now.
func (s *Store) Versions(ctx context.Context, prefix string) iter.Seq2[blobstore.Version, error] {
	return func(yield func(blobstore.Version, error) bool) {
		if err := edge.AdmitList(ctx, prefix); err != nil {
			yield(blobstore.Version{}, err)
			return
		}
		var same []blobstore.Version // of one blob, the oldest first
		flush := func() bool {
			for _, v := range slices.Backward(same) {
				if !yield(v, nil) {
					return false
				}
			}
			same = same[:0]
			return true
		}
		for item, err := range s.items(ctx, prefix) {
			var attrs blobstore.Attrs
			if err == nil {
				attrs, err = s.listed(item)
			}
			if err != nil {
				yield(blobstore.Version{}, translator.Error("list versions", prefix, err))
				return
			}
			if len(same) > 0 && same[0].Key != attrs.Key && !flush() {
				return
			}
			if blobstore.CheckKey(attrs.Key) == nil {
				same = append(same, blobstore.Version{Attrs: attrs, ID: value(item.VersionID)})
			}
		}
		flush()
	}
}

// GetVersion implements blobstore.Versions.
func (s *Store) GetVersion(ctx context.Context, key, id string, opt blobstore.GetOptions) (io.ReadCloser, blobstore.Attrs, error) {
	if err := edge.AdmitGet(ctx, key, opt); err != nil {
		return nil, blobstore.Attrs{}, err
	}
	client, err := s.container.NewBlobClient(s.prefix + key).WithVersionID(id)
	if err != nil {
		return nil, blobstore.Attrs{}, translator.Error("get", key, err)
	}
	return s.read(ctx, client, key, opt, &blob.DownloadStreamOptions{})
}
