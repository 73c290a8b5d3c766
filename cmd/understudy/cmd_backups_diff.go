package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/cmd/understudy/backups"
	"github.com/understudy-ha/understudy/cmd/understudy/names"
	"github.com/understudy-ha/understudy/cmd/understudy/terminal"
	"github.com/understudy-ha/understudy/restore"
)

// diffJSON is what `backups diff` prints with --json.
type diffJSON struct {
	A       diffSideJSON         `json:"a"`
	B       diffSideJSON         `json:"b"`
	Same    bool                 `json:"same"`
	Sources []restore.SourceDiff `json:"sources"`
}

type diffSideJSON struct {
	backup.Ref
	Instance string `json:"instance"`
	Trigger  string `json:"trigger"`
	From     string `json:"from"` // "cache" or "bucket"
}

// diffListed is how many changes of a source people are shown, unless they ask
// for all.
const diffListed = 20

func newBackupsDiff(a *app) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "diff A B",
		Short: "Show in what two backups differ",
		Long: `Show in what two backups differ, source by source: any two, those that were
superseded and salvage backups too. A and B are ids of backups or beginnings of
ids, latest, or latest~1. What B has and A has not counts as added.

  directory  entries added, removed and changed: content, size, mode, owner, mtime,
             xattrs. A folder's own mtime is not compared
  sqlite     for each table the rows that are only in A, only in B, or changed, by
             primary key or rowid
  postgres   for each table the rows that are only in A or only in B: a changed row
             is one of each. Needs no server, but pg_restore of the dumps' version
  command    the sizes, and where the outputs part

What has not changed between the two is not read. The listing ends after 20 changes
of each source, unless --all or --json asks for everything. Nothing is listed for
postgres: dumps do not tell keys.

No agent has to run: all that is needed is the key, and the bucket or this host's
cache. Database files are written to the folder for temporary files (TMPDIR) and
removed again. Exit code 0 whether they differ or not.`,
		Example: `  understudy backups diff latest~1 latest
  understudy backups diff SALVAGE-ID RESTORED-ID --all   # what a failover lost`,
		Args: arguments(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			limit := diffListed
			if all || a.json {
				limit = 0
			}
			return a.diffBackups(cmd.Context(), args[0], args[1], limit)
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "list every change")
	return a.completer().command(cmd, 2, names.Names.Backups)
}

func (a *app) diffBackups(ctx context.Context, nameA, nameB string, limit int) error {
	idA, err := a.backups().Readable().Resolve(ctx, nameA)
	if err != nil {
		return err
	}
	idB, err := a.backups().Readable().Resolve(ctx, nameB)
	if err != nil {
		return err
	}
	copyA, err := a.backups().Copy(ctx, idA)
	if err != nil {
		return err
	}
	defer func() { _ = copyA.Release() }() // ends with the process anyway
	copyB, err := a.backups().Copy(ctx, idB)
	if err != nil {
		return err
	}
	defer func() { _ = copyB.Release() }()
	p := a.progress()
	sources, err := restore.Diff(ctx, copyA.DiffSide(), copyB.DiffSide(), restore.DiffOptions{Limit: limit, Progress: p.Update})
	p.End()
	if sources == nil && err != nil {
		return err
	}
	d := diffJSON{A: diffSideOf(copyA), B: diffSideOf(copyB), Same: true, Sources: sources}
	for _, s := range sources {
		d.Same = d.Same && s.Same
	}
	if shown := a.printer().Show(d, func(w io.Writer) { showDiff(w, d) }); shown != nil {
		return shown
	}
	return err
}

func diffSideOf(f *backups.Copy) diffSideJSON {
	return diffSideJSON{Ref: f.Ref, Instance: f.Manifest.Instance, Trigger: string(f.Manifest.Trigger), From: f.From}
}

