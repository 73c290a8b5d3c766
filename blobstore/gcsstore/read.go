package gcsstore

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync/atomic"

	"google.golang.org/api/googleapi"
)

// errBroken ends a read whose connection broke.
var errBroken = errors.New("the connection broke before the body's end")

// maxRefusal is as much as is read of an answer that refuses.
const maxRefusal = 64 << 10

type readKey struct{}

// forRead returns a context for the one request that reads a blob's body.
func forRead(ctx context.Context) context.Context {
	return context.WithValue(ctx, readKey{}, new(atomic.Bool))
}

// reads holds the SDK's reader to its caller's wishes, within a context of
// forRead. Whatever its retries are set to, it asks for the rest of a body
// that breaks off, without a pause and for as long as there are answers: a
// second request is refused. And it forgets what the store says with a 404,
// which may be that the bucket is missing: that is made an error here.
type reads struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (r reads) RoundTrip(req *http.Request) (*http.Response, error) {
	spent, ok := req.Context().Value(readKey{}).(*atomic.Bool)
	if !ok {
		return r.next.RoundTrip(req)
	}
	if spent.Swap(true) {
		return nil, errBroken
	}
	resp, err := r.next.RoundTrip(req)
	if err != nil || resp.StatusCode != http.StatusNotFound {
		return resp, err
	}
	defer resp.Body.Close()
	said, err := io.ReadAll(io.LimitReader(resp.Body, maxRefusal))
	if err != nil {
		return nil, err
	}
	return nil, &googleapi.Error{Code: resp.StatusCode, Header: resp.Header, Body: string(said)}
}
