package agent

import (
	"os"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/promotions"
	"github.com/understudy-ha/understudy/ha/report"
)

// federates waits until a host's targets file names an address, or none.
func (h *host) federates(want string) {
	h.t.Helper()
	text := "[]\n"
	if want != "" {
		text = `[{"targets":["` + want + `"]}]` + "\n"
	}
	h.until("federates "+want, func(s report.Status) bool {
		got, err := os.ReadFile(h.targets())
		f := s.Federation
		return err == nil && string(got) == text && f != nil && f.Target == want && f.Error == ""
	})
}

func TestStandbysFederateTheActiveThroughPromotions(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b, d, _ := threeHosts(t, c)
		a.federates("")
		b.federates("a:9090")
		d.federates("a:9090")
		if info, err := os.Stat(b.targets()); err != nil || info.Mode().Perm() != 0o644 {
			t.Errorf("targets file: %v %v; Prometheus must be able to read it", info, err)
		}
		b.promote(promotions.PromotionRequest{})
		b.federates("")
		a.federates("b:9090")
		d.federates("b:9090")
		// Nothing is heard of the active any more: nor will its Prometheus answer.
		b.halt()
		d.federates("")
		d.promote(promotions.PromotionRequest{Mode: ha.ModeFailover})
		d.federates("")
		a.federates("d:9090")
		b.start()
		b.federates("d:9090")
	})
}

// TestTargetsFileThatCannotBeWrittenIsToldOf: and written once it can.
func TestTargetsFileThatCannotBeWrittenIsToldOf(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		b := c.host("b")
		if err := os.Mkdir(b.targets(), 0o700); err != nil {
			t.Fatal(err)
		}
		a := c.host("a")
		a.init()
		a.start()
		b.join(false)
		b.start()
		b.until("told of", func(s report.Status) bool {
			return !s.Healthy && strings.Contains(strings.Join(s.Problems, " "), "write the targets of Prometheus")
		})
		if err := os.Remove(b.targets()); err != nil {
			t.Fatal(err)
		}
		b.federates("a:9090")
	})
}
