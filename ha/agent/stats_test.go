package agent

import (
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/ha/report"
)

// snapshotting is a source whose dump holds a snapshot.
type snapshotting struct{ source.Source }

func (snapshotting) SnapshotAge() (now, last time.Duration) { return 7 * time.Second, time.Minute }

// The status of an agent says for how long its dumps hold snapshots of databases.
func TestTheStatusSaysHowOldSnapshotsAre(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a := c.host("a")
		a.init()
		a.start()
		a.untilLeading()
		live := *a.agent.live()
		live.Sources = []source.Source{snapshotting{live.Sources[0]}}
		if err := a.agent.reloading.Reload(t.Context(), live); err != nil {
			t.Fatal(err)
		}
		a.until("the age is there", func(s report.Status) bool {
			return s.Stats.Snapshots["files"] == report.Snapshot{Age: 7, Last: 60}
		})
	})
}
