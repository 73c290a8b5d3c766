package upkeep

import (
	"context"
	"log/slog"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/clock"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/restore"
)

// Host is the instance that a part works for, and the bucket.
type Host struct {
	Self    ha.Peer
	Store   blobstore.Store
	Control *control.Store
	Chain   *control.Chain
	Repo    *backup.Repository
	Cache   *restore.Cache // this instance's
	Clock   clock.Clock
	Timeout time.Duration // of one request
	Logger  *slog.Logger
	Cluster Cluster
	Log     event.Reporter
}

// Cluster is what this instance knows of its cluster.
type Cluster interface {
	// View is the state of the machine as of its last step.
	View() ha.Status
	// Config is the shared configuration in force, and its digest; nil while it is
	// not known.
	Config() (digest string, c *ha.Config)
	// ConfigWith reads the configuration with a digest.
	ConfigWith(ctx context.Context, digest string) (*ha.Config, error)
}

// Backups has backups made.
type Backups interface {
	// BackupSoon asks for one, as soon as that can be.
	BackupSoon(ctx context.Context, trigger backup.Trigger, reason string) error
}

// Kinds of events that are told of here.
const (
	RetentionKind = "retention" // what expires, and when
	PacksKind     = "packs"     // packs that are missing, or damaged
	ObjectKind    = "object"    // small objects that are damaged, or gone
	ConfigKind    = "config"    // the shared configuration
	CacheKind     = "cache"     // this instance's cache
)

const judgeEvery = time.Minute // between two looks at what there may be to do
