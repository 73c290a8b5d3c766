package agent

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/application"
	"github.com/understudy-ha/understudy/ha/promotions"
	"github.com/understudy-ha/understudy/ha/report"
)

// TestAClusterOfOneIsNotCalledHealthy: nothing is wrong, and nothing could take
// over.
func TestAClusterOfOneIsNotCalledHealthy(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a := c.host("a")
		a.init()
		a.start()
		a.untilLeading()
		a.backup()
		a.until("said", func(s report.Status) bool {
			return s.Healthy && s.Verdict == report.VerdictToKnow && slices.ContainsFunc(s.Caveats, func(c string) bool { return strings.HasPrefix(c, "there is no standby") })
		})
	})
}

// TestTheActiveDoesNotPromiseOfAStandbyThatWouldRefuse: what its host lacks is in
// its record, at once.
func TestTheActiveDoesNotPromiseOfAStandbyThatWouldRefuse(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b, d, _ := threeHosts(t, c)
		a.until("both could take over", func(s report.Status) bool {
			return strings.Contains(s.Outlook, "b or d could take over and lose nothing")
		})
		lacking := *b.agent.live()
		lacking.Hooks.Promote = application.Hook{Command: []string{"/no/such/program"}}
		if err := b.agent.reloading.Reload(t.Context(), lacking); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		s := a.until("b could not", func(s report.Status) bool { return strings.Contains(s.Outlook, "active; d could take over") })
		if took := time.Since(begun); took > readyPause+5*time.Second {
			t.Errorf("the active knows it after %v", took)
		}
		if s.Healthy || !slices.ContainsFunc(s.Problems, func(p string) bool {
			return strings.HasPrefix(p, "b could not take over: ") && strings.Contains(p, "/no/such/program")
		}) {
			t.Errorf("problems %q", s.Problems)
		}
		if s := b.agent.Status(); s.State != report.StateBlocked {
			t.Errorf("b calls itself %q", s.State)
		}
		d.until("the other standby knows", func(s report.Status) bool { return !s.Healthy })
	})
}

// TestAStandbyThatHasABackupIsKnownToHaveIt: seconds after it was published, by
// the standby's wake-up, and meanwhile nobody says that none could take over.
func TestAStandbyThatHasABackupIsKnownToHaveIt(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, _, _, _ := threeHosts(t, c)
		a.until("both could take over", func(s report.Status) bool {
			return strings.Contains(s.Outlook, "b or d could take over and lose nothing")
		})
		for range 5 {
			if err := wait(t.Context(), 90*time.Second); err != nil {
				t.Fatal(err)
			}
			a.backup()
			published := time.Now()
			for known := false; !known; {
				read := a.agent.records.Reading()
				core := a.agent.state.View()
				s := report.Status{Status: core, Instance: "a", Instances: a.agent.table.all(core), LastBackup: core.Head.Newest}
				text, _ := report.Successors(s)
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
		b.until("the active is silent", func(s report.Status) bool { return s.Silent() })
		b.promoteBy("alice", promotions.PromotionRequest{Mode: ha.ModeFailover})
		says := func(texts ...string) func(report.Status) bool {
			return func(s report.Status) bool {
				all := strings.Join(s.Caveats, "\n")
				return s.Takeover != nil && s.Takeover.Old == "a" && s.Takeover.By == "alice" && s.Verdict != report.VerdictHealthy &&
					!slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(all, text) })
			}
		}
		b.until("it says what is not here", says("what came after backup "+first+" on a is not here", "once its agent runs again"))
		a.start()
		s := a.until("stepped down", func(s report.Status) bool {
			return s.Role == ha.RoleStandby && s.Demotion == nil && s.Takeover != nil && len(s.Takeover.Salvaged) == 1
		})
		salvage := s.Takeover.Salvaged[0].Backup
		for _, h := range []*host{a, b, d} {
			h.until("it says where it is", says("salvage backup "+salvage, "understudy backups diff "+first+" "+salvage, "understudy restore "+salvage+" --to DIR"))
		}
	})
}
