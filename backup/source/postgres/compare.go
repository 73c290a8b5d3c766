package postgres

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/postgres/internal/compare"
)

// compareDumps is Compare of the kind.
func compareDumps(ctx context.Context, c *source.Comparison) (source.Difference, error) {
	major := 0 // a pg_restore of this version reads both dumps
	for _, e := range []source.Entry{c.A.Entry, c.B.Entry} {
		var facts Facts
		if err := json.Unmarshal(e.Facts, &facts); err != nil {
			return source.Difference{}, fmt.Errorf("read facts: %w", err)
		}
		major = max(major, facts.Tool)
	}
	return compare.Dumps(ctx, c, major)
}
