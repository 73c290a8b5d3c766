package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/cmd/understudy/terminal"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/report"
)

// rehearsed says in a few words how an instance's newest rehearsal went.
func rehearsed(all []ha.Rehearsal) string {
	if len(all) == 0 {
		return "-"
	}
	return fmt.Sprintf("%s %s", all[0].Result, terminal.Stamp(all[0].Time))
}

// rehearsalLine says what a standby has rehearsed, and how often it does.
func rehearsalLine(s report.Status) string {
	if s.Role != ha.RoleStandby {
		return ""
	}
	policy := "policy: " + s.Policy
	var last *ha.Rehearsal
	for _, i := range s.Instances {
		if i.Self && len(i.Rehearsals) > 0 {
			last = &i.Rehearsals[0]
		}
	}
	if last == nil {
		return "none yet; " + policy
	}
	text := fmt.Sprintf("%s of %s in %s at %s", last.Result, last.Backup, terminal.Age(time.Duration(last.Took)), terminal.Stamp(last.Time))
	switch s.Staged {
	case last.Backup:
		text += ", staged"
	case "":
	default:
		text += ", staged is " + s.Staged
	}
	if s.StageRead != nil {
		text += ", " + s.StageRead.String()
	}
	return text + "; " + policy
}

// rehearsedBy lists in a few words which instances have rehearsed a backup.
func rehearsedBy(b control.BackupInfo) string {
	var words []string
	for _, r := range b.Rehearsals {
		words = append(words, fmt.Sprintf("%s on %s", r.Result, r.Instance))
	}
	return strings.Join(words, ", ")
}

// showRehearsals writes a backup's rehearsals in full.
func showRehearsals(w io.Writer, b control.BackupInfo) {
	for _, r := range b.Rehearsals {
		fmt.Fprintf(w, "\nrehearsal on %s: %s at %s, %s in %s\n", r.Instance, r.Result, terminal.Stamp(r.Time), terminal.Size(r.Bytes), terminal.Age(time.Duration(r.Took)))
		if r.Error != "" {
			fmt.Fprintln(w, terminal.Indented(r.Error))
		}
		for _, doubt := range r.Doubts {
			fmt.Fprintln(w, terminal.Indented("in doubt: "+doubt))
		}
		for _, text := range r.Unchecked {
			fmt.Fprintln(w, terminal.Indented("not checked: "+text))
		}
		if r.Output != "" {
			fmt.Fprintf(w, "  the probe printed:\n%s\n", terminal.Indented(r.Output))
		}
	}
}
