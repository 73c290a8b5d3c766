// Package source is what all kinds of sources have in common: the interfaces of a
// source, the registry of kinds, and what backups, restores and comparisons say of
// sources. A source is one thing that is backed up.
//
// The package of a kind (directory, file, sqlite, postgres, command, prometheus) makes
// sources, and registers a Kind: what can be done with a dump of it on any host.
// Interfaces beyond Source are optional: a caller asks a source whether it has them.
// What several kinds need lies in packages below internal.
package source

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/pack"
)

// Entry is what a manifest says of one source. It has all that a restore
// needs besides the chunks.
type Entry struct {
	Kind  string          `json:"kind"` // the name of a registered Kind
	Name  string          `json:"name"`
	Size  int64           `json:"size"`            // logical bytes
	Root  pack.Stream     `json:"root"`            // the source's main stream
	Extra *pack.Stream    `json:"extra,omitempty"` // a second stream, where the kind has one (a database's roles)
	Facts json.RawMessage `json:"facts,omitempty"` // the kind's own facts: file count, LSN, server version
	// Warnings are for people: a file that changed while it was read.
	Warnings []string `json:"warnings,omitempty"`
	// Torn are the files, at most a few of them, that changed each time that
	// they were read: what the backup has of them may never have been so.
	Torn []string `json:"torn,omitempty"`
	// Damaged says what is wrong with databases, as far as it is known: the live
	// ones are damaged.
	Damaged []string `json:"damaged,omitempty"`
}

// CheckRestore tells whether src can be restored here, as far as that depends on
// this host alone: a standby on which the application never ran lacks what Check
// asks for, and a restore makes it. The error says what to do.
func CheckRestore(ctx context.Context, src Source) error {
	if c, ok := src.(RestoreChecker); ok {
		return c.CheckRestore(ctx)
	}
	return src.Check(ctx)
}

// RestoreChecker is a source of which a restore needs less than a backup does.
type RestoreChecker interface {
	CheckRestore(ctx context.Context) error
}

// Previewer is a source that can look, without reading what is backed up, for what a
// first dump would fail at, beyond what Check looks at. It may take as long as a walk
// through all files.
type Previewer interface {
	Preview(ctx context.Context) error
}

// Previous is the same source's part of the previous backup.
type Previous struct {
	Entry  Entry
	Reader *pack.Reader
}

// Source is one thing that is backed up.
type Source interface {
	Name() string
	Kind() string
	// Check tells whether the source can be dumped and restored here: tools,
	// paths, permissions, servers. Its error says what to do.
	Check(ctx context.Context) error
	// Dump writes the source's present state to w. prev may be nil. What has
	// not changed since is kept, not read again.
	Dump(ctx context.Context, w *pack.Writer, prev *Previous) (Entry, error)
	Restorer
}

// Restorer puts a dumped state back.
//
// A promotion stages every source, then swaps every source, commits, and
// discards; or swaps back. Any of the three last steps may be interrupted by a
// crash and is then run again from the start, in a new process: each is
// idempotent, and each leaves either the old state or the new one in place.
type Restorer interface {
	// Accept tells whether e could be restored here, as far as versions and
	// tools decide it. Its error says what to do.
	Accept(ctx context.Context, e Entry) error
	// Space says how many bytes staging e needs, and in which folder.
	Space(e Entry) (folder string, bytes int64)
	// Stage builds the state beside the target, verified and durable, in the
	// place of any earlier stage. That of postgres and sqlite stays until the
	// new one is whole. The target is not touched. What it finds out about the
	// state goes to the context's Examination.
	Stage(ctx context.Context, r *pack.Reader, e Entry) error
	// Fingerprint describes the stage by what is cheap to look at, whatever its size:
	// as long as it gives the same, the stage is the same one and, as far as
	// that shows it, nobody has written to it. Empty when nothing is staged
	// whole. An error means that it cannot be known now.
	Fingerprint(ctx context.Context) (string, error)
	// Swap puts the staged state into place and keeps the replaced one.
	Swap(ctx context.Context) error
	// SwapBack puts the replaced state back into place, if it was replaced,
	// and sets the staged one aside.
	SwapBack(ctx context.Context) error
	// Discard sets aside whatever staged or replaced state is left. It deletes
	// nothing: so it is quick, and what cannot be deleted is in nobody's way.
	Discard(ctx context.Context) error
	// Reach tells by what lies beside the target how far a swap has come: for
	// whoever has no journal of it, or an older one.
	Reach(ctx context.Context) (Reach, error)
	// Keep gives what a whole swap has replaced a name that no sweep deletes, and
	// returns that name; "" where nothing was replaced. A Keep that was cut off may
	// be run again.
	Keep(ctx context.Context) (string, error)
}

