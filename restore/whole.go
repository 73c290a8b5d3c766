package restore

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/pack"
)

// Signed reads a cached backup's manifest, verified to be the one that ref
// pins, and its bytes as they stand in the bucket. A backup that is not cached
// is an error that wraps fs.ErrNotExist.
func (c *Cache) Signed(repo *backup.Repository, ref backup.Ref) (*backup.Manifest, []byte, error) {
	if err := checkID(ref.ID); err != nil {
		return nil, nil, fmt.Errorf("read cached backup: %w", err)
	}
	signed, err := os.ReadFile(c.path("backups", ref.ID, "manifest.json"))
	if err != nil {
		return nil, nil, fmt.Errorf("read cached backup %s: %w", ref.ID, err)
	}
	m, err := repo.Decode(ref, signed)
	if err != nil {
		return nil, nil, fmt.Errorf("read cached backup %s: %w", ref.ID, err)
	}
	return m, signed, nil
}

// WholePack reads a cached pack, and verifies that it is the one that its name
// says. A pack that is not cached is an error that wraps fs.ErrNotExist.
func (c *Cache) WholePack(ctx context.Context, d pack.Digest) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("read cached pack %s: %w", d, err)
	}
	data, err := os.ReadFile(c.packs.at(d))
	if err != nil {
		return nil, fmt.Errorf("read cached pack %s: %w", d, err)
	}
	if pack.Digest(sha256.Sum256(data)) != d {
		return nil, fmt.Errorf("read cached pack %s: %w: its content is not what its name says", d, pack.ErrCorrupt)
	}
	return data, nil
}
