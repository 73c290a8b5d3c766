package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/promotions"
	"github.com/understudy-ha/understudy/ha/report"
	"github.com/understudy-ha/understudy/ha/upkeep"
)

// rotCache changes a byte of every cached pack that holds data of the
// application, and gives their digests.
func (h *host) rotCache() (digests []string) {
	h.t.Helper()
	found, err := filepath.Glob(filepath.Join(h.data, "cache", "packs", "*", "*"))
	if err != nil {
		h.t.Fatal(err)
	}
	for _, path := range found {
		data, err := os.ReadFile(path)
		if err == nil {
			data[len(data)/2] ^= 1
			err = os.WriteFile(path, data, 0o600)
		}
		if err != nil {
			h.t.Fatal(err)
		}
		digests = append(digests, filepath.Base(path))
	}
	return digests
}

// Every cached pack is bad: the standby takes them from the bucket, and is
// promoted.
func TestAStandbyWhoseCacheHasRottenIsPromotable(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b, _ := rehearsingHosts(t, c)
		a.write("state", "two")
		b.change = func(cfg *Config) { cfg.Rehearsal = ha.RehearsalPolicy{Off: true} }
		b.halt()
		b.start()
		b.untilCached(a.backup())
		b.until("nothing is staged", func(s report.Status) bool { return s.Staged == "" })
		if len(b.rotCache()) == 0 {
			t.Fatal("nothing is cached")
		}
		b.promote(promotions.PromotionRequest{})
		b.untilLeading()
		b.has(map[string]string{"state": "two"})
		if s := b.agent.Status(); s.Stats.CacheMended == 0 || s.Stats.CacheLost > 0 {
			t.Errorf("mended %d, lost %d", s.Stats.CacheMended, s.Stats.CacheLost)
		}
	})
}

// What rots while nobody reads it is found by the scrub. What the bucket lacks
// as well is red until it is over.
func TestTheScrubFindsWhatRotsAndSaysWhatCannotBeMended(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b, _, _ := threeHosts(t, c)
		b.untilCached(a.backup())
		bad := b.rotCache()
		c.pass(upkeep.ScrubRest)
		b.until("the scrub has mended it", func(s report.Status) bool { return s.Stats.CacheMended >= int64(len(bad)) })
		a.halt() // or it would store again what is missing
		b.rotCache()
		needed, err := b.agent.cache.Needed()
		if err != nil || len(needed) == 0 {
			t.Fatalf("%d packs are needed, %v", len(needed), err)
		}
		lost := needed[0].Digest.String()
		key := "packs/" + lost[:2] + "/" + lost
		body := c.object(key)
		c.replace(key, nil)
		red := func(s report.Status) bool {
			for _, p := range s.Problems {
				if strings.Contains(p, "cached backups are damaged") && strings.Contains(p, lost) {
					return true
				}
			}
			return false
		}
		c.pass(upkeep.ScrubRest)
		b.until("it is red", red)
		c.replace(key, body)
		b.until("it is over", func(s report.Status) bool { return !red(s) })
	})
}
