package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/cmd/understudy/exit"
	"github.com/understudy-ha/understudy/ha/agent"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/datadir"
	"github.com/understudy-ha/understudy/restore"
)

// restoredJSON is what `restore` prints with --json.
type restoredJSON struct {
	Backup  backup.Ref     `json:"backup"`
	From    string         `json:"from"` // "cache" or "bucket"
	AsOf    *time.Time     `json:"as_of,omitempty"`
	Entries []restoredPart `json:"entries"`
	// LossesTotal counts what is not restored, or not in full; Losses are the
	// first of them.
	LossesTotal int           `json:"losses_total"`
	Losses      []source.Loss `json:"losses,omitempty"`
	// Lacks is what the backup itself could not keep.
	Lacks []string `json:"lacks,omitempty"`
	// Salvage says that it is a salvage backup: what an instance that was replaced
	// had, and its successor lacks.
	Salvage bool `json:"salvage,omitempty"`
	// Owner is whom everything belongs to, where owners could not be kept.
	Owner string `json:"owner,omitempty"`
}

// restoredPart is one source's part of what was restored.
type restoredPart struct {
	Name string `json:"name"`
	Kind string `json:"kind"`
	Path string `json:"path"`
	Size int64  `json:"size"`
}

func newRestore(a *app) *cobra.Command {
	var to, asOf string
	var strict, older bool
	cmd := &cobra.Command{
		Use:   "restore ID --to DIR",
		Short: "Write a backup's content into a folder",
		Long: `Write a backup's content into a new or empty folder, one entry for each source,
named after it: a folder, a database file, NAME/dump.pgc for pg_restore, or
NAME/output of a command.

ID is a backup's id, or latest. No agent has to run: all that is needed is the key,
and the bucket or this host's cache. It changes nothing but the folder.

What cannot be restored, or not in full, holds up nothing else: a damaged file is left
out, an owner or an attribute that cannot be set is not set. The end of the output says
what (--json: losses), and the exit code is 1. What the backup itself could not keep is
said too (--json: lacks). With --strict the first failure is the
end, and nothing is left in the folder. Without root everything belongs to you.

On a host with a data folder latest is refused when the bucket shows an older head than
this host's instance has seen: the bucket was put back to an earlier state, and its
newest backup may not be the newest that there was. --older-head takes it all the same.

With --as-of the bucket is read as it was at a time, whatever was overwritten or
deleted there since: latest is then the newest backup of that time. The bucket has to
keep versions (S3, MinIO, Google Cloud Storage, Azure Blob Storage); they stay as long
as its rules for earlier versions say (understudy lifecycle show).`,
		Example: `  understudy restore latest --to /tmp/look
  understudy restore latest --to /tmp/look --bucket s3://backups/myapp --key-file ./key

  # somebody emptied the bucket at noon
  understudy restore latest --to /tmp/look --as-of '2026-03-01 11:55'`,
		Args: arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if to == "" {
				return exit.Usagef("--to is missing: name the folder to write into")
			}
			dir, err := filepath.Abs(to)
			if err != nil {
				return fmt.Errorf("find folder %s: %w", to, err)
			}
			at, err := parseAsOf(asOf)
			if err != nil {
				return err
			}
			a.older.accepted = older
			return a.restore(cmd.Context(), idOf(args), dir, at, strict)
		},
	}
	cmd.Flags().StringVar(&asOf, "as-of", "", "read the bucket as it was at this time, like 2026-03-01T12:00:00Z or '2026-03-01 12:00' (this host's time zone)")
	cmd.Flags().BoolVar(&strict, "strict", false, "stop at the first thing that cannot be restored in full, and leave nothing behind")
	cmd.Flags().BoolVar(&older, "older-head", false, "take the newest backup of a bucket that shows an older head than this host has seen")
	cmd.Flags().StringVar(&to, "to", "", "folder to write into, missing or empty")
	return cmd
}

// parseAsOf reads a time as people write it; zero for none.
func parseAsOf(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", time.DateTime, "2006-01-02 15:04", time.DateOnly} {
		if at, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return at, nil
		}
	}
	return time.Time{}, exit.Usagef("--as-of %q is no time like 2026-03-01T12:00:00Z or '2026-03-01 12:00'", text)
}

