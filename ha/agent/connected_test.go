package agent

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/directory"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/promotions"
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

// served is a directory to which a server writes that clients reach beside the
// application: while it runs, something is written behind each dump.
type served struct {
	*directory.Source
	write func()
	runs  *atomic.Bool
}

func (s served) Start(context.Context, uint64) error { s.runs.Store(true); return nil }
func (s served) Stop(context.Context) error          { s.runs.Store(false); return nil }

func (s served) Dump(ctx context.Context, w *pack.Writer, prev *source.Previous) (source.Entry, error) {
	e, err := s.Source.Dump(ctx, w, prev)
	if s.runs.Load() {
		s.write()
	}
	return e, err
}

// What clients write to the server of an active that was replaced is in its salvage backup,
// to the last of it: the server is stopped first.
func TestASalvageHasWhatItsServerHasTakenLast(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		var runs atomic.Bool
		a, b := c.host("a"), c.host("b")
		last := "written before"
		a.change = func(cfg *Config) {
			cfg.Sources[0] = served{cfg.Sources[0].(*directory.Source), func() { last += "."; a.write("state", last) }, &runs}
		}
		a.init()
		a.start()
		a.untilLeading()
		b.join(false)
		b.start()
		b.untilCached(a.backup())
		a.halt()
		b.until("a is silent", func(s report.Status) bool { return s.Silent() })
		b.promote(promotions.PromotionRequest{Mode: ha.ModeFailover})
		b.untilLeading()
		before := last
		a.start()
		a.until("stepped down", func(s report.Status) bool { return s.Role == ha.RoleStandby && s.Demotion == nil })
		if runs.Load() || last != before {
			t.Errorf("the server runs: %v; it has taken %q, and had %q", runs.Load(), last, before)
		}
	})
}
