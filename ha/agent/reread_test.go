package agent

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup/source/sourcetest"
	"github.com/understudy-ha/understudy/backup/source/volume"
	"github.com/understudy-ha/understudy/ha/datadir"
	"github.com/understudy-ha/understudy/ha/promotions"
	"github.com/understudy-ha/understudy/ha/report"
)

// How often the stage is read (package staging).
const (
	rereadPause = 10 * time.Minute
	rereadAgain = time.Minute
	rereadRest  = time.Hour

	// How often a host is looked at (package watch).
	readyPause = 10 * time.Second
	readyAgain = 30 * time.Second
)

// What has rotted in the stage of a standby that nobody asks is found, told,
// restored again, and promoted as it was backed up.
func TestAStandbyReadsItsStageInRotation(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b, _ := rehearsingHosts(t, c)
		a.rests() // a new backup would be staged in place of what has rotted
		c.pass(2 * rereadPause)
		b.until("the stage was read", func(s report.Status) bool {
			return s.StageRead != nil && s.StageRead.LastRead != nil && s.StageRead.Files > 0
		})
		sourcetest.Rot(t, filepath.Join(filepath.Dir(b.app), "."+filepath.Base(b.app)+".understudy-staged"), "state")
		c.pass(rereadRest + 2*rereadPause)
		b.until("it is found", func(s report.Status) bool { return s.Stats.StageRotten == 1 })
		s := b.until("it is restored again", func(s report.Status) bool { return s.Stats.StageDamaged == 1 && s.Staged != "" })
		for _, text := range s.Problems {
			if strings.Contains(text, "is not as it was restored") {
				t.Errorf("still wrong: %s", text)
			}
		}
		b.promote(promotions.PromotionRequest{})
		b.untilLeading()
		b.has(map[string]string{"state": "one"})
	})
}

// A volume that is not mounted is told as that, and is not told any more as soon
// as it is: the reading of the stage, which comes by seldom, says nothing of it.
func TestTheReadingOfTheStageSaysNothingOfAVolume(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		_, b, _ := rehearsingHosts(t, c)
		b.stop()
		var away map[string]struct {
			Kind    string          `json:"kind"`
			Volumes []volume.Volume `json:"volumes"`
		}
		if _, err := b.agent.dir.Load(datadir.VolumesFile, &away); err != nil {
			t.Fatal(err)
		}
		for _, known := range away {
			known.Volumes[0].Type = "another"
		}
		if err := b.agent.dir.Save(datadir.VolumesFile, away); err != nil {
			t.Fatal(err)
		}
		stage := filepath.Join(filepath.Dir(b.app), "."+filepath.Base(b.app)+".understudy-staged")
		move(t, stage, stage+".away") // it lies there
		b.start()
		b.until("the volume is away", func(s report.Status) bool { return slices.ContainsFunc(s.Problems, isVolume) })
		c.pass(2 * rereadAgain)
		if err := b.agent.volumes.Learn(t.Context(), b.agent.live().Sources...); err != nil {
			t.Fatal(err)
		}
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