// restore writes a backup's content into a folder, from the bucket as it was at
// a time unless that is zero.
func (a *app) restore(ctx context.Context, id, dir string, at time.Time, strict bool) error {
	find := a.findCopy
	if !at.IsZero() {
		find = func(ctx context.Context, id string) (*foundCopy, error) { return a.findCopyAt(ctx, id, at) }
	}
	found, err := find(ctx, id)
	if err != nil {
		return err
	}
	defer func() { _ = found.release() }() // ends with the process anyway
	if id == "" {
		if err := a.older.refusal("it is restored with --older-head; a backup by its id needs no such word"); err != nil {
			return err
		}
	}
	p := a.progress()
	// Where the bucket can be asked too, a damaged copy here is not the end.
	losses := &source.Losses{StopAtDamage: found.from == fromCache && a.set.Bucket != ""}
	export := func() error {
		ctx := ctx
		if !strict {
			ctx = source.WithLosses(ctx, losses)
		}
		return found.export(ctx, dir, p.update)
	}
	err = export()
	if errors.Is(err, pack.ErrCorrupt) && found.from == fromCache && a.set.Bucket != "" {
		p.end()
		a.printer().note("the cached copy is damaged (%v); the bucket's is taken", err)
		if found, err = a.findInBucketOnly(ctx, found.ref.ID); err == nil {
			losses = new(source.Losses)
			err = export()
		}
	}
	p.end()
	if err != nil {
		return err
	}
	result := restoredJSON{Backup: found.ref, From: found.from, LossesTotal: losses.Total(), Losses: losses.First()}
	if os.Geteuid() != 0 {
		result.Owner = strconv.Itoa(os.Geteuid())
	}
	if !at.IsZero() {
		result.AsOf = &at
	}
	result.Lacks, result.Salvage = agent.LacksOf(found.manifest), found.manifest.Trigger == backup.Salvage
	for _, e := range found.manifest.Sources {
		result.Entries = append(result.Entries, restoredPart{Name: e.Name, Kind: e.Kind, Path: filepath.Join(dir, e.Name), Size: e.Size})
	}
	if err := a.printer().show(result, func(w io.Writer) { showRestored(w, result) }); err != nil {
		return err
	}
	if n := result.LossesTotal; n > 0 {
		return exit.With(exit.ErrFailed, fmt.Errorf("%d things are not restored, or not in full: see above", n))
	}
	return nil
}

// shownLosses bounds what is printed for people.
const shownLosses = 50

func showRestored(w io.Writer, r restoredJSON) {
	fmt.Fprintf(w, "Backup %s is restored from the %s:\n", r.Backup.ID, r.From)
	for _, e := range r.Entries {
		fmt.Fprintf(w, "  %s (%s, %s)\n", e.Path, e.Kind, size(e.Size))
	}
	if r.Owner != "" {
		fmt.Fprintf(w, "Not run as root: everything belongs to user %s, whoever it belonged to.\n", r.Owner)
	}
	if r.Salvage {
		fmt.Fprintln(w, "It is a salvage backup: what an instance that was replaced had when it stepped down.")
	}
	for _, text := range r.Lacks {
		fmt.Fprintf(w, "Not kept in the backup: %s\n", text)
	}
	if r.LossesTotal == 0 {
		return
	}
	fmt.Fprintf(w, "Not restored, or not in full (%d):\n", r.LossesTotal)
	shown := r.Losses[:min(len(r.Losses), shownLosses)]
	for _, l := range shown {
		fmt.Fprintf(w, "  %s\n", l)
	}
	if more := r.LossesTotal - len(shown); more > 0 {
		fmt.Fprintf(w, "  and %d more\n", more)
	}
}

// Where a copy of a backup is.
const (
	fromCache  = "cache"
	fromBucket = "bucket"
)

// foundCopy is a backup that can be read, held until it is released.
type foundCopy struct {
	ref      backup.Ref
	manifest *backup.Manifest
	repo     *backup.Repository
	packs    pack.Packs
	cache    *restore.Cache // nil: it is not from there
	from     string
	release  func() error
}

func (f *foundCopy) export(ctx context.Context, dir string, progress func(backup.Progress)) error {
	reader, _, err := f.repo.Open(ctx, f.manifest, f.packs)
	if err != nil {
		return fmt.Errorf("open backup %s: %w", f.ref.ID, err)
	}
	return restore.Export(ctx, reader, f.manifest, dir, progress)
}