func showDiff(w io.Writer, d diffJSON) {
	for _, side := range []struct {
		name string
		diffSideJSON
	}{{"A", d.A}, {"B", d.B}} {
		fmt.Fprintf(w, "%s  %s, of %s by %s (%s), from the %s\n", side.name, side.ID, terminal.Stamp(side.Time), side.Instance, side.Trigger, side.From)
	}
	fmt.Fprintln(w)
	var rows [][]any
	for _, s := range d.Sources {
		rows = append(rows, []any{s.Name, s.Kind, diffSummary(s)})
	}
	terminal.Table(w, []any{"SOURCE", "KIND", "DIFFERENCE"}, rows)
	for _, s := range d.Sources {
		showSourceDiff(w, s)
	}
}

// diffSummary says in a few words in what a source differs.
func diffSummary(s restore.SourceDiff) string {
	switch {
	case s.Error != "":
		return "not compared"
	case s.OnlyIn != "":
		return "only in " + strings.ToUpper(s.OnlyIn)
	case s.Same:
		return "same"
	case s.Files != nil:
		return fmt.Sprintf("%s added, %s removed, %s changed", counted(s.Files.Added), counted(s.Files.Removed), counted(s.Files.Changed))
	case s.Bytes != nil:
		return fmt.Sprintf("%d bytes in A, %d in B, which part at byte %d", s.Bytes.SizeA, s.Bytes.SizeB, s.Bytes.First)
	case len(s.Tables) == 1:
		return "1 table differs"
	case len(s.Tables) > 1:
		return fmt.Sprintf("%d tables differ", len(s.Tables))
	}
	return "differs"
}

func counted(c source.FileCount) string {
	if c.Bytes == 0 {
		return strconv.FormatInt(c.Entries, 10)
	}
	return fmt.Sprintf("%d (%s)", c.Entries, terminal.Size(c.Bytes))
}

// showSourceDiff shows a source that differs in more detail.
func showSourceDiff(w io.Writer, s restore.SourceDiff) {
	if s.Error == "" && len(s.Notes)+len(s.Tables)+len(s.Changes) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s:\n", s.Name)
	if s.Error != "" {
		fmt.Fprintln(w, "  not compared:", s.Error)
	}
	for _, note := range s.Notes {
		fmt.Fprintln(w, "  note:", note)
	}
	if len(s.Tables) > 0 {
		var rows [][]any
		for _, t := range s.Tables {
			rows = append(rows, []any{"  " + t.Name, t.RowsA, t.RowsB, t.OnlyA, t.OnlyB, t.Changed, t.Note})
		}
		terminal.Table(w, []any{"  TABLE", "ROWS IN A", "IN B", "ONLY IN A", "ONLY IN B", "CHANGED", ""}, rows)
	}
	if len(s.Changes) > 0 {
		var rows [][]any
		for _, c := range s.Changes {
			rows = append(rows, []any{"  " + c.Change, changed(c), changeDetail(c)})
		}
		terminal.Table(w, []any{"  CHANGE", "WHAT", "HOW"}, rows)
	}
	if s.Omitted > 0 {
		fmt.Fprintf(w, "  … and %d more; list them with --all\n", s.Omitted)
	}
}

// changed names what a change is about, on one line.
func changed(c source.Change) string {
	if c.Table != "" {
		return c.Table + " " + oneLine(c.Key)
	}
	name := oneLine(c.Path)
	if c.Type == "folder" && name != "." {
		name += "/"
	}
	return name
}

// oneLine quotes what would not show as it is.
func oneLine(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return !strconv.IsPrint(r) || r == '\uFFFD' }) {
		return strconv.Quote(s)
	}
	return s
}

func changeDetail(c source.Change) string {
	switch {
	case c.Table != "":
		return ""
	case c.Change == source.Added && c.Type == "file":
		return terminal.Size(c.SizeB)
	case c.Change == source.Removed && c.Type == "file":
		return terminal.Size(c.SizeA)
	}
	detail := strings.Join(c.What, ", ")
	if c.SizeA != c.SizeB {
		detail += fmt.Sprintf(" (%s → %s)", terminal.Size(c.SizeA), terminal.Size(c.SizeB))
	}
	return detail
}
