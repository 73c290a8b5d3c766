package promotions

import (
	"context"
	"sync"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/holder"
	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/application"
	"github.com/understudy-ha/understudy/ha/clock"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/moments"
	"github.com/understudy-ha/understudy/ha/report"
	"github.com/understudy-ha/understudy/ha/requests"
)

// State is the machine's state as of its last step.
type State interface {
	View() ha.Status
	ViewAt() (ha.Status, ha.Now)
	Changed() <-chan struct{}
}

// Catalogue finds backups by their ids.
type Catalogue interface {
	Find(ctx context.Context, h *ha.Head, id string) (control.BackupInfo, *backup.Manifest, error)
	// Moments are the moments that sources can be brought to.
	Moments(ctx context.Context) (*moments.Moments, error)
}

// Rehearsals are those of the cached backups.
type Rehearsals interface {
	Of(id string) (ha.Rehearsal, bool)
}

// Host is the instance that is to be promoted.
type Host struct {
	Instance string // its name
	Status   func() report.Status
	State    State
	Asking   *requests.Asking
	Stopped  <-chan struct{} // closed when nobody hears any more

	Control    *control.Store
	Chain      *control.Chain
	Catalogue  Catalogue
	Rehearsals Rehearsals
	Ring       *seal.Ring
	Clock      clock.Clock

	// What it needs of this host.
	InForce           func() application.Setup
	RunsApplication   bool // the agent does, so that it can stop it without a hook
	Version           func(ctx context.Context) (string, error)
	Holders           func(ctx context.Context) (holder.Found, error)
	CheckRestore      func(ctx context.Context, m *backup.Manifest) error
	CheckVolumes      func(ctx context.Context, src source.Source) error
	RefuseUnstoppable func() error // where the fencing is strict, and nothing here can stop the application
	Progress          func() *backup.Progress
}

// Promotions are checked, begun, followed and given up here; the machine makes them. They
// are safe for concurrent use.
type Promotions struct {
	host Host

	mu    sync.Mutex
	ended map[string]PromotionStatus
}

// New knows no promotion yet.
func New(h Host) *Promotions { return &Promotions{host: h, ended: make(map[string]PromotionStatus)} }

// CheckHost says what this host lacks for a promotion to a backup, and what else is to be
// known of one.
func (o *Promotions) CheckHost(ctx context.Context, m *backup.Manifest) (lacks, notes []string) {
	var p Preflight
	p.checkHost(ctx, o, m, false)
	for _, c := range p.Checks {
		if !c.OK {
			lacks = append(lacks, c.Detail)
		}
	}
	return lacks, p.Notes
}
