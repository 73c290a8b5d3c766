package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/cmd/understudy/exit"
	"github.com/understudy-ha/understudy/cmd/understudy/terminal"
	"github.com/understudy-ha/understudy/ha/moments"
)

// aMoment is the form of a moment: RFC 3339.
var aMoment = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$`)

// parseMoment reads a moment: to the fraction of a second, and of a known zone.
func parseMoment(text string) (time.Time, error) {
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || !aMoment.MatchString(text) {
		return time.Time{}, exit.Usagef("--time %q is no moment like 2026-03-01T12:00:00.25Z or 2026-03-01T13:00:00+01:00: write the date, the time and the zone", text)
	}
	return at, nil
}

// showWindows shows what moments there are.
func (a *app) showWindows(ctx context.Context) error {
	all, err := a.backups().Windows(ctx)
	if err != nil {
		return err
	}
	if all == nil {
		all = []moments.Source{}
	}
	return a.printer().Show(all, func(w io.Writer) { writeWindows(w, all) })
}

func writeWindows(w io.Writer, all []moments.Source) {
	if len(all) == 0 {
		fmt.Fprintln(w, "No source has its log in the bucket from a base on: there are backups alone.")
		return
	}
	var rows [][]any
	var notes []string
	for _, s := range all {
		gap := 0
		for _, one := range s.Windows {
			for ; gap < len(s.Gaps) && !s.Gaps[gap].To.After(one.Since); gap++ {
				is := s.Gaps[gap]
				rows = append(rows, []any{s.Name, moments.Stamp(is.From, false), moments.Stamp(is.To, true), "", "", terminal.Cell{Text: "a gap: no moment in it can be reached", Kind: terminal.Wrong}})
			}
			by := one.Backup
			if one.Next != "" {
				by += ", backup " + one.Next
			}
			for _, id := range one.Streams {
				by += ", stream " + id.String()
			}
			rows = append(rows, []any{s.Name, moments.Stamp(one.Since, true), moments.Stamp(one.Until, false), age(one.Until.Sub(one.Since).Seconds()), one.Epoch, by})
			if one.Broken != "" {
				notes = append(notes, fmt.Sprintf("%s: nothing behind %s can be reached by the log that was shipped: %s", s.Name, moments.Stamp(one.Until, false), one.Broken))
			}
		}
	}
	terminal.Table(w, []any{"SOURCE", "FROM", "TO", "LENGTH", "EPOCH", "BY"}, rows)
	for _, text := range notes {
		fmt.Fprintln(w, text)
	}
}

// momentJSON is what `restore --time` prints with --json.
type momentJSON struct {
	Time        time.Time     `json:"time"`
	Entries     []momentPart  `json:"entries"`
	LossesTotal int           `json:"losses_total"`
	Losses      []source.Loss `json:"losses,omitempty"`
	Owner       string        `json:"owner,omitempty"`
}

// momentPart is one source's part of what was restored.
type momentPart struct {
	restoredPart
	Backup backup.Ref `json:"backup"`
	// Reached says what the source was brought to; without it the source is as in the
	// backup.
	Reached *source.Reached `json:"reached,omitempty"`
}

// restoreMoment writes the sources into a folder, as they were at a moment.
func (a *app) restoreMoment(ctx context.Context, at time.Time, dir string, strict bool) error {
	m, err := a.backups().Moments(ctx)
	if err != nil {
		return err
	}
	if err := a.older.Refusal("a backup by its id needs no such word; the moments of what the bucket shows are restored with --older-head"); err != nil {
		return err
	}
	p, losses := a.progress(), new(source.Losses)
	if !strict {
		ctx = source.WithLosses(ctx, losses)
	}
	parts, err := m.Export(ctx, at, dir, p.Update)
	p.End()
	if err != nil {
		return err
	}
	result := momentJSON{Time: at, LossesTotal: losses.Total(), Losses: losses.First()}
	if os.Geteuid() != 0 {
		result.Owner = strconv.Itoa(os.Geteuid())
	}
	for _, part := range parts {
		e := part.Entry
		result.Entries = append(result.Entries, momentPart{
			restoredPart: restoredPart{Name: e.Name, Kind: e.Kind, Path: filepath.Join(dir, e.Name), Size: e.Size}, Backup: part.Ref, Reached: part.Reached,
		})
	}
	if err := a.printer().Show(result, func(w io.Writer) { showMoment(w, result) }); err != nil {
		return err
	}
	return notWhole(result.LossesTotal)
}

func showMoment(w io.Writer, r momentJSON) {
	fmt.Fprintf(w, "Restored from the bucket, as of %s:\n", r.Time.Format(time.RFC3339Nano))
	for _, e := range r.Entries {
		fmt.Fprintf(w, "  %s (%s): %s\n", e.Path, e.Kind, reachedText(e))
	}
	showLosses(w, r.Owner, r.LossesTotal, r.Losses)
}

// reachedText says what a source was brought to.
func reachedText(e momentPart) string {
	if e.Reached == nil {
		return fmt.Sprintf("as in backup %s, of %s, which is the newest that is not later", e.Backup.ID, terminal.Stamp(e.Backup.Time))
	}
	last := "there is no commit since its base"
	if at := e.Reached.Last; at != nil {
		last = "the last commit is of " + at.Format(time.RFC3339Nano)
	}
	if e.Reached.Later == nil {
		return fmt.Sprintf("all of its log, up to %s: that has no later commit; %s", e.Reached.Position, last)
	}
	return fmt.Sprintf("its log up to %s: %s, the first that is left out of %s", e.Reached.Position, last, e.Reached.Later.Format(time.RFC3339Nano))
}
