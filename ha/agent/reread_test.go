package agent

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

// What has rotted in the stage of a standby that nobody asks is found, told,
// restored again, and promoted as it was backed up.
func TestAStandbyReadsItsStageInRotation(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		_, b, _ := rehearsingHosts(t, c)
		c.pass(2 * rereadPause)
		b.until("the stage was read", func(s Status) bool { return s.StageRead != nil && s.StageRead.LastRead != nil && s.StageRead.Files > 0 })
		sourcetest.Rot(t, filepath.Join(filepath.Dir(b.app), "."+filepath.Base(b.app)+".understudy-staged"), "state")
		c.pass(rereadRest + 2*rereadPause)
		b.until("it is found", func(s Status) bool { return s.Stats.StageRotten == 1 })
		s := b.until("it is restored again", func(s Status) bool { return s.Stats.StageDamaged == 1 && s.Staged != "" })
		for _, text := range s.Problems {
			if strings.Contains(text, "is not as it was restored") {
				t.Errorf("still wrong: %s", text)
			}
		}
		b.promote(PromoteRequest{})
		b.untilLeading()
		b.has(map[string]string{"state": "one"})
	})
}

// The reading of the stage ends when there is something else to do.
func TestTheReadingOfTheStageMakesWay(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		_, b, _ := rehearsingHosts(t, c)
		ctx, cancel := b.agent.whileAtRest(t.Context())
		defer cancel()
		if ctx.Err() != nil {
			t.Fatal("the standby is not at rest")
		}
		b.promote(PromoteRequest{})
		<-ctx.Done()
		b.untilLeading()
		if b.agent.atRest() {
			t.Error("an active is at rest")
		}
	})
}
