package ha

import (
	"fmt"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/backup"
)

// A rehearsal restores the newest cached backup of a standby beside its live
// state, so that it is known to be restorable, and a promotion to it is a swap.

// rehearsalLane is the rehearsals of a standby, and what they have staged.
type rehearsalLane struct {
	*core
	work    *workLane
	pull    *pullLane
	restore *restoreLane

	newest  Rehearsed // the newest rehearsal
	at      instant   // when it began; never: before this process did
	retryAt instant   // no other of the same backup before
	wait    time.Duration
	staged  bool // a backup may be staged, or half staged
}

// last is the newest rehearsal.
func (rl *rehearsalLane) last() Rehearsed { return rl.newest }

// RehearsalPolicy says how often a standby rehearses.
type RehearsalPolicy struct {
	Off   bool
	Every time.Duration // at most this often; 0: every backup
}

// everyBackup is the policy that is in force unless another is set.
const everyBackup = "every backup"

// ParseRehearsalPolicy reads "every backup", "every 30m" (or another duration)
// or "off".
func ParseRehearsalPolicy(text string) (RehearsalPolicy, error) {
	switch text {
	case everyBackup:
		return RehearsalPolicy{}, nil
	case "off":
		return RehearsalPolicy{Off: true}, nil
	}
	if of, found := strings.CutPrefix(text, "every "); found {
		if d, err := time.ParseDuration(of); err == nil && d > 0 {
			return RehearsalPolicy{Every: d}, nil
		}
	}
	return RehearsalPolicy{}, fmt.Errorf("rehearsal %q is not known; write %q, %q or %q", text, everyBackup, "every 30m", "off")
}

// String is what ParseRehearsalPolicy reads.
func (p RehearsalPolicy) String() string {
	switch {
	case p.Off:
		return "off"
	case p.Every > 0:
		return "every " + p.Every.String()
	}
	return everyBackup
}

// Rehearsed is how the newest rehearsal on an instance went.
type Rehearsed struct {
	Backup string `json:"backup,omitempty"` // its id; "": there was none
	Error  string `json:"error,omitempty"`  // why it failed; "": it passed, and the backup is staged
}

// Rehearsal attests one rehearsal. The newest of a backup counts.
type Rehearsal struct {
	Backup string    `json:"backup"` // its id
	Time   time.Time `json:"time"`   // when it ended
	Result Verdict   `json:"result"`
	Took   Duration  `json:"took"`
	Bytes  int64     `json:"bytes"`            // of the restored state
	Output string    `json:"output,omitempty"` // the end of what the probe printed
	Error  string    `json:"error,omitempty"`
	// Doubts are what may be wrong with the backed-up state; Unchecked is what
	// only the application can look at. Both are bounded.
	Doubts    []string `json:"doubts,omitempty"`
	Unchecked []string `json:"unchecked,omitempty"`
}

// Staged tells whether the rehearsal has left a stage that a promotion may swap
// in.
func (r *Rehearsal) Staged() bool {
	return r.Result == RehearsalPassed || r.Result == RehearsalDoubtful
}

// Remarks says for people what is in doubt and what was not checked, each after a
// semicolon; "": nothing.
func (r *Rehearsal) Remarks() (text string) {
	if len(r.Doubts) > 0 {
		text = "; in doubt: " + strings.Join(r.Doubts, "; ")
	}
	if len(r.Unchecked) > 0 {
		text += "; not checked: " + strings.Join(r.Unchecked, "; ")
	}
	return text
}

// Verdict is how a rehearsal went.
type Verdict string

// Verdicts.
const (
	RehearsalPassed Verdict = "passed" // restored, verified, and to the probe's liking
	RehearsalFailed Verdict = "failed"
	// RehearsalDoubtful is as good for a promotion as one that passed, and it is
	// not known whether all of the state is: Doubts say why.
	RehearsalDoubtful Verdict = "doubtful"
)

// workRehearsal is the work beside which pulls go on.
const workRehearsal = "rehearsal"

// plan rehearses the newest cached backup when that is due. An
// instance that has something else to see to does not.
func (rl *rehearsalLane) plan() {
	policy, last, ref := rl.p.Rehearsal, rl.newest, rl.pull.cached()
	switch {
	case rl.j.Promotion != nil || rl.j.Demotion != nil || rl.restore.leftReplaced():
		return
	case policy.Off:
		rl.planUnstage()
		return
	case ref == nil || ref.ID == last.Backup && last.Error == "":
		return
	case ref.ID == last.Backup && !rl.due(rl.retryAt):
		return
	case last.Error == "" && rl.at != never && !rl.due(rl.at+policy.Every):
		return
	}
	rl.at, rl.staged = rl.t, true
	id := rl.work.begin(workRehearsal, func(d Done) { rl.done(*ref, d) })
	rl.emit(Rehearse{ID: id, Ref: *ref})
}

func (rl *rehearsalLane) done(ref backup.Ref, d Done) {
	switch {
	case d.Outcome == OK:
		rl.newest, rl.wait = Rehearsed{Backup: ref.ID}, 0
		rl.report(Info, "rehearsal", "backup %s is rehearsed: %s", ref.ID, d.Note)
	case rl.work.isYielding():
		rl.at = never // it did not come to an end
	default:
		if rl.newest.Backup != ref.ID {
			rl.wait = 0
		}
		rl.newest = Rehearsed{Backup: ref.ID, Error: errText(d.Err)}
		rl.wait = min(max(rehearseRetry, 2*rl.wait), rehearseMax)
		rl.retryAt = rl.t + rl.wait
		rl.report(Alarm, "rehearsal", "the rehearsal of backup %s failed (tried again in %v, or with a newer backup): %s", ref.ID, rl.wait, errText(d.Err))
	}
}

// planUnstage frees what an earlier rehearsal, or a promotion that was given
// up, has staged on an instance that does not rehearse.
func (rl *rehearsalLane) planUnstage() {
	if !rl.staged || !rl.due(rl.retryAt) {
		return
	}
	id := rl.work.begin("unstage", func(d Done) {
		switch {
		case d.Outcome == OK:
			rl.staged = false
		case !rl.work.isYielding():
			rl.retryAt = rl.t + rehearseRetry
			rl.report(Alarm, "rehearsal", "dropping the staged backup failed (tried again in %v): %s", rehearseRetry, errText(d.Err))
		}
	})
	rl.emit(Unstage{ID: id})
}

// spent follows a promotion that has ended. It has swapped the stage
// in, or may have replaced it; that a rehearsal failed is still so.
func (rl *rehearsalLane) spent(promoted bool) {
	if promoted || rl.newest.Error == "" {
		rl.newest, rl.at = Rehearsed{}, never
	}
	rl.staged = rl.staged && !promoted
}

// stages notes that a backup is about to be staged.
func (rl *rehearsalLane) stages() { rl.staged = true }

// afresh forgets what was rehearsed, and that anything is staged.
func (rl *rehearsalLane) afresh() { rl.newest, rl.at, rl.staged = Rehearsed{}, never, false }

// failed reports whether a promotion's backup is one whose rehearsal
// failed.
func (rl *rehearsalLane) failed(chosen, newest *backup.Ref) bool {
	if chosen == nil {
		chosen = newest
	}
	return rl.newest.Error != "" && chosen.ID == rl.newest.Backup
}

// RefuseFailed says why a promotion to a backup whose rehearsal failed is
// refused.
func RefuseFailed(id, why string) string {
	return fmt.Sprintf("the rehearsal of backup %s failed: %s; choose another backup, or promote to it all the same with --allow-failed-rehearsal", id, why)
}
