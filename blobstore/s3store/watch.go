package s3store

import (
	"net/http"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/understudy-ha/understudy/blobstore/internal/edge"
)

// watchedClient tells the caller of a request whether it may have reached the
// store, and breaks bodies off that stall.
type watchedClient struct {
	next s3.HTTPClient
}

// Do implements s3.HTTPClient.
func (c *watchedClient) Do(req *http.Request) (*http.Response, error) {
	return edge.Exchange(req, c.next.Do)
}
