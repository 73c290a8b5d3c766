package staging

import (
	"context"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/clock"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/restore"
)

// Config is what a Stage is given.
type Config struct {
	Folder     string // for the journal of swaps
	Cache      *restore.Cache
	Repo       *backup.Repository
	Rehearsals *Rehearsals
	Clock      clock.Clock
	Log        event.Reporter
	Judge      Judge
	Backups    Backups
	Progress   Progress
	Counts     Counts
	Follow     Follow
	Leftovers  func() // is called when something was set aside
	// Volume is asked before a source is staged or swapped: restore.Swapper has it.
	Volume func(ctx context.Context, src source.Source) error
	// Step is told of durable steps, and Announce tells of one: it is nil where nobody is
	// told.
	Step     func(point string)
	Announce func(step string, do func() error) error
}

// Judge judges what is staged.
type Judge interface {
	// Probe returns what it said, and why the stage is no good.
	Probe(ctx context.Context, ref backup.Ref) (output string, err error)
}

// Backups are those in this instance's cache.
type Backups interface {
	// Refs lists them, newest first.
	Refs() []backup.Ref
	// Pull brings one there.
	Pull(ctx context.Context, ref backup.Ref) error
}

// Progress is told how far a restore is.
type Progress interface {
	Set(p backup.Progress)
	Clear()
	// IsPulling reports whether a backup is being pulled.
	IsPulling() bool
}

// Follow applies the logs of sources to what is staged.
type Follow interface {
	// TakeIn takes in what there is up to the ends of streams, where a stage goes on in them.
	TakeIn(ctx context.Context, ends map[string]ha.Stream)
	// CatchUp applies all up to the ends of streams, and says how far that is.
	CatchUp(ctx context.Context, ends map[string]ha.Stream) (note string, err error)
}

// Counts counts.
type Counts interface {
	Rehearsal()
	RehearsalFailed()
	StageDamaged(entries int64)
	StageRotten()
}
