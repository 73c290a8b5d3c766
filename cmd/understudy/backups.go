package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/ha/agent"
	"github.com/understudy-ha/understudy/ha/api"
)

func newBackups(a *app) *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use:   "backups",
		Short: "List the backups, newest first",
		Long: `List the backups that can be restored, newest first: those of the present chain,
those on a branch that a promotion cut off (superseded), and those that a demoted
active made of what its successor does not have (salvage).

Without a running agent it reads the bucket itself.`,
		Example: `  understudy backups
  understudy backups show latest
  understudy backups diff A B`,
		Args: subcommandOnly,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 0 {
				return usagef("--limit %d is negative", limit)
			}
			all, err := a.listBackups(cmd.Context(), limit)
			if err != nil {
				return err
			}
			if all == nil {
				all = []agent.BackupInfo{}
			}
			return a.printer().show(all, func(w io.Writer) { showBackups(w, all) })
		},
	}
	a.addAgentFlag(cmd)
	cmd.Flags().IntVar(&limit, "limit", 0, "how many to list at most (200)")
	cmd.AddCommand(newBackupsShow(a), newBackupsDiff(a))
	return cmd
}

// listBackups asks the agent, or, where none runs on this host, the bucket.
func (a *app) listBackups(ctx context.Context, limit int) ([]agent.BackupInfo, error) {
	c, err := a.agent()
	if err != nil {
		return nil, err
	}
	var list api.Backups
	err = c.get(ctx, "/api/v1/backups?"+url.Values{"limit": {strconv.Itoa(limit)}}.Encode(), &list)
	if !a.instead(err) {
		return list.Backups, err
	}
	_, bucket, err := a.look(ctx)
	if err != nil {
		return nil, err
	}
	return bucket.History(ctx, limit)
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
	return &kindError{kind: errFailed, err: fmt.Errorf("no backup has the id %q; list them with: understudy backups", id)}
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
func (a *app) findBackup(ctx context.Context, id string) (agent.BackupInfo, error) {
	c, err := a.agent()
	if err != nil {
		return agent.BackupInfo{}, err
	}
	ask := id
	if ask == "" {
		var s agent.Status
		switch err := c.get(ctx, "/api/v1/status", &s); {
		case a.instead(err):
			return a.findInBucket(ctx, id)
		case err != nil:
			return agent.BackupInfo{}, err
		case s.LastBackup == nil:
			return agent.BackupInfo{}, refusedf("the cluster has no backup yet")
		}
		ask = s.LastBackup.ID
	}
	var b agent.BackupInfo
	err = c.get(ctx, "/api/v1/backups/"+url.PathEscape(ask), &b)
	switch {
	case a.instead(err):
		return a.findInBucket(ctx, id)
	case notThere(err):
		return b, noBackup(ask)
	}
	return b, err
}

func (a *app) findInBucket(ctx context.Context, id string) (agent.BackupInfo, error) {
	_, bucket, err := a.look(ctx)
	if err != nil {
		return agent.BackupInfo{}, err
	}
	b, _, err := bucket.Find(ctx, id)
	if errors.Is(err, agent.ErrNoBackup) {
		return b, noBackup(id)
	}
	return b, err
}

func showBackups(w io.Writer, all []agent.BackupInfo) {
	if len(all) == 0 {
		fmt.Fprintln(w, "There is no backup yet.")
		return
	}
	var rows [][]any
	for _, b := range all {
		rows = append(rows, []any{stamp(b.Time), b.ID, b.Trigger, b.Instance, size(b.Size.Logical), size(b.Size.Stored), marks(b), rehearsedBy(b), b.Reason})
	}
	table(w, []any{"TIME", "ID", "TRIGGER", "INSTANCE", "SIZE", "STORED", "IS", "REHEARSED", "REASON"}, rows)
}

// marks says what is special about a backup.
func marks(b agent.BackupInfo) string {
	var words []string
	for _, m := range []struct {
		is   bool
		word string
	}{
		{b.Newest, "newest"}, {b.Superseded, "superseded"}, {b.Salvage, "salvage"},
		{!b.Changed, "unchanged"}, {b.Cached, "cached"}, {len(warningsOf(b)) > 0, "warnings"},
	} {
		if m.is {
			words = append(words, m.word)
		}
	}
	return strings.Join(words, ", ")
}

func showBackup(w io.Writer, b agent.BackupInfo) {
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
