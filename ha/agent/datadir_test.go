package agent

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/understudy-ha/understudy/ha/datadir"
	"github.com/understudy-ha/understudy/ha/event"
)

// TestWhatAnAgentRemembersMayBeDamaged: it starts all the same, says what it has
// forgotten, and learns it again.
func TestWhatAnAgentRemembersMayBeDamaged(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b, first := rehearsingHosts(t, c)
		for _, h := range []*host{a, b} {
			h.halt()
			for _, name := range []string{datadir.RehearsalsFile, datadir.VolumesFile, datadir.KeptFile, "config.json"} {
				if err := os.WriteFile(filepath.Join(h.data, name), []byte("{"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			h.start()
			h.tells(event.Alarm, "agent", "on which volumes the sources lay is not known any more")
			h.tells(event.Warn, "rehearsal", "is not known any more")
		}
		a.untilLeading()
		b.untilRehearsed(first)
		id := a.backup()
		b.untilRehearsed(id)
	})
}
