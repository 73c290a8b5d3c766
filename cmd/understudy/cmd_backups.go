package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/cmd/understudy/exit"
	"github.com/understudy-ha/understudy/ha/agent"
	"github.com/understudy-ha/understudy/ha/control"
)

func newBackups(a *app) *cobra.Command {
	var limit int
	var before string
	cmd := &cobra.Command{
		Use:   "backups",
		Short: "List the backups, newest first",
		Long: `List the backups that can be restored, newest first: those of the present chain,
those on a branch that a promotion cut off (superseded), and those that a demoted
active made of what its successor does not have (salvage). One whose manifest is
damaged is listed with the reason.

It lists the newest 200, or as many as --limit says, and says when there are older
ones: --before goes on after a backup. With --json it lists all, unless --limit is set; what is left then
stands as {"next": ID} on standard error.

Without a running agent it reads the bucket itself.`,
		Example: `  understudy backups
  understudy backups --limit 50 --before 20260301T120000Z-e00000001-s00000042-379011e4
  understudy backups show latest
  understudy backups diff A B`,
		Args: subcommandOnly,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 0 {
				return exit.Usagef("--limit %d is negative", limit)
			}
			if _, err := backup.ParseID(before); before != "" && err != nil {
				return exit.Usagef("--before: %w", err)
			}
			if a.json && limit == 0 {
				limit = mostBackups
			}
			list, err := a.listBackups(cmd.Context(), before, limit)
			if err != nil {
				return err
			}
			a.tellOlder(list.OlderHead)
			if list.Backups == nil {
				list.Backups = []control.BackupInfo{}
			}
			if a.json && (list.Next != "" || len(list.Damaged) > 0) {
				rest := struct {
					Next    string                  `json:"next,omitempty"`
					Damaged []control.DamagedObject `json:"damaged,omitempty"`
				}{list.Next, list.Damaged}
				_ = json.NewEncoder(a.std.err).Encode(rest) // no part of the result
			}
			return a.printer().show(list.Backups, func(w io.Writer) { showBackups(w, list) })
		},
	}
	a.addAgentFlag(cmd)
	cmd.Flags().IntVar(&limit, "limit", 0, "how many to list at most (200; with --json all)")
	cmd.Flags().StringVar(&before, "before", "", "only those that come after the backup with this id in the list")
	cmd.AddCommand(newBackupsShow(a), newBackupsDiff(a))
	return cmd
}

// mostBackups is how many backups the API lists at most.
const mostBackups = 100_000

// listBackups asks the agent, or, where none runs on this host, the bucket.
func (a *app) listBackups(ctx context.Context, before string, limit int) (list control.BackupList, err error) {
	c, err := a.agent()
	if err != nil {
		return list, err
	}
	err = c.get(ctx, "/api/v1/backups?"+url.Values{"limit": {strconv.Itoa(limit)}, "before": {before}}.Encode(), &list)
	if !a.instead(err) {
		return list, err
	}
	_, bucket, err := a.look(ctx)
	if err != nil {
		return list, err
	}
	return bucket.Chain().List(ctx, before, limit)
}

// instead reports whether the bucket can be asked what no agent answered.
func (a *app) instead(err error) bool {
	return errors.Is(err, errNoAgent) && a.agentURL == "" && a.set.Bucket != ""
}

// latest is the word for the newest backup.
const latest = "latest"

// idOf is a backup's id as packages take it: "" for the newest.
func idOf(args []string) string {
	if len(args) == 0 || args[0] == latest {
		return ""
	}
	return args[0]
}

// noBackup says that there is no backup with an id.
func noBackup(id string) error {
	return exit.With(exit.ErrFailed, fmt.Errorf("no backup has the id %q; list them with: understudy backups", id))
}

func newBackupsShow(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "show ID",
		Short:   "Show one backup",
		Long:    `Show one backup, by its id or as latest.`,
		Example: `  understudy backups show latest --json`,
		Args:    arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := a.findBackup(cmd.Context(), idOf(args))
			if err != nil {
				return err
			}
			return a.printer().show(b, func(w io.Writer) { showBackup(w, b) })
		},
	}
	a.addAgentFlag(cmd)
	return cmd
}

