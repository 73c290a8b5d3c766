package agent

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/understudy-ha/understudy/backup/source/directory"
	"github.com/understudy-ha/understudy/ha/report"
)

// connected is a directory to which somebody may be connected, as to a database.
type connected struct {
	*directory.Source
	who *atomic.Pointer[string]
}

func (c connected) Sessions(context.Context) ([]string, error) {
	if who := c.who.Load(); who != nil {
		return []string{*who}, nil
	}
	return nil, nil
}

// Somebody who is connected to a standby's database is red, until they have left.
func TestWhoIsConnectedToAStandbyIsRed(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		var who atomic.Pointer[string]
		a, b := c.host("host-a"), c.host("host-b")
		b.change = func(cfg *Config) { cfg.Sources[0] = connected{cfg.Sources[0].(*directory.Source), &who} }
		a.init()
		a.start()
		b.join(false)
		b.start()
		b.until("healthy", func(s report.Status) bool { return s.Healthy })
		session := "session 7 of role app (shop) in database app"
		who.Store(&session)
		red := func(s report.Status) bool {
			return !s.Healthy && slices.ContainsFunc(s.Problems, func(p string) bool { return strings.Contains(p, session) })
		}
		b.until("red", red)
		a.until("red on the active", red)
		who.Store(nil)
		b.until("healthy again", func(s report.Status) bool { return s.Healthy })
	})
}
