package sources

import (
	"context"
	"log/slog"
	"time"

	"github.com/understudy-ha/understudy/backup/source"
)

// positionTimeout is how long the sources may take, together, to tell how far
// they have come. A record without positions is better than none.
const positionTimeout = 2 * time.Second

// Positions asks sources how far they have come, for a bounded time.
func Positions(ctx context.Context, sources []source.Source, logger *slog.Logger) map[string]string {
	ctx, cancel := context.WithTimeout(ctx, positionTimeout)
	defer cancel()
	all := make(map[string]string)
	for _, src := range sources {
		p, ok := src.(source.Positioner)
		if !ok {
			continue
		}
		at, err := p.Position(ctx)
		if err != nil {
			logger.DebugContext(ctx, "a source does not tell its position", "source", src.Name(), "error", err)
			continue
		}
		all[src.Name()] = at
	}
	return all
}
