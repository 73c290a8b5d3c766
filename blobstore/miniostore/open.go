package miniostore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/s3utils"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/internal/edge"
	"github.com/understudy-ha/understudy/blobstore/internal/s3api"
)

// Scheme is the URL scheme that Open serves.
const Scheme = "minio"

// Open opens the bucket that a URL names; see the package's doc for its
// parameters. It is a blobstore.Opener. It sends no request: that the bucket
// is missing or closed shows at first use.
func Open(_ context.Context, u *url.URL) (blobstore.Store, error) {
	if u.Opaque != "" || u.Host == "" {
		return nil, errNoBucket
	}
	bucket, rest, _ := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	if bucket == "" {
		return nil, errNoBucket
	}
	if err := s3utils.CheckValidBucketName(bucket); err != nil {
		return nil, fmt.Errorf("the bucket's name %.64q is not good: %w", bucket, err)
	}
	prefix, err := edge.Prefix(rest)
	if err != nil {
		return nil, err
	}
	options, err := clientOptions(u.Query())
	if err != nil {
		return nil, err
	}
	lock, err := s3api.ParseLock(u.Query().Get("lock"))
	if err != nil {
		return nil, err
	}
	client := edge.Client()
	client.Transport = dated{client.Transport}
	options.Transport = client.Transport
	core, err := minio.NewCore(u.Host, options)
	if err != nil {
		return nil, fmt.Errorf("configure client: %w", err)
	}
	return &Store{core: core, http: client, bucket: bucket, prefix: prefix, lock: lock}, nil
}

var errNoBucket = errors.New("the URL names no bucket; want minio://host:port/bucket/prefix")

var lookups = map[string]minio.BucketLookupType{
	"":     minio.BucketLookupPath,
	"path": minio.BucketLookupPath,
	"dns":  minio.BucketLookupDNS,
}

func clientOptions(query url.Values) (*minio.Options, error) {
	for _, name := range slices.Sorted(maps.Keys(query)) {
		if !slices.Contains([]string{"tls", "region", "lookup", "lock"}, name) {
			return nil, fmt.Errorf("the URL has an unknown parameter %q; want tls, region, lookup or lock", name)
		}
	}
	tls := true
	if value := query.Get("tls"); value != "" {
		var err error
		if tls, err = strconv.ParseBool(value); err != nil {
			return nil, errors.New("the parameter tls is neither true nor false")
		}
	}
	lookup, ok := lookups[query.Get("lookup")]
	if !ok {
		return nil, errors.New("the parameter lookup is neither path nor dns")
	}
	return &minio.Options{
		Creds:        chain(),
		Secure:       tls,
		Region:       query.Get("region"),
		BucketLookup: lookup,
		MaxRetries:   1, // attempts, that is
	}, nil
}
