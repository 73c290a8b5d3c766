package agent

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/application"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/watch"
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
		HeadAge: float64(rng.IntN(120)), InstancesAge: float64(rng.IntN(250)) - 10, Ready: rng.IntN(8) > 0, poll: 10 * time.Second,
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

// sound says, by another way than judge, whether everything that a status shows
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
		s.judge(watch.Schedule{}, troubles, time.Now())
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

// TestAClusterOfOneIsNotCalledHealthy: nothing is wrong, and nothing could take
// over.
func TestAClusterOfOneIsNotCalledHealthy(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a := c.host("a")
		a.init()
		a.start()
		a.untilLeading()
		a.backup()
		a.until("said", func(s Status) bool {
			return s.Healthy && s.Verdict == VerdictToKnow && slices.ContainsFunc(s.Caveats, func(c string) bool { return strings.HasPrefix(c, "there is no standby") })
		})
	})
}

// TestTheActiveDoesNotPromiseOfAStandbyThatWouldRefuse: what its host lacks is in
// its record, at once.
func TestTheActiveDoesNotPromiseOfAStandbyThatWouldRefuse(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b, d, _ := threeHosts(t, c)
		a.until("both could take over", func(s Status) bool { return strings.Contains(s.Outlook, "b or d could take over and lose nothing") })
		lacking := *b.agent.live()
		lacking.Hooks.Promote = application.Hook{Command: []string{"/no/such/program"}}
		if err := b.agent.Reload(t.Context(), lacking); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		s := a.until("b could not", func(s Status) bool { return strings.Contains(s.Outlook, "active; d could take over") })
		if took := time.Since(begun); took > readyPause+5*time.Second {
			t.Errorf("the active knows it after %v", took)
		}
		if s.Healthy || !slices.ContainsFunc(s.Problems, func(p string) bool {
			return strings.HasPrefix(p, "b could not take over: ") && strings.Contains(p, "/no/such/program")
		}) {
			t.Errorf("problems %q", s.Problems)
		}
		if s := b.agent.Status(); s.State != StateBlocked {
			t.Errorf("b calls itself %q", s.State)
		}
		d.until("the other standby knows", func(s Status) bool { return !s.Healthy })
	})
}

// TestAStandbyThatHasABackupIsKnownToHaveIt: seconds after it was published, by
// the standby's wake-up, and meanwhile nobody says that none could take over.
func TestAStandbyThatHasABackupIsKnownToHaveIt(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, _, _, _ := threeHosts(t, c)
		a.until("both could take over", func(s Status) bool { return strings.Contains(s.Outlook, "b or d could take over and lose nothing") })
		for range 5 {
			if err := wait(t.Context(), 90*time.Second); err != nil {
				t.Fatal(err)
			}
			a.backup()
			published := time.Now()
			for known := false; !known; {
				read := a.agent.records.Reading()
				core := a.agent.state.View()
				s := Status{Status: core, Instance: "a", Instances: a.agent.instances(core), LastBackup: core.Head.Newest}
				text, _ := successors(s)
				if !strings.Contains(text, "could take over and lose nothing") {
					t.Fatalf("%v after a backup: %s", time.Since(published), text)
				}
				known = !strings.Contains(text, "once it has fetched") && strings.HasPrefix(text, "b or d")
				if took := time.Since(published); took > 5*time.Second {
					t.Fatalf("not known after %v: %s (records read at %v)", took, text, read.Began)
				}
				if err := wait(t.Context(), 200*time.Millisecond); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}

// TestTheStatusSaysWhatAFailoverLostAndWhereItIs: on both hosts.
func TestTheStatusSaysWhatAFailoverLostAndWhereItIs(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b, d, first := threeHosts(t, c)
		a.halt()
		a.write("state", "never backed up")
		b.until("the active is silent", func(s Status) bool { return s.silent() })
		b.promoteBy("alice", PromotionRequest{Mode: ha.ModeFailover})
		says := func(texts ...string) func(Status) bool {
			return func(s Status) bool {
				all := strings.Join(s.Caveats, "\n")
				return s.Takeover != nil && s.Takeover.Old == "a" && s.Takeover.By == "alice" && s.Verdict != VerdictHealthy &&
					!slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(all, text) })
			}
		}
		b.until("it says what is not here", says("what came after backup "+first+" on a is not here", "once its agent runs again"))
		a.start()
		s := a.until("stepped down", func(s Status) bool {
			return s.Role == ha.RoleStandby && s.Demotion == nil && s.Takeover != nil && len(s.Takeover.Salvaged) == 1
		})
		salvage := s.Takeover.Salvaged[0].Backup
		for _, h := range []*host{a, b, d} {
			h.until("it says where it is", says("salvage backup "+salvage, "understudy backups diff "+first+" "+salvage, "understudy restore "+salvage+" --to DIR"))
		}
	})
}
