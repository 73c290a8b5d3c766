package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/cmd/understudy/backups"
	"github.com/understudy-ha/understudy/cmd/understudy/exit"
	"github.com/understudy-ha/understudy/cmd/understudy/names"
	"github.com/understudy-ha/understudy/cmd/understudy/terminal"
	"github.com/understudy-ha/understudy/ha/watch"
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
	var to, asOf, moment string
	var strict, older bool
	cmd := &cobra.Command{
		Use:   "restore [ID] --to DIR",
		Short: "Write a backup's content into a folder",
		Long: `Write a backup's content into a new or empty folder, one entry for each source,
named after it: a folder, a database file, NAME/dump.pgc for pg_restore, or
NAME/output of a command.

` + idHelp + `
No agent has to run: all that is needed is the key, and the bucket or this host's
cache. It changes nothing but the folder.

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
as its rules for earlier versions say (understudy lifecycle show).

With --time, and no ID, a source whose log is in the bucket (postgres_cluster) is
restored as it was at a moment: with every commit up to and including it, and none from
the first later one on. The others are as in the newest backup that is not later, and
the output says in which. A moment that the log does not have is refused:
understudy backups --windows lists those that it has.`,
		Example: `  understudy restore latest --to /tmp/look
  understudy restore latest --to /tmp/look --bucket s3://backups/myapp --key-file ./key

  # somebody emptied the bucket at noon
  understudy restore latest --to /tmp/look --as-of '2026-03-01 11:55'

  # somebody dropped a table just after noon
  understudy restore --time 2026-03-01T12:00:00.25Z --to /tmp/look`,
		Args: arguments(cobra.RangeArgs(0, 1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case moment == "" && len(args) == 0:
				return exit.Usagef("name a backup, latest for the newest, or a moment with --time")
			case moment != "" && (len(args) > 0 || asOf != ""):
				return exit.Usagef("--time chooses the backup by itself: leave ID and --as-of out")
			}
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
			a.older.Accepted = older
			if moment != "" {
				until, err := parseMoment(moment)
				if err != nil {
					return err
				}
				return a.restoreMoment(cmd.Context(), until, dir, strict)
			}
			return a.restore(cmd.Context(), args[0], dir, at, strict)
		},
	}
	cmd.Flags().StringVar(&asOf, "as-of", "", "read the bucket as it was at this time, like 2026-03-01T12:00:00Z or '2026-03-01 12:00' (this host's time zone)")
	cmd.Flags().StringVar(&moment, "time", "", "restore this moment, like 2026-03-01T12:00:00.25Z or 2026-03-01T13:00:00+01:00")
	cmd.Flags().BoolVar(&strict, "strict", false, "stop at the first thing that cannot be restored in full, and leave nothing behind")
	cmd.Flags().BoolVar(&older, "older-head", false, "take the newest backup of a bucket that shows an older head than this host has seen")
	cmd.Flags().StringVar(&to, "to", "", "folder to write into, missing or empty")
	return a.completer().command(cmd, 1, names.Names.Backups)
}

// parseAsOf reads a time as people write it; zero for none.
func parseAsOf(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	at, err := terminal.ParseTime(text)
	if err != nil {
		err = exit.Usagef("--as-of %q is no time like 2026-03-01T12:00:00Z or '2026-03-01 12:00'", text)
	}
	return at, err
}

// restore writes a backup's content into a folder, from the bucket as it was at
// a time unless that is zero.
func (a *app) restore(ctx context.Context, name, dir string, at time.Time, strict bool) error {
	ids, find := a.backups().Readable(), a.backups().Copy
	if !at.IsZero() {
		ids = a.backups().Stored(at)
		find = func(ctx context.Context, id string) (*backups.Copy, error) { return a.backups().CopyAt(ctx, id, at) }
	}
	id, err := ids.Resolve(ctx, name)
	if err != nil {
		return err
	}
	found, err := find(ctx, id)
	if err != nil {
		return err
	}
	defer func() { _ = found.Release() }() // ends with the process anyway
	if backups.Relative(name) {
		if err := a.older.Refusal("it is restored with --older-head; a backup by its id needs no such word"); err != nil {
			return err
		}
	}
	p := a.progress()
	// Where the bucket can be asked too, a damaged copy here is not the end.
	losses := &source.Losses{StopAtDamage: found.From == backups.FromCache && a.set.Bucket != ""}
	export := func() error {
		ctx := ctx
		if !strict {
			ctx = source.WithLosses(ctx, losses)
		}
		return found.Export(ctx, dir, p.Update)
	}
	err = export()
	if errors.Is(err, pack.ErrCorrupt) && found.From == backups.FromCache && a.set.Bucket != "" {
		p.End()
		a.printer().Note("the cached copy is damaged (%v); the bucket's is taken", err)
		if found, err = a.backups().InBucket(ctx, found.Ref.ID); err == nil {
			losses = new(source.Losses)
			err = export()
		}
	}
	p.End()
	if err != nil {
		return err
	}
	result := restoredJSON{Backup: found.Ref, From: found.From, LossesTotal: losses.Total(), Losses: losses.First()}
	if os.Geteuid() != 0 {
		result.Owner = strconv.Itoa(os.Geteuid())
	}
	if !at.IsZero() {
		result.AsOf = &at
	}
	result.Lacks, result.Salvage = watch.LacksOf(found.Manifest), found.Manifest.Trigger == backup.Salvage
	for _, e := range found.Manifest.Sources {
		result.Entries = append(result.Entries, restoredPart{Name: e.Name, Kind: e.Kind, Path: filepath.Join(dir, e.Name), Size: e.Size})
	}
	if err := a.printer().Show(result, func(w io.Writer) { showRestored(w, result) }); err != nil {
		return err
	}
	return notWhole(result.LossesTotal)
}

// notWhole is the error of a restore that lacks some things.
func notWhole(losses int) error {
	if losses == 0 {
		return nil
	}
	return exit.With(exit.ErrFailed, fmt.Errorf("%d things are not restored, or not in full: see above", losses))
}

// shownLosses bounds what is printed for people.
const shownLosses = 50

func showRestored(w io.Writer, r restoredJSON) {
	fmt.Fprintf(w, "Backup %s is restored from the %s:\n", r.Backup.ID, r.From)
	for _, e := range r.Entries {
		fmt.Fprintf(w, "  %s (%s, %s)\n", e.Path, e.Kind, terminal.Size(e.Size))
	}
	if r.Salvage {
		fmt.Fprintln(w, "It is a salvage backup: what an instance that was replaced had when it stepped down.")
	}
	for _, text := range r.Lacks {
		fmt.Fprintf(w, "Not kept in the backup: %s\n", text)
	}
	showLosses(w, r.Owner, r.LossesTotal, r.Losses)
}

// showLosses says what could not be kept.
func showLosses(w io.Writer, owner string, total int, losses []source.Loss) {
	if owner != "" {
		fmt.Fprintf(w, "Not run as root: everything belongs to user %s, whoever it belonged to.\n", owner)
	}
	if total == 0 {
		return
	}
	fmt.Fprintf(w, "Not restored, or not in full (%d):\n", total)
	shown := losses[:min(len(losses), shownLosses)]
	for _, l := range shown {
		fmt.Fprintf(w, "  %s\n", l)
	}
	if more := total - len(shown); more > 0 {
		fmt.Fprintf(w, "  and %d more\n", more)
	}
}
