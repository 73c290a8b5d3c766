package membership

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/conformance"
	"github.com/understudy-ha/understudy/ha/control"
)

// examineRequests is how many requests, one after the other, the examination of
// the store may take as long as.
const examineRequests = 3

// CheckStore proves that the store keeps the promises that everything depends
// on, in bounded time. One that breaks any is ErrBucket, and the error names
// it; one that does not answer is not.
func CheckStore(ctx context.Context, store blobstore.Store, timeout time.Duration, random io.Reader) error {
	ctx, cancel := context.WithTimeout(ctx, examineRequests*timeout)
	defer cancel()
	report, err := conformance.Safety(ctx, conformance.Config{Store: store, Random: random})
	if err == nil {
		err = report.Err()
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, conformance.ErrUnsafe):
		return fmt.Errorf("%w: %w", control.ErrBucket, err)
	default:
		return fmt.Errorf("examine the store: %w", err)
	}
}
