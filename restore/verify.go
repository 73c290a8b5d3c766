package restore

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/seal"
)

// deepParallel bounds the packs in memory during a deep verification.
const deepParallel = 2

// lister is implemented by packs of which a list says which are there.
type lister interface {
	MissingPacks(ctx context.Context, packs []pack.Info) ([]pack.Info, error)
}

// notWhole says which packs are missing, or cut short, a few by name.
type notWhole struct {
	missing []pack.Info
	of      int
}

func (e notWhole) Error() string {
	const named = 3
	var names []string
	for _, p := range e.missing[:min(len(e.missing), named)] {
		names = append(names, p.Digest.String())
	}
	if len(e.missing) > named {
		names = append(names, "…")
	}
	return fmt.Sprintf("%d of the %d packs that it needs are missing, or do not have their size: %s", len(e.missing), e.of, strings.Join(names, ", "))
}

// Unwrap implements what errors.Is uses: a list does not tell the two apart.
func (e notWhole) Unwrap() []error { return []error{fs.ErrNotExist, pack.ErrCorrupt} }

// sizer is implemented by packs that know sizes without reading.
type sizer interface {
	PackSize(ctx context.Context, d pack.Digest) (int64, error)
}

// Verify checks that a backup can be read: deep reads every chunk, otherwise
// every pack is present with the right size. It stops at the first pack that
// is missing (fs.ErrNotExist) or damaged (pack.ErrCorrupt). progress may be
// nil.
func Verify(ctx context.Context, repo *backup.Repository, m *backup.Manifest, packs pack.Packs, deep bool, progress func(backup.Progress)) error {
	if err := verify(ctx, repo, m, packs, deep, progress); err != nil {
		return fmt.Errorf("verify backup %s: %w", m.ID, err)
	}
	return nil
}

func verify(ctx context.Context, repo *backup.Repository, m *backup.Manifest, packs pack.Packs, deep bool, progress func(backup.Progress)) error {
	_, index, err := repo.Open(ctx, m, packs)
	if err != nil {
		return err
	}
	infos := index.Packs()
	if l, ok := packs.(lister); ok && !deep {
		missing, err := l.MissingPacks(ctx, infos)
		if err == nil && len(missing) > 0 {
			err = notWhole{missing, len(infos)}
		}
		if err == nil && progress != nil {
			progress(backup.Progress{Step: "check packs", Done: sum(infos), Total: sum(infos)})
		}
		return err
	}
	check, parallel, step := checkSize(packs), fetchParallel, "check packs"
	if deep {
		keys, err := repo.Ring.Unwrap(m.DataKey, m.Cluster)
		if err != nil {
			return err
		}
		check, parallel, step = checkChunks(packs, m.Cluster, keys), deepParallel, "read packs"
	}
	var mu sync.Mutex
	now := backup.Progress{Step: step, Total: sum(infos)}
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for _, p := range infos {
		group.Go(func() error {
			err := check(groupCtx, p)
			if errors.Is(err, io.ErrUnexpectedEOF) {
				err = fmt.Errorf("%w: it is cut short: %w", pack.ErrCorrupt, err)
			}
			if err != nil {
				return fmt.Errorf("pack %s: %w", p.Digest, err)
			}
			mu.Lock()
			defer mu.Unlock()
			now.Done += p.Size
			if progress != nil {
				progress(now)
			}
			return nil
		})
	}
	return group.Wait()
}

// checkSize checks that a pack is there and whole, reading as little as it can.
func checkSize(packs pack.Packs) func(context.Context, pack.Info) error {
	sized, ok := packs.(sizer)
	if !ok {
		return func(ctx context.Context, p pack.Info) error {
			return packs.ReadPack(ctx, p.Digest, p.Size-1, make([]byte, 1))
		}
	}
	return func(ctx context.Context, p pack.Info) error {
		size, err := sized.PackSize(ctx, p.Digest)
		if err == nil && size != p.Size {
			err = fmt.Errorf("%w: it has %d bytes instead of %d", pack.ErrCorrupt, size, p.Size)
		}
		return err
	}
}

// checkChunks reads a pack whole and every chunk in it.
func checkChunks(packs pack.Packs, cluster string, keys seal.DataKeys) func(context.Context, pack.Info) error {
	return func(ctx context.Context, p pack.Info) error {
		data := make([]byte, p.Size)
		if err := packs.ReadPack(ctx, p.Digest, 0, data); err != nil {
			return err
		}
		if sha256.Sum256(data) != p.Digest {
			return fmt.Errorf("%w: its content is not what its name says", pack.ErrCorrupt)
		}
		return pack.Contents(cluster, keys, data, func(pack.ID, []byte) error { return ctx.Err() })
	}
}