// findBackup asks the agent, or, where none runs on this host, the bucket; ""
// is the newest.
func (a *app) findBackup(ctx context.Context, id string) (control.BackupInfo, error) {
	c, err := a.agent()
	if err != nil {
		return control.BackupInfo{}, err
	}
	ask := id
	if ask == "" {
		var s agent.Status
		switch err := c.get(ctx, "/api/v1/status", &s); {
		case a.instead(err):
			return a.findInBucket(ctx, id)
		case err != nil:
			return control.BackupInfo{}, err
		case s.LastBackup == nil && s.Bucket != "ok":
			return control.BackupInfo{}, exit.With(exit.ErrBucket, fmt.Errorf("which backup is the newest is not known: %s", s.Bucket))
		case s.LastBackup == nil:
			return control.BackupInfo{}, exit.Refusedf("the cluster has no backup yet")
		}
		ask = s.LastBackup.ID
	}
	var b control.BackupInfo
	err = c.get(ctx, "/api/v1/backups/"+url.PathEscape(ask), &b)
	switch {
	case a.instead(err):
		return a.findInBucket(ctx, id)
	case notThere(err):
		return b, noBackup(ask)
	}
	return b, err
}

func (a *app) findInBucket(ctx context.Context, id string) (control.BackupInfo, error) {
	_, bucket, err := a.look(ctx)
	if err != nil {
		return control.BackupInfo{}, err
	}
	b, _, err := bucket.Chain().Find(ctx, id)
	if errors.Is(err, control.ErrNoBackup) {
		return b, noBackup(id)
	}
	return b, err
}

func showBackups(w io.Writer, list control.BackupList) {
	if len(list.Backups) == 0 {
		fmt.Fprintln(w, "There is no backup yet.")
	} else {
		var rows [][]any
		for _, b := range list.Backups {
			if b.Damaged != "" {
				rows = append(rows, []any{stamp(b.Time), b.ID, "", "", "", "", marks(b), "", b.Damaged})
				continue
			}
			rows = append(rows, []any{stamp(b.Time), b.ID, b.Trigger, b.Instance, size(b.Size.Logical), size(b.Size.Stored), marks(b), rehearsedBy(b), b.Reason})
		}
		table(w, []any{"TIME", "ID", "TRIGGER", "INSTANCE", "SIZE", "STORED", "IS", "REHEARSED", "REASON"}, rows)
	}
	fmt.Fprint(w, listNotes(list))
}

// listNotes says, a line each, what a list of backups does not show.
func listNotes(list control.BackupList) string {
	var notes strings.Builder
	for _, d := range list.Damaged {
		fmt.Fprintf(&notes, "damaged: %s (a backup that only this object names is not listed): %s\n", d.Key, d.Reason)
	}
	if list.Next != "" {
		fmt.Fprintf(&notes, "These are %d; there are older ones: understudy backups --before %s\n", len(list.Backups), list.Next)
	}
	return notes.String()
}

// marks says what is special about a backup.
func marks(b control.BackupInfo) string {
	var words []string
	for _, m := range []struct {
		is   bool
		word string
	}{
		{b.Newest, "newest"}, {b.Superseded, "superseded"}, {b.Salvage, "salvage"},
		{b.Damaged != "", "damaged"}, {b.Unlinked, "not linked to the chain"}, {!b.Changed && b.Damaged == "", "unchanged"}, {b.Cached, "cached"}, {len(warningsOf(b)) > 0, "warnings"},
	} {
		if m.is {
			words = append(words, m.word)
		}
	}
	return strings.Join(words, ", ")
}

func showBackup(w io.Writer, b control.BackupInfo) {
	facts(w, [][2]string{
		{"Backup", b.ID},
		{"Time", stamp(b.Time)},
		{"Made", fmt.Sprintf("by %s (%s), epoch %d, sequence %d, in %s", b.Instance, b.Version, b.Epoch, b.Sequence, inSeconds(b.Duration))},
		{"Trigger", string(b.Trigger)},
		{"Reason", b.Reason},
		{"Version", b.AppVersion},
		{"Size", fmt.Sprintf("%s, of which %s new, %s stored", size(b.Size.Logical), size(b.Size.New), size(b.Size.Stored))},
		{"Is", marks(b)},
		{"Key", b.Key},
		{"Digest", b.Digest},
	})
	fmt.Fprintln(w)
	var rows [][]any
	for _, s := range b.Sources {
		rows = append(rows, []any{s.Name, s.Kind, size(s.Size)})
	}
	table(w, []any{"SOURCE", "KIND", "SIZE"}, rows)
	for _, warning := range warningsOf(b) {
		fmt.Fprintln(w, "warning:", warning)
	}
	showRehearsals(w, b)
}
