package gcsstore

import (
	"context"
	"errors"
	"io"
	"iter"
	"slices"

	"cloud.google.com/go/storage"
	"google.golang.org/api/iterator"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/internal/edge"
)

var _ blobstore.Versions = (*Store)(nil)

// KeepsVersions implements blobstore.Versions.
func (s *Store) KeepsVersions(ctx context.Context) (bool, error) {
	attrs, err := s.bucket.Attrs(ctx)
	if err != nil {
		return false, translator.Error("read versioning of", s.bucket.BucketName(), err)
	}
	return attrs.VersioningEnabled, nil
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
		var same []*storage.ObjectAttrs // versions of one blob
		for object, err := range s.generations(ctx, prefix) {
			if err != nil {
				yield(blobstore.Version{}, translator.Error("list versions", prefix, err))
				return
			}
			if len(same) > 0 && same[0].Name != object.Name {
				if !s.yieldVersions(same, yield) {
					return
				}
				same = same[:0]
			}
			same = append(same, object)
		}
		s.yieldVersions(same, yield)
	}
}

// generations yields all versions of all objects, in order of their names.
func (s *Store) generations(ctx context.Context, prefix string) iter.Seq2[*storage.ObjectAttrs, error] {
	return func(yield func(*storage.ObjectAttrs, error) bool) {
		query := &storage.Query{Prefix: s.prefix + prefix, Versions: true, Projection: storage.ProjectionNoACL}
		if err := query.SetAttrSelection([]string{"Name", "Size", "Generation", "Created", "Deleted"}); err != nil {
			yield(nil, err)
			return
		}
		objects := s.bucket.Objects(ctx, query)
		for {
			object, err := objects.Next()
			if errors.Is(err, iterator.Done) || !yield(object, err) || err != nil {
				return
			}
		}
	}
}

// yieldVersions yields the versions of one blob, the newest first.
func (s *Store) yieldVersions(same []*storage.ObjectAttrs, yield func(blobstore.Version, error) bool) bool {
	slices.SortFunc(same, func(a, b *storage.ObjectAttrs) int { return int(min(1, max(-1, b.Generation-a.Generation))) })
	for i, object := range same {
		attrs := s.describe(object)
		if blobstore.CheckKey(attrs.Key) != nil {
			return true
		}
		gone := !object.Deleted.IsZero() && (i == 0 || same[i-1].Created.After(object.Deleted))
		if gone && !yield(blobstore.Version{Attrs: blobstore.Attrs{Key: attrs.Key, Time: object.Deleted}, Deleted: true}, nil) {
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
	return s.read(ctx, s.object(key).Generation(number), key, opt)
}
