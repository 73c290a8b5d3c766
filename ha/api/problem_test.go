package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/danielgtaylor/huma/v2"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha/client"
	"github.com/understudy-ha/understudy/ha/requests"
)

// That the agent ends is told from a bucket that cannot be used.
func TestAnAgentThatStopsSaysSo(t *testing.T) {
	closed, open := make(chan struct{}), make(chan struct{})
	close(closed)
	for _, c := range []struct {
		closing chan struct{}
		err     error
		kind    string
	}{
		{open, fmt.Errorf("promote: %w", requests.ErrStopped), client.TypeStopping},
		{closed, errors.New("anything"), client.TypeStopping},
		{closed, context.Canceled, client.TypeStopping},
		{open, context.Canceled, "about:blank"},
		{closed, blobstore.ErrUnavailable, "about:blank"},
	} {
		got := (&api{closing: c.closing}).problemOf(t.Context(), c.err)
		if p, ok := errors.AsType[*huma.ErrorModel](got); !ok || p.Status != http.StatusServiceUnavailable || p.Type != c.kind {
			t.Errorf("%v: %+v", c.err, got)
		}
	}
}
