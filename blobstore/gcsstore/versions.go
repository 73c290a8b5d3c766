package gcsstore

import (
	"context"
	"errors"
	"io"
	"iter"
	"net/url"
	"slices"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/internal/edge"
)

var _ blobstore.Versions = (*Store)(nil)

// KeepsVersions implements blobstore.Versions.
func (s *Store) KeepsVersions(ctx context.Context) (bool, error) {
	bucket, err := s.api.settings(ctx, "versioning")
	if err != nil {
		return false, translator.Error("read versioning of", s.api.bucket, err)
	}
	return bucket.Versioning.Enabled, nil
}

// Versions implements blobstore.Versions. Google writes down when a version
// ceased to be the current one; a Deleted version is made where no other took
// its place then.
func (s *Store) Versions(ctx context.Context, prefix string) iter.Seq2[blobstore.Version, error] {
	return func(yield func(blobstore.Version, error) bool) {
		if err := edge.AdmitList(ctx, prefix); err != nil {
			yield(blobstore.Version{}, err)
			return
		}
		var same []object // versions of one blob
		query := url.Values{"prefix": {s.prefix + prefix}, "versions": {"true"}}
		for o, err := range s.api.list(ctx, query) {
			if err != nil {
				yield(blobstore.Version{}, translator.Error("list versions", prefix, err))
				return
			}
			if len(same) > 0 && same[0].Name != o.Name {
				if !s.yieldVersions(same, yield) {
					return
				}
				same = same[:0]
			}
			same = append(same, o)
		}
		s.yieldVersions(same, yield)
	}
}

// yieldVersions yields the versions of one blob, the newest first.
func (s *Store) yieldVersions(same []object, yield func(blobstore.Version, error) bool) bool {
	slices.SortFunc(same, func(a, b object) int { return int(min(1, max(-1, b.Generation-a.Generation))) })
	for i, o := range same {
		attrs := s.describe(o)
		if blobstore.CheckKey(attrs.Key) != nil {
			return true
		}
		gone := !o.TimeDeleted.IsZero() && (i == 0 || same[i-1].TimeCreated.After(o.TimeDeleted))
		if gone && !yield(blobstore.Version{Attrs: blobstore.Attrs{Key: attrs.Key, Time: o.TimeDeleted}, Deleted: true}, nil) {
			return false
		}
		if !yield(blobstore.Version{Attrs: attrs, ID: string(attrs.Token)}, nil) {
			return false
		}
	}
	return true
}

// GetVersion implements blobstore.Versions.
func (s *Store) GetVersion(ctx context.Context, key, id string, opt blobstore.GetOptions) (io.ReadCloser, blobstore.Attrs, error) {
	if err := edge.AdmitGet(ctx, key, opt); err != nil {
		return nil, blobstore.Attrs{}, err
	}
	number, ok := generation(blobstore.Token(id))
	if !ok {
		return nil, blobstore.Attrs{}, edge.Fail("get", key, blobstore.ErrInvalid, errors.New("the version is none of this store's"))
	}
	return s.read(ctx, key, number, opt)
}