// findCopy finds a backup ("" for the newest) in the cache of this host or,
// where it is not there, in the bucket.
func (a *app) findCopy(ctx context.Context, id string) (*foundCopy, error) {
	if id == "" && a.set.Bucket != "" {
		return a.findNewest(ctx)
	}
	cached, err := a.findInCache(id)
	switch {
	case err == nil:
		return a.mending(ctx, cached), nil
	case a.set.Bucket != "":
		return a.findInBucketOnly(ctx, id)
	case errors.Is(err, errNoCache), errors.Is(err, fs.ErrNotExist):
		return nil, exit.Usagef("the backup is not in this host's cache (%s), and no bucket is set: set UNDERSTUDY_BUCKET or --bucket", a.set.DataDir)
	}
	return nil, err
}

// findNewest finds the newest backup by the head. While the bucket cannot be
// asked it is the newest cached one.
func (a *app) findNewest(ctx context.Context) (*foundCopy, error) {
	newest, err := a.findInBucketOnly(ctx, "")
	if store := (*blobstore.Error)(nil); errors.As(err, &store) && ctx.Err() == nil {
		cached, missing := a.findInCache("")
		if missing != nil {
			return nil, err
		}
		a.printer().note("the bucket cannot be asked which backup is the newest (%v); the newest cached one is taken, of %s", err, stamp(cached.ref.Time))
		return cached, nil
	}
	if err != nil {
		return nil, err
	}
	if cached, err := a.findInCache(newest.ref.ID); err == nil {
		return a.mending(ctx, cached), nil
	}
	return newest, nil
}

func (a *app) findInBucketOnly(ctx context.Context, id string) (*foundCopy, error) {
	return a.findCopyAt(ctx, id, time.Time{})
}

// findCopyAt finds a backup in the bucket as it was at a time, unless that is
// zero.
func (a *app) findCopyAt(ctx context.Context, id string, at time.Time) (*foundCopy, error) {
	_, bucket, err := a.lookAt(ctx, at)
	if err != nil {
		return nil, err
	}
	info, m, err := bucket.Chain().Find(ctx, id)
	switch {
	case errors.Is(err, control.ErrNoBackup):
		return nil, noBackup(id)
	case err != nil:
		return nil, err
	}
	repo := bucket.Repository()
	return &foundCopy{
		ref: info.Ref, manifest: m, repo: repo, packs: repo.BucketPacks(), from: fromBucket,
		release: func() error { return nil },
	}, nil
}

// errNoCache means that this host has no cache that this user may read.
var errNoCache = errors.New("this host has no cache")

// errEmptyCache means that this host has not cached a backup.
var errEmptyCache = exit.With(fs.ErrNotExist, errors.New("this host's cache holds no backup: only a standby's agent fills it"))

// findInCache finds a backup ("" for the newest) in the cache, and keeps it
// from being dropped. It does not make a cache where there is none.
func (a *app) findInCache(id string) (*foundCopy, error) {
	journal, err := datadir.ReadJournal(a.set.DataDir)
	if err != nil || journal == nil {
		return nil, errors.Join(errNoCache, err)
	}
	folder, err := datadir.FindCache(a.set.DataDir)
	if err != nil || folder == "" {
		return nil, errors.Join(errNoCache, err)
	}
	ring, err := a.set.Ring()
	if err != nil {
		return nil, err
	}
	cache, err := restore.OpenCache(folder, agent.DefaultKeep)
	if err != nil {
		return nil, err
	}
	if id == "" {
		refs, err := cache.List()
		if err != nil {
			return nil, err
		}
		if len(refs) == 0 {
			return nil, errEmptyCache
		}
		id = refs[0].ID
	}
	release, err := cache.Hold(id)
	if err != nil {
		return nil, err
	}
	repo := &backup.Repository{Ring: ring, Cluster: journal.Cluster}
	ref, m, err := cache.Manifest(repo, id)
	if err != nil {
		return nil, errors.Join(err, release())
	}
	return &foundCopy{ref: ref, manifest: m, repo: repo, packs: cache, cache: cache, from: fromCache, release: release}, nil
}

// mending makes a cached copy take from the bucket what turns out to be damaged,
// where there is one.
func (a *app) mending(ctx context.Context, f *foundCopy) *foundCopy {
	if a.set.Bucket == "" {
		return f
	}
	store, err := openBucket(ctx, a.set, slog.New(slog.DiscardHandler))
	if err != nil {
		return f // the copy may well be sound
	}
	f.repo.Store = store
	f.cache.Mended = func(_ context.Context, m restore.Mended) {
		if m.Err == nil {
			a.printer().note("the cached pack %s is bad (%v), and was replaced by the bucket's", m.Pack, m.Why)
		}
	}
	f.packs = f.cache.Mending(f.repo)
	return f
}
