package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/cmd/understudy/terminal"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/promotions"
)

// showPreflight writes what a promotion would do now.
func showPreflight(w io.Writer, p promotions.Preflight) {
	fmt.Fprintf(w, "%s, restoring %s%s\n\n", p.Mode, backupName(p.Backup.ID), upToMoment(p.Moment))
	var passed []string
	var rehearsal, stops string
	for _, c := range p.Checks {
		switch {
		case c.OK && c.Name == "rehearsal":
			rehearsal = c.Detail
			passed = append(passed, c.Name)
		case c.OK && c.Name == promotions.StopsCheck && c.Detail != "good":
			stops = c.Detail
			passed = append(passed, c.Name)
		case c.OK:
			passed = append(passed, c.Name)
		default:
			terminal.Hanging(w, terminal.Wrong, "FAILS  ", c.Name+": "+c.Detail)
		}
	}
	fmt.Fprintf(w, "%s     %s\n", terminal.Paint(w, terminal.Good, "ok"), strings.Join(passed, ", "))
	if !p.OK {
		return
	}
	if rehearsal != "" {
		fmt.Fprintf(w, "\nRehearsal: %s.", rehearsal)
	}
	fmt.Fprintf(w, "\nWould be lost: %s.\n", p.Loss.Summary)
	showPoints(w, p)
	if stops != "" {
		fmt.Fprintf(w, "Note: %s.\n", stops)
	}
	if p.Mode == ha.ModeFailover {
		fmt.Fprintln(w, waitLine(p))
	}
	if p.Loss.Heartbeat >= 0 {
		fmt.Fprintf(w, "Last sign of life of the active: %s ago.\n", terminal.InSeconds(p.Loss.Heartbeat))
	}
	if p.Loss.Reported != nil {
		fmt.Fprintf(w, "The active last reported %s.\n", p.Loss.Reported)
	}
	for _, text := range lacksOf(p.Backup) {
		fmt.Fprintf(w, "The backup lacks: %s\n", text)
	}
	for _, id := range p.Loss.Newer[:min(len(p.Loss.Newer), mostSuperseded)] {
		fmt.Fprintf(w, "Would be superseded: %s\n", id)
	}
	if n := len(p.Loss.Newer) - mostSuperseded; n > 0 {
		fmt.Fprintf(w, "Would be superseded: %d more (--json names them)\n", n)
	}
	fmt.Fprintln(w)
}

// showPoints writes up to when each source would come back, where that differs: in a
// switchover all of it does.
func showPoints(w io.Writer, p promotions.Preflight) {
	if p.Mode == ha.ModeSwitchover && p.Backup.Newest && p.Moment == nil {
		return
	}
	for _, one := range p.Loss.Sources {
		terminal.Hanging(w, terminal.Plain, "  - ", one.String())
	}
}

// mostSuperseded is how many superseded backups are named.
const mostSuperseded = 10

// waitLine says how long a failover would wait for the old active.
func waitLine(p promotions.Preflight) string {
	switch {
	case p.Wait == nil:
		return "Would wait for the old active: no."
	case p.Wait.Word:
		return fmt.Sprintf("Would wait, once it has committed, for %s; if you know that its host is off, --host-is-off ends that.", p.Wait)
	}
	return fmt.Sprintf("Would wait, once it has committed, for %s.", p.Wait)
}

// showPromoted writes what a promotion has done and lost, where that is, and what
// the backup that is in force could not keep.
func showPromoted(w io.Writer, s promotedJSON) {
	fmt.Fprintf(w, "Promoted: this instance is the active, in epoch %d, from backup %s%s.\n", s.Epoch, s.Backup, upToMoment(s.Moment))
	if s.Downtime > 0 {
		fmt.Fprintf(w, "The application was stopped for %s.\n", terminal.InSeconds(s.Downtime))
	}
	if s.Takeover == nil {
		fmt.Fprintln(w, "What was lost could not be looked up yet; understudy status tells it.")
	} else {
		for _, line := range s.Takeover.Lost {
			fmt.Fprintln(w, "Lost:", line)
		}
	}
	for _, line := range s.Lacks {
		fmt.Fprintln(w, "Not kept in the newest backup:", line)
	}
}

// lacksOf is what a backup could not keep.
func lacksOf(b control.BackupInfo) []string {
	all := slices.Clone(b.Warnings)
	for _, src := range b.Sources {
		for _, text := range src.Warnings {
			all = append(all, src.Name+": "+text)
		}
	}
	return all
}

// backupName names a backup that may not be known.
func backupName(id string) string {
	if id == "" {
		return "a backup that is not known now"
	}
	return "backup " + id
}

// upToMoment says how far logs are applied to a backup; "" where that is not limited.
func upToMoment(at *time.Time) string {
	if at == nil {
		return ""
	}
	return " and the log up to " + ha.MomentText(*at)
}

// promotionView shows a promotion's steps as they come, on standard error.
type promotionView struct {
	printer  terminal.Printer
	progress *terminal.Progress
	working  string
	waiting  string
}

func (v *promotionView) step(s ha.Step) {
	v.progress.End()
	took := terminal.Age(time.Duration(s.Took))
	if s.Note == "" {
		v.printer.Note("  done  %-10s %s", s.Name, took)
		return
	}
	v.printer.Note("  done  %-10s %s  %s", s.Name, took, s.Note)
}

// wait says what the promotion waits for, when that is something new.
func (v *promotionView) wait(s promotions.PromotionStatus) {
	waiting := ""
	if s.State == promotions.PromotionRunning && s.Waiting != nil {
		waiting = s.Waiting.For
	}
	if waiting != "" && waiting != v.waiting {
		v.progress.End()
		v.printer.Note("        waits for %s", s.Waiting)
	}
	v.waiting = waiting
}

// status says what is under way, when that is something new.
func (v *promotionView) status(s promotions.PromotionStatus) {
	if p := s.Progress; p != nil && s.State == promotions.PromotionRunning && p.Total > 0 && !v.printer.JSON {
		v.progress.Update(*p)
	}
	v.wait(s)
	working := string(s.Phase)
	if s.State != promotions.PromotionRunning || working == "" || working == v.working {
		return
	}
	v.working = working
	v.progress.End()
	v.printer.Note("        %s …", working)
}
