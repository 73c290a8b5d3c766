package main

import (
	"fmt"
	"io"
	"time"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/agent"
)

// showPreflight writes what a promotion would do now.
func showPreflight(w io.Writer, p agent.Preflight) {
	fmt.Fprintf(w, "%s, restoring backup %s\n\n", p.Mode, p.Backup.ID)
	var rows [][]any
	for _, c := range p.Checks {
		result := "ok"
		if !c.OK {
			result = "FAILS"
		}
		rows = append(rows, []any{c.Name, result, c.Detail})
	}
	table(w, []any{"CHECK", "RESULT", "DETAIL"}, rows)
	fmt.Fprintln(w)
	if p.Loss.Summary == "" {
		return // it is not known
	}
	fmt.Fprintf(w, "Would be lost: %s.\n", p.Loss.Summary)
	if p.Loss.Heartbeat >= 0 {
		fmt.Fprintf(w, "Last sign of life of the active: %s ago.\n", inSeconds(p.Loss.Heartbeat))
	}
	for _, id := range p.Loss.Newer {
		fmt.Fprintf(w, "  superseded: %s\n", id)
	}
	fmt.Fprintln(w)
}

// promotionView shows a promotion's steps as they come, on standard error.
type promotionView struct {
	printer printer
	working string
}

func (v *promotionView) step(s ha.Step) {
	took := age(time.Duration(s.Took))
	if s.Note == "" {
		v.printer.note("  done  %-10s %s", s.Name, took)
		return
	}
	v.printer.note("  done  %-10s %s  %s", s.Name, took, s.Note)
}

// status says what is under way, when that is something new.
func (v *promotionView) status(s agent.PromotionStatus) {
	working := string(s.Phase)
	if s.State != agent.PromotionRunning || working == "" || working == v.working {
		return
	}
	v.working = working
	v.printer.note("        %s …", working)
}
