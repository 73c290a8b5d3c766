package postgrescluster

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/understudy-ha/understudy/backup/source/internal/pgclient"
)

// programs are the server's own, on this host.
type programs struct{ dir string }

// find returns the folder of the programs of a major version.
func (p *programs) find(ctx context.Context, major int) (string, error) {
	if p.dir != "" {
		is, err := pgclient.AskTool(ctx, filepath.Join(p.dir, "postgres"))
		if err != nil {
			return "", fmt.Errorf("bin_dir: %w", err)
		}
		if major != 0 && is.Major != major {
			return "", fmt.Errorf("bin_dir %s has PostgreSQL %d, and %d is needed: install it, or correct bin_dir", p.dir, is.Major, major)
		}
		return p.dir, nil
	}
	for _, path := range pgclient.ToolPaths("postgres") {
		if is, err := pgclient.AskTool(ctx, path); err == nil && is.Major == major {
			real, err := filepath.EvalSymlinks(path)
			return filepath.Dir(real), err
		}
	}
	if ctx.Err() != nil { // then none could be asked
		return "", context.Cause(ctx)
	}
	return "", fmt.Errorf("find the programs of PostgreSQL %d: not installed: install the server, or say in bin_dir where its programs are", major)
}
