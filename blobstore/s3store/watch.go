package s3store

import (
	"context"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// watchedClient tells the caller of a request whether it may have reached the
// store.
type watchedClient struct {
	next s3.HTTPClient
}

type sentKey struct{}

// watch returns a context for one request, and a flag that is set once there
// is a connection for the request to go out on. Until then it has had no
// effect.
func watch(ctx context.Context) (context.Context, *atomic.Bool) {
	sent := new(atomic.Bool)
	return context.WithValue(ctx, sentKey{}, sent), sent
}

// Do implements s3.HTTPClient.
func (c *watchedClient) Do(req *http.Request) (*http.Response, error) {
	if sent, ok := req.Context().Value(sentKey{}).(*atomic.Bool); ok {
		trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { sent.Store(true) }}
		req = req.WithContext(httptrace.WithClientTrace(req.Context(), trace))
	}
	return c.next.Do(req)
}