// Stager is a source that can say where what it has staged is to be found: a path, or
// a database's name.
type Stager interface{ Staged() string }

// ErrUnfinished is the answer to a stage while an earlier swap is neither
// finished nor rolled back.
var ErrUnfinished = errors.New("an earlier swap was neither finished nor rolled back: do that first")

// Keeper is a Restorer that tells of what it has kept otherwise than by a path.
type Keeper interface {
	// Keeps reports whether what Keep has returned is of this source.
	Keeps(kept string) bool
	// IsKept reports whether it is still there.
	IsKept(ctx context.Context, kept string) (bool, error)
}

// Sweeper is a Restorer that deletes what was set aside.
type Sweeper interface {
	// Sweep deletes it as far as it can be deleted, and returns what is left. It
	// may run beside everything else that the source does, and be stopped and
	// run again at any point.
	Sweep(ctx context.Context) ([]Leftover, error)
}

// Leftover is state that was set aside and cannot be deleted.
type Leftover struct {
	Path   string // or a database's name
	Bytes  int64  // that it takes on disk; negative: not known
	Reason string
}

// Advancer is a Restorer that brings a stage forward in place: what has not
// changed is not written again. from is what is staged now, and the stage's
// fingerprint holds. Up to the moment at which the stage itself is changed a failure
// leaves it as it was.
type Advancer interface {
	Advance(ctx context.Context, r *pack.Reader, from, to Entry) error
}

// Placed is a Source whose path may lead elsewhere later, by way of symbolic
// links.
type Placed interface {
	// Place is where the path leads now.
	Place() (string, error)
	// At is the source with another path, to end at its place what began there.
	At(place string) Source
}

// SameStage tells whether the stage of one entry is one of the other too.
func SameStage(a, b Entry) bool {
	// Ids are keyed, so those of other keys differ.
	if !Identical(a, b, true) {
		return false
	}
	same := kinds[a.Kind].SameStage
	return same == nil || same(a, b)
}

// Export writes what one entry holds to path, for a person, needing nothing of
// the host that it was dumped on: a folder, a database file, a folder with
// dump.pgc (and roles.sql), a folder with output, a data folder of Prometheus.
// path must not exist. With Losses in ctx it goes on past what fails, where that
// can be.
func Export(ctx context.Context, r *pack.Reader, e Entry, path string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return fmt.Errorf("export %s: %w", e.Name, err)
	}
	err = fsx.At(path, func(p fsx.Place) error { return ExportTo(ctx, r, e, p) })
	if err != nil {
		return fmt.Errorf("export %s: %w", e.Name, err)
	}
	return nil
}

// ExportTo is Export in a held folder.
func ExportTo(ctx context.Context, r *pack.Reader, e Entry, at fsx.Place) error {
	kind, ok := kinds[e.Kind]
	if !ok {
		return fmt.Errorf("unknown kind of source %q", e.Kind)
	}
	return exportTo(ctx, e, at, func() error { return kind.Export(ctx, r, e, at) })
}

// exportTo exports an entry to a place, if it can be written to.
func exportTo(ctx context.Context, e Entry, at fsx.Place, export func() error) error {
	if len(at.Missing) > 0 {
		return &fs.PathError{Op: "write to", Path: at.Path(), Err: fs.ErrNotExist}
	}
	err := export()
	if err != nil && LossesOf(ctx).Bears(Loss{Source: e.Name, What: LeftOut}, err) {
		return fsx.RemoveAll(ctx, at.Dir, at.Name) // of a kind that is whole or nothing
	}
	return err
}

// Remove deletes what an export has made, all of it.
func Remove(ctx context.Context, at fsx.Place) error { return fsx.RemoveAll(ctx, at.Dir, at.Name) }
