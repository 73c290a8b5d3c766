package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/understudy-ha/understudy/backup/pack"
)

// storeDatabase stores the database at path as it stands in one transaction: for
// whatever source it belongs to, so that how long that transaction lasts is
// bounded in one place. scratch is a folder for a temporary copy.
func storeDatabase(ctx context.Context, w chunkWriter, path, scratch string) (pack.Stream, sqliteFacts, error) {
	snap, err := openSnapshot(ctx, path)
	if err != nil {
		return pack.Stream{}, sqliteFacts{}, err
	}
	root, err := storePages(ctx, w, snap, scratch)
	if err = errors.Join(err, snap.Close()); err != nil {
		return pack.Stream{}, sqliteFacts{}, err
	}
	if root.Size != snap.facts.Size {
		return pack.Stream{}, sqliteFacts{}, fmt.Errorf("read %d bytes of %s instead of %d", root.Size, path, snap.facts.Size)
	}
	return root, snap.facts, nil
}

// storePages stores the snapshot's pages. A reader of a WAL database holds nobody
// up, so they go straight to w; in the other modes it keeps writers from
// committing, so they go to a temporary file first, which is much quicker than
// a bucket.
func storePages(ctx context.Context, w chunkWriter, snap *snapshot, scratch string) (_ pack.Stream, err error) {
	pages, err := snap.pages(ctx)
	if err != nil {
		return pack.Stream{}, err
	}
	defer func() { err = errors.Join(err, pages.Close()) }()
	if snap.facts.JournalMode == "wal" {
		return w.Write(ctx, pages, pack.Database)
	}
	spool, err := spoolPages(pages, scratch)
	if err != nil {
		return pack.Stream{}, err
	}
	defer spool.Close()
	if err := errors.Join(pages.Close(), snap.Close()); err != nil {
		return pack.Stream{}, err
	}
	return w.Write(ctx, spool, pack.Database)
}

// spoolPages copies r to a temporary file that no crash leaves behind, and
// returns the file, at its start.
func spoolPages(r io.Reader, scratch string) (_ *os.File, err error) {
	if err := makeScratch(scratch); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(scratch, "dump-*")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
		}
	}()
	if err := os.Remove(f.Name()); err != nil {
		return nil, err
	}
	if _, err := io.Copy(f, r); err != nil {
		return nil, fmt.Errorf("copy database to %s: %w", scratch, err)
	}
	_, err = f.Seek(0, io.SeekStart)
	return f, err
}
