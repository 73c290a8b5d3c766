package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/cmd/understudy/backups"
	"github.com/understudy-ha/understudy/cmd/understudy/exit"
	"github.com/understudy-ha/understudy/cmd/understudy/names"
	"github.com/understudy-ha/understudy/cmd/understudy/terminal"
	"github.com/understudy-ha/understudy/ha/control"
)

func newBackups(a *app) *cobra.Command {
	var limit int
	var before string
	var windows bool
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

With --windows it lists, for each source whose log is in the bucket (postgres_cluster),
the times to each moment of which it can be restored (understudy restore --time), and
the gaps between them.

Without a running agent it reads the bucket itself.`,
		Example: `  understudy backups
  understudy backups --limit 50 --before 20260301T120000Z-e00000001-s00000042-379011e4
  understudy backups --windows
  understudy backups show latest
  understudy backups diff A B`,
		Args: subcommandOnly,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 0 {
				return exit.Usagef("--limit %d is negative", limit)
			}
			switch {
			case windows && (before != "" || limit != 0):
				return exit.Usagef("--windows lists no backups: leave --before and --limit out")
			case windows:
				return a.showWindows(cmd.Context())
			}
			if before != "" {
				id, err := a.backups().Listed().Resolve(cmd.Context(), before)
				if err == nil && id == "" {
					var newest control.BackupInfo
					newest, err = a.backups().Find(cmd.Context(), "")
					id = newest.ID
				}
				if err != nil {
					return fmt.Errorf("--before: %w", err)
				}
				before = id
			}
			if a.json && limit == 0 {
				limit = backups.Most
			}
			list, err := a.backups().List(cmd.Context(), before, limit)
			if err != nil {
				return err
			}
			a.older.Tell(a.printer(), list.OlderHead)
			if list.Backups == nil {
				list.Backups = []control.BackupInfo{}
			}
			if a.json && (list.Next != "" || len(list.Damaged) > 0) {
				rest := struct {
					Next    string                  `json:"next,omitempty"`
					Damaged []control.DamagedObject `json:"damaged,omitempty"`
				}{list.Next, list.Damaged}
				_ = json.NewEncoder(a.std.Err).Encode(rest) // no part of the result
			}
			return a.printer().Show(list.Backups, func(w io.Writer) { showBackups(w, list) })
		},
	}
	a.addAgentFlag(cmd)
	cmd.Flags().IntVar(&limit, "limit", 0, "how many to list at most (200; with --json all)")
	cmd.Flags().BoolVar(&windows, "windows", false, "list the moments that sources with a log can be restored to")
	cmd.Flags().StringVar(&before, "before", "", "only those that come after the backup with this id in the list")
	a.completer().flag(cmd, "before", names.Names.Backups)
	cmd.AddCommand(newBackupsShow(a), newBackupsDiff(a))
	return cmd
}

// idHelp says how a backup is named.
const idHelp = `ID is a backup's id or the beginning of one, latest, or latest~1 for the
one before it (latest~2, and so on, in the chain that the newest one ends).`

func newBackupsShow(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "show ID",
		Short:   "Show one backup",
		Long:    "Show one backup. " + idHelp,
		Example: `  understudy backups show latest --json`,
		Args:    arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := a.backups().Listed().Resolve(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			b, err := a.backups().Find(cmd.Context(), id)
			if err != nil {
				return err
			}
			return a.printer().Show(b, func(w io.Writer) { showBackup(w, b) })
		},
	}
	a.addAgentFlag(cmd)
	return a.completer().command(cmd, 1, names.Names.Backups)
}

func showBackups(w io.Writer, list control.BackupList) {
	if len(list.Backups) == 0 {
		fmt.Fprintln(w, "There is no backup yet.")
	} else {
		var rows [][]any
		for _, b := range list.Backups {
			if b.Damaged != "" {
				rows = append(rows, []any{terminal.Stamp(b.Time), b.ID, "", "", "", "", terminal.Cell{Text: marks(b), Kind: terminal.Wrong}, "", b.Damaged})
				continue
			}
			rows = append(rows, []any{terminal.Stamp(b.Time), b.ID, b.Trigger, b.Instance, terminal.Size(b.Size.Logical), terminal.Size(b.Size.Stored), marks(b), rehearsedBy(b), b.Reason})
		}
		terminal.Table(w, []any{"TIME", "ID", "TRIGGER", "INSTANCE", "SIZE", "STORED", "IS", "REHEARSED", "REASON"}, rows)
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
	terminal.Facts(w, [][2]string{
		{"Backup", b.ID},
		{"Time", terminal.Stamp(b.Time)},
		{"Made", fmt.Sprintf("by %s (%s), epoch %d, sequence %d, in %s", b.Instance, b.Version, b.Epoch, b.Sequence, terminal.InSeconds(b.Duration))},
		{"Trigger", string(b.Trigger)},
		{"Reason", b.Reason},
		{"Version", b.AppVersion},
		{"Size", fmt.Sprintf("%s, of which %s new, %s stored", terminal.Size(b.Size.Logical), terminal.Size(b.Size.New), terminal.Size(b.Size.Stored))},
		{"Is", marks(b)},
		{"Key", b.Key},
		{"Digest", b.Digest},
	})
	fmt.Fprintln(w)
	var rows [][]any
	for _, s := range b.Sources {
		rows = append(rows, []any{s.Name, s.Kind, terminal.Size(s.Size)})
	}
	terminal.Table(w, []any{"SOURCE", "KIND", "SIZE"}, rows)
	for _, warning := range warningsOf(b) {
		fmt.Fprintln(w, "warning:", warning)
	}
	showRehearsals(w, b)
}
