package report

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/event"
)

// anyStatus draws a status in which anything may be wrong, mostly little.
func anyStatus(rng *rand.Rand) Status {
	seldom := func(text string) string {
		if rng.IntN(12) == 0 {
			return text
		}
		return ""
	}
	newest := backup.Ref{ID: "newest", Digest: "newest"}
	s := Status{
		Status: ha.Status{
			Role: []ha.Role{ha.RoleActive, ha.RoleStandby}[rng.IntN(2)], Leading: true, App: "running", Bucket: "ok", Epoch: 2,
			Head:      &ha.Head{Epoch: 2, Active: ha.Peer{Name: "a"}, Newest: &newest, Fencing: ha.DefaultConfig().Fencing},
			Rehearsed: ha.Rehearsed{Backup: "newest", Error: seldom("it does not start")}, Refused: seldom("a copy"), AppError: seldom("exit 1"),
			BackupError: seldom("no room"), PullError: seldom("damaged"), WorkError: seldom("it cannot be put back"),
		},
		Instance: "me", Active: "a", Staged: "newest", LastBackup: &newest, LastBackupAge: float64(rng.IntN(300)),
		HeadAge: float64(rng.IntN(120)), InstancesAge: float64(rng.IntN(250)) - 10, Ready: rng.IntN(8) > 0,
	}
	if text := seldom("the bucket is away"); text != "" {
		s.Bucket = text
	}
	if seldom("x") != "" {
		s.Head, s.LastBackup = nil, nil
	}
	if seldom("x") != "" && s.Head != nil {
		s.Head.Newest, s.LastBackup = nil, nil
	}
	if seldom("x") != "" {
		s.Staged = "another"
	}
	if seldom("x") != "" {
		s.Demotion = &ha.Demotion{Acked: true}
	}
	if seldom("x") != "" {
		s.Promotion = &ha.Promotion{Phase: ha.PhaseRestore}
	}
	if seldom("x") != "" {
		s.Blockers, s.Ready = []string{"no room"}, false
	}
	if seldom("x") != "" {
		s.Lacks = []string{"files: an ACL"}
	}
	if seldom("x") != "" {
		s.Takeover = &control.Takeover{Lost: []string{"a kept what never came here"}}
	}
	if seldom("x") != "" {
		s.Paused = &ha.Pause{By: "somebody", Since: time.Now()}
	}
	for i := range rng.IntN(4) {
		s.Instances = append(s.Instances, anyRow(rng, fmt.Sprint("host-", i), seldom))
	}
	return s
}

func anyRow(rng *rand.Rand, name string, seldom func(string) string) InstanceStatus {
	i := InstanceStatus{Name: name, Role: ha.RoleStandby, State: StateInSync, Ready: rng.IntN(8) > 0, LastError: seldom("something failed")}
	if seldom("x") != "" {
		i.State = []string{
			StateBehind, StateWaiting, StateRehearsalFailed, StateUnreachable + " since 2026-03-01T12:00:00Z", StatePromoting, StateDemoting,
			StateHandingOver, StateRefused, StateRegistered, StateBlocked, StateReplaced, "its record cannot be verified", "a state of a later version",
		}[rng.IntN(13)]
	}
	if seldom("x") != "" {
		i.Blockers, i.Ready = []string{"no such database"}, false
	}
	if seldom("x") != "" {
		i.Troubles = []string{"the volume is away"}
	}
	return i
}

// sound says, by another way than Judge, whether everything that a status shows
// is as it should be.
func sound(s Status) bool {
	well := s.Refused == "" && s.AppError == "" && s.BackupError == "" && s.PullError == "" && s.WorkError == "" && s.Bucket == "ok" && s.Demotion == nil && s.Promotion == nil &&
		s.Head != nil && s.LastBackup != nil && len(s.Blockers)+len(s.Lacks) == 0 && s.Takeover == nil && s.Paused == nil && s.InstancesAge >= 0 && s.InstancesAge <= 180
	standbys := 0
	for _, i := range s.Instances {
		if i.Role == ha.RoleStandby {
			standbys++
		}
		well = well && i.State == StateInSync && i.LastError == "" && len(i.Blockers)+len(i.Troubles) == 0 && i.Ready
	}
	if s.Role == ha.RoleActive {
		return well && standbys > 0 && strings.Contains(s.Outlook, "could take over and lose nothing")
	}
	return well && s.HeadAge < 40 && s.Ready && s.Staged == "newest" && s.Rehearsed.Error == "" &&
		strings.HasPrefix(s.Outlook, "a switchover would lose nothing") && strings.HasSuffix(s.Outlook, "that backup is rehearsed")
}

// Of many instances a standby reads the records seldomer: it does not say then that
// something is wrong, nor that all is well.
func TestRecordsThatAreReadSeldomAreNoProblemUntilTheyAreLate(t *testing.T) {
	for _, test := range []struct {
		age            float64
		reads          time.Duration
		wrong, caution bool
	}{
		{170, time.Minute, false, false},
		{190, time.Minute, true, false},
		{170, 10 * time.Minute, false, false},
		{190, 10 * time.Minute, false, true},
		{1190, 10 * time.Minute, false, true},
		{1210, 10 * time.Minute, true, false},
		{-1, 10 * time.Minute, true, false},
	} {
		s := Status{InstancesAge: test.age}
		s.Judge(Known{Now: time.Now(), Poll: 10 * time.Second, Reads: test.reads})
		var wrong, caution bool
		for _, f := range s.Findings {
			if f.Topic == topicRecords {
				wrong, caution = wrong || f.Wrong, caution || !f.Wrong
			}
		}
		if wrong != test.wrong || caution != test.caution {
			t.Errorf("records of %v s, read every %v: a problem %v, a caveat %v; want %v, %v", test.age, test.reads, wrong, caution, test.wrong, test.caution)
		}
	}
}

// TestHealthyIsSaidOfNothingThatIsNot: whatever the status shows.
func TestHealthyIsSaidOfNothingThatIsNot(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	healthy := 0
	for range 20_000 {
		s := anyStatus(rng)
		troubles := []event.Trouble(nil)
		if rng.IntN(10) == 0 {
			troubles = []event.Trouble{{Kind: "hook", Text: "a hook has failed"}}
		}
		s.Judge(Known{Troubles: troubles, Now: time.Now(), Poll: 10 * time.Second, Reads: time.Duration(1+rng.IntN(10)) * time.Minute})
		if s.Healthy != (len(s.Problems) == 0) || (s.Verdict == VerdictHealthy) != (len(s.Problems)+len(s.Caveats) == 0) {
			t.Fatalf("verdict %q, healthy %v, problems %q, caveats %q", s.Verdict, s.Healthy, s.Problems, s.Caveats)
		}
		if err := findingsOf(s); err != nil {
			t.Fatal(err)
		}
		if s.Verdict != VerdictHealthy {
			continue
		}
		healthy++
		if !sound(s) || troubles != nil {
			t.Fatalf("called healthy, troubles %v: %+v", troubles, s)
		}
	}
	if healthy < 500 {
		t.Errorf("no more than %d were healthy: this tries nothing", healthy)
	}
}
