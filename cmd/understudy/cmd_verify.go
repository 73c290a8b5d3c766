package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/cmd/understudy/backups"
	"github.com/understudy-ha/understudy/cmd/understudy/exit"
	"github.com/understudy-ha/understudy/cmd/understudy/names"
)

// verifiedJSON is what `verify` prints with --json.
type verifiedJSON struct {
	Backup backup.Ref `json:"backup"`
	In     string     `json:"in"` // "bucket" or "cache"
	Deep   bool       `json:"deep"`
	OK     bool       `json:"ok"`
}

func newVerify(a *app) *cobra.Command {
	var deep, cached bool
	cmd := &cobra.Command{
		Use:   "verify [ID]",
		Short: "Check that a backup can be restored",
		Long: `Check that a backup in the bucket can be restored: its signature and its place in
the chain, and that each of its packs is there with the right size. --deep reads,
decrypts and checks every byte.

` + idHelp + ` It is latest unless it is said.
No agent has to run. Where the bucket
shows an older head than this host's instance has seen, latest ends with exit code 1
however good it is: it may not be the newest that there was.`,
		Example: `  understudy verify --deep
  understudy verify latest --cached`,
		Args: arguments(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.verify(cmd.Context(), firstOf(args), deep, cached)
		},
	}
	cmd.Flags().BoolVar(&deep, "deep", false, "read every byte")
	cmd.Flags().BoolVar(&cached, "cached", false, "check the copy in this host's cache instead of the bucket's")
	return a.completer().command(cmd, 1, names.Names.Backups)
}

func (a *app) verify(ctx context.Context, name string, deep, cached bool) error {
	ids, find := a.backups().Stored(time.Time{}), func(id string) (*backups.Copy, error) { return a.backups().Current(ctx, id) }
	if cached {
		ids, find = a.backups().Cached(), a.backups().InCache
	}
	id, err := ids.Resolve(ctx, name)
	if err != nil {
		return damage(err)
	}
	found, err := find(id)
	if err != nil {
		return damage(err)
	}
	defer func() { _ = found.Release() }() // ends with the process anyway
	p := a.progress()
	err = found.Verify(ctx, deep, p.Update)
	p.End()
	if err != nil {
		return damage(err)
	}
	shown := a.printer().Show(verifiedJSON{Backup: found.Ref, In: found.From, Deep: deep, OK: true}, func(w io.Writer) {
		checked := "every pack is there with the right size"
		if deep {
			checked = "every byte is as it was backed up"
		}
		fmt.Fprintf(w, "Backup %s in the %s is good: %s.\n", found.Ref.ID, found.From, checked)
	})
	if backups.Relative(name) && shown == nil {
		return a.older.Failure()
	}
	return shown
}

// firstOf is the argument of a command that takes one or none.
func firstOf(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

// damage makes what is missing from a backup a failed check, not a problem
// with the bucket.
func damage(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, blobstore.ErrNotFound) {
		return exit.With(exit.ErrFailed, err)
	}
	return err
}
