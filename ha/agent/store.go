package agent

import (
	"context"
	"errors"
	"fmt"

	"github.com/understudy-ha/understudy/blobstore/conformance"
	"github.com/understudy-ha/understudy/ha/control"
)

// examineRequests is how many requests, one after the other, the examination of
// the store may take as long as.
const examineRequests = 3

// checkStore proves that the store keeps the promises that everything depends
// on, in bounded time. One that breaks any is ErrBucket, and the error names
// it; one that does not answer is not.
func checkStore(ctx context.Context, cfg Config) error {
	ctx, cancel := context.WithTimeout(ctx, examineRequests*cfg.RequestTimeout)
	defer cancel()
	report, err := conformance.Safety(ctx, conformance.Config{Store: cfg.Store, Random: cfg.Random})
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
