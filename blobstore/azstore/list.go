package azstore

import (
	"context"
	"errors"
	"iter"
	"net/http"
	"net/url"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/internal/edge"
)

// List implements blobstore.Store.
func (s *Store) List(ctx context.Context, prefix, after string) iter.Seq2[blobstore.Attrs, error] {
	return func(yield func(blobstore.Attrs, error) bool) {
		if err := edge.AdmitList(ctx, prefix); err != nil {
			yield(blobstore.Attrs{}, err)
			return
		}
		if after > prefix && !strings.HasPrefix(after, prefix) {
			return // all that has the prefix comes before
		}
		for attrs, err := range s.versions(ctx, prefix, after) {
			if err != nil {
				yield(blobstore.Attrs{}, translator.Error("list", prefix, err))
				return
			}
			if attrs.Key <= after || blobstore.CheckKey(attrs.Key) != nil {
				continue // before the start, or none of ours
			}
			if !yield(attrs, nil) {
				return
			}
		}
	}
}

// versions yields what is in the container from the key after on, or, at
// stores that do not know how to start there, from the prefix on. The key is
// either below the prefix or before it.
func (s *Store) versions(ctx context.Context, prefix, after string) iter.Seq2[blobstore.Attrs, error] {
	whole := s.prefix + prefix
	if after != "" && strings.HasPrefix(after, prefix) {
		ctx = context.WithValue(ctx, startKey{}, s.prefix+after)
	}
	return func(yield func(blobstore.Attrs, error) bool) {
		last := ""
		for pages := s.container.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{Prefix: &whole}); pages.More(); {
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield(blobstore.Attrs{}, err)
				return
			}
			for _, item := range page.Segment.BlobItems {
				attrs, err := s.listed(item)
				if err == nil && attrs.Key < last {
					err = errHierarchy
				}
				last = attrs.Key
				if !yield(attrs, err) || err != nil {
					return
				}
			}
		}
	}
}

// errHierarchy says that the store is not a flat one.
var errHierarchy = errors.New("the account has a hierarchical namespace, which lists folders, and not in byte order: use one without")

// folder is the type of an item that no blob has.
const folder = "directory"

// listed describes an item of a list.
func (s *Store) listed(item *container.BlobItem) (blobstore.Attrs, error) {
	properties := value(item.Properties)
	if value(properties.ResourceType) == folder {
		return blobstore.Attrs{}, errHierarchy
	}
	key := strings.TrimPrefix(value(item.Name), s.prefix)
	return attrsOf(key, value(properties.ContentLength), properties.ETag, properties.LastModified)
}

type startKey struct{}

// startFrom is the part of the SDK's pipeline that lets a list start at the
// name that its context holds. The SDK has an option of this name, which it
// does not send.
type startFrom struct{}

// Do implements policy.Policy.
func (startFrom) Do(req *policy.Request) (*http.Response, error) {
	if name, ok := req.Raw().Context().Value(startKey{}).(string); ok {
		req.Raw().URL.RawQuery += "&startFrom=" + url.QueryEscape(name)
	}
	return req.Next()
}
