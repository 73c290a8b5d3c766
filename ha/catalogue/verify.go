package catalogue

import (
	"context"
	"errors"
	"io/fs"

	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/restore"
)

// Verify checks that the backup with this id ("" for the newest) can be
// restored from the bucket: each of its packs is there with the right size, or,
// when deep, every byte is right. It gives what is wrong with it, "" when
// nothing is. A verification while another one is under way is a *ha.Refusal.
func (c *Catalogue) Verify(ctx context.Context, id string, deep bool) (damage string, err error) {
	if !c.verifying.TryLock() {
		return "", errBusy
	}
	defer c.verifying.Unlock()
	_, m, err := c.BackupInfo(ctx, id)
	if err != nil {
		return "", err
	}
	err = restore.Verify(ctx, c.cfg.Repo, m, c.cfg.Repo.Current().BucketPacks(), deep, nil)
	for _, damaged := range []error{fs.ErrNotExist, blobstore.ErrNotFound, pack.ErrCorrupt} {
		if errors.Is(err, damaged) {
			c.cfg.Packs.LookSoon()
			return err.Error(), nil
		}
	}
	return "", err
}
