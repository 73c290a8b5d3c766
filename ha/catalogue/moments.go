package catalogue

import (
	"context"

	"github.com/understudy-ha/understudy/ha/moments"
)

// Moments looks in the bucket for the moments to which sources can be brought.
func (c *Catalogue) Moments(ctx context.Context) (*moments.Moments, error) {
	return moments.Find(ctx, c.cfg.Chain, c.cfg.Streams)
}

// Windows are those of each source that has its log in the bucket.
func (c *Catalogue) Windows(ctx context.Context) ([]moments.Source, error) {
	m, err := c.Moments(ctx)
	if err != nil {
		return nil, err
	}
	return m.Sources, nil
}
