package s3store

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	gcaws "gocloud.dev/aws"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/internal/edge"
	"github.com/understudy-ha/understudy/blobstore/internal/s3api"
)

// Scheme is the URL scheme that Open serves.
const Scheme = "s3"

const defaultRegion = "us-east-1"

// Open opens the bucket that a URL names; see the package's doc for its
// parameters. It is a blobstore.Opener. It sends no request: that the bucket
// is missing or closed shows at first use.
func Open(ctx context.Context, u *url.URL) (blobstore.Store, error) {
	prefix, err := bucketPrefix(u)
	if err != nil {
		return nil, err
	}
	query := u.Query()
	options, err := clientOptions(query)
	if err != nil {
		return nil, err
	}
	lock, err := s3api.ParseLock(query.Get("lock"))
	if err != nil {
		return nil, err
	}
	query.Del("lock")
	cfg, err := gcaws.V2ConfigFromURLParams(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("configure S3 client: %w", err)
	}
	if cfg.Region == "" {
		cfg.Region = defaultRegion
	}
	cfg.Credentials = &credentials{cfg.Credentials}
	client := s3.NewFromConfig(cfg, options)
	return &Store{client: client, bucket: u.Host, prefix: prefix, lock: lock}, nil
}

// bucketPrefix checks the URL's bucket and returns what all keys begin with.
func bucketPrefix(u *url.URL) (string, error) {
	if u.Opaque != "" || u.Host == "" || u.Port() != "" {
		return "", errors.New("the URL names no bucket; want s3://bucket/prefix")
	}
	return edge.Prefix(u.Path)
}

// clientOptions takes this package's own parameters out of the query.
func clientOptions(query url.Values) (func(*s3.Options), error) {
	endpoint := query.Get("endpoint")
	pathStyle := endpoint != ""
	if value := query.Get("use_path_style"); value != "" {
		var err error
		if pathStyle, err = strconv.ParseBool(value); err != nil {
			return nil, errors.New("the parameter use_path_style is neither true nor false")
		}
	}
	if endpoint != "" {
		e, err := url.Parse(endpoint)
		if err != nil || e.Scheme != "http" && e.Scheme != "https" || e.Host == "" || e.User != nil || e.RawQuery != "" {
			return nil, errors.New("the parameter endpoint is no URL like https://host:port")
		}
	}
	query.Del("endpoint")
	query.Del("use_path_style")
	return func(o *s3.Options) {
		if endpoint != "" {
			o.BaseEndpoint = aws.String(endpoint)
		}
		o.UsePathStyle = pathStyle
		o.Retryer = aws.NopRetryer{}
		o.HTTPClient = &watchedClient{next: tune(o.HTTPClient)}
		o.DisableLogOutputChecksumValidationSkipped = true
	}, nil
}

// tune bounds how long a silent store can hold a request. It keeps the
// client's trust in what AWS_CA_BUNDLE names.
func tune(client s3.HTTPClient) s3.HTTPClient {
	buildable, ok := client.(*awshttp.BuildableClient)
	if !ok {
		return client
	}
	return buildable.
		WithDialerOptions(edge.TuneDialer).
		WithTransportOptions(edge.Tune)
}
