package prometheus

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/source"
)

var _ source.Previewer = (*Source)(nil)

// Preview implements source.Previewer: whether the files of the blocks may be read, which
// a snapshot links as they are, and snapshots be removed again. What else lies in the data
// folder is in no snapshot.
func (p *Source) Preview(ctx context.Context) error {
	entries, err := os.ReadDir(p.cfg.DataDir)
	if err != nil {
		return fmt.Errorf("source %s: %w", p.name, err)
	}
	for _, e := range entries {
		if !e.IsDir() || !blockName.MatchString(e.Name()) {
			continue
		}
		// The server removes a block once it has merged it into another one.
		if err := p.snapshotTree(filepath.Join(p.cfg.DataDir, e.Name())).Preview(ctx); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	dir := p.snapshots.dir()
	if err := unix.Faccessat(unix.AT_FDCWD, dir, unix.R_OK|unix.W_OK|unix.X_OK, unix.AT_EACCESS); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("source %s: remove snapshots from %s: %w; run the agent as root, or as Prometheus's user", p.name, dir, err)
	}
	return nil
}

// blockName is a ULID, as the server calls its blocks.
var blockName = regexp.MustCompile(`^[0-9A-HJKMNP-TV-Z]{26}$`)
