package agent

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup/source/sourcetest"
	"github.com/understudy-ha/understudy/ha/datadir"
)

// What has rotted in the stage of a standby that nobody asks is found, told,
// restored again, and promoted as it was backed up.
func TestAStandbyReadsItsStageInRotation(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b, _ := rehearsingHosts(t, c)
		a.rests() // a new backup would be staged in place of what has rotted
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
		b.promote(PromotionRequest{})
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
		b.promote(PromotionRequest{})
		<-ctx.Done()
		b.untilLeading()
		if b.agent.atRest() {
			t.Error("an active is at rest")
		}
	})
}

// A volume that is not mounted is told as that, and is not told any more as soon
// as it is: the reading of the stage, which comes by seldom, says nothing of it.
func TestTheReadingOfTheStageSaysNothingOfAVolume(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		_, b, _ := rehearsingHosts(t, c)
		b.stop()
		was, err := openVolumes(b.agent.dir)
		if err != nil {
			t.Fatal(err)
		}
		away, err := openVolumes(b.agent.dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, known := range away.all {
			known.Volumes[0].Type = "another"
		}
		if err := b.agent.dir.Save(datadir.VolumesFile, away.all); err != nil {
			t.Fatal(err)
		}
		stage := filepath.Join(filepath.Dir(b.app), "."+filepath.Base(b.app)+".understudy-staged")
		move(t, stage, stage+".away") // it lies there
		b.start()
		b.until("the volume is away", func(s Status) bool { return slices.ContainsFunc(s.Problems, isVolume) })
		c.pass(2 * rereadAgain)
		v := b.agent.volumes
		v.mu.Lock()
		v.all = was.all
		v.mu.Unlock()
		move(t, stage+".away", stage)
		c.pass(2*readyAgain + rereadAgain)
		if s := b.agent.Status(); len(s.Problems) > 0 {
			t.Errorf("it is there again: %q", s.Problems)
		}
	})
}

func move(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

func isVolume(text string) bool { return strings.Contains(text, "accept-change") }
