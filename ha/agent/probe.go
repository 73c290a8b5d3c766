package agent

import (
	"context"
	"errors"
	"fmt"

	"github.com/understudy-ha/understudy/blobstore/probe"
)

// probeRequests is how many requests, one after the other, the probe of a
// store may take as long as.
const probeRequests = 3

// checkStore proves that the store keeps the promises that everything depends
// on, in bounded time. One that breaks any is ErrBucket, and the error names
// it; one that does not answer is not.
func checkStore(ctx context.Context, cfg Config) error {
	ctx, cancel := context.WithTimeout(ctx, probeRequests*cfg.RequestTimeout)
	defer cancel()
	report, err := probe.Safety(ctx, probe.Config{Store: cfg.Store, Random: cfg.Random})
	if err == nil {
		err = report.Err()
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, probe.ErrUnsafe):
		return fmt.Errorf("%w: %w", ErrBucket, err)
	default:
		return fmt.Errorf("probe the store: %w", err)
	}
}
