package s3store

import (
	"context"
	"encoding/xml"
	"io"
	"iter"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/internal/edge"
)

var _ blobstore.Versions = (*Store)(nil)

// KeepsVersions implements blobstore.Versions.
func (s *Store) KeepsVersions(ctx context.Context) (bool, error) {
	out, err := s.client.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: aws.String(s.bucket)})
	if err != nil {
		return false, translator.Error("read versioning of", s.bucket, err)
	}
	return out.Status != "", nil // one that was suspended keeps what it has
}

// versionList is an answer to ListObjectVersions. The SDK's model of it forgets
// in which order versions and delete markers came.
type versionList struct {
	Entries []listedVersion `xml:",any"`
}

type listedVersion struct {
	XMLName      xml.Name
	Key          string
	VersionID    string `xml:"VersionId"`
	LastModified time.Time
	ETag         string
	Size         int64
}

// Versions implements blobstore.Versions.
func (s *Store) Versions(ctx context.Context, prefix string) iter.Seq2[blobstore.Version, error] {
	return func(yield func(blobstore.Version, error) bool) {
		if err := edge.AdmitList(ctx, prefix); err != nil {
			yield(blobstore.Version{}, err)
			return
		}
		in := &s3.ListObjectVersionsInput{Bucket: aws.String(s.bucket), Prefix: aws.String(s.prefix + prefix)}
		for {
			var document []byte
			out, err := s.client.ListObjectVersions(ctx, in, keepAnswer(&document))
			var list versionList
			if err == nil {
				err = xml.Unmarshal(document, &list)
			}
			if err != nil {
				yield(blobstore.Version{}, translator.Error("list versions", prefix, err))
				return
			}
			for _, entry := range list.Entries {
				if v, ok := s.version(entry); ok && !yield(v, nil) {
					return
				}
			}
			if !aws.ToBool(out.IsTruncated) {
				return
			}
			in.KeyMarker, in.VersionIdMarker = out.NextKeyMarker, out.NextVersionIdMarker
		}
	}
}

// version describes an entry of a list of versions, unless it is none, or is
// of no key.
func (s *Store) version(entry listedVersion) (blobstore.Version, bool) {
	key := strings.TrimPrefix(entry.Key, s.prefix)
	deleted := entry.XMLName.Local == "DeleteMarker"
	if !deleted && entry.XMLName.Local != "Version" || blobstore.CheckKey(key) != nil {
		return blobstore.Version{}, false
	}
	return blobstore.Version{
		Attrs: blobstore.Attrs{Key: key, Size: entry.Size, Token: blobstore.Token(entry.ETag), Time: entry.LastModified},
		ID:    entry.VersionID, Deleted: deleted,
	}, true
}

// GetVersion implements blobstore.Versions.
func (s *Store) GetVersion(ctx context.Context, key, id string, opt blobstore.GetOptions) (io.ReadCloser, blobstore.Attrs, error) {
	if err := edge.AdmitGet(ctx, key, opt); err != nil {
		return nil, blobstore.Attrs{}, err
	}
	in := s.get(key, opt)
	in.VersionId = aws.String(id)
	body, attrs, err := s.read(ctx, in, key, opt)
	if err != nil {
		return nil, blobstore.Attrs{}, translator.Error("get version", key, err)
	}
	return body, attrs, nil
}
