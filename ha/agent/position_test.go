package agent

import (
	"context"
	"slices"
	"testing"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/ha/promotions"
	"github.com/understudy-ha/understudy/ha/report"
)

// placedSource tells how far it has come.
type placedSource struct {
	source.Source
	at string
}

func (s placedSource) Position(context.Context) (string, error) { return s.at, nil }

func TestAPreflightTellsWhatTheActiveLastReported(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b, _, _ := threeHosts(t, c)
		a.halt()
		cfg := a.config()
		cfg.Sources = []source.Source{placedSource{cfg.Sources[0], "0/4711"}}
		agent, err := Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		a.run(agent)
		a.untilLeading()
		b.untilCached(a.backup())
		b.until("the active's record", func(report.Status) bool {
			p, err := b.agent.promotions.Preflight(t.Context(), promotions.PromotionRequest{})
			if err != nil {
				t.Fatal(err)
			}
			r := p.Loss.Reported
			return r != nil && r.Age < 2*recordEvery.Seconds() && slices.Equal(r.Sources, []promotions.SourceReported{{Name: "files", Position: "0/4711"}})
		})
	})
}
