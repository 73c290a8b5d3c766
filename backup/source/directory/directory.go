// Package directory is the kind of source that is a directory with all that is in it.
// SQLite databases in it are dumped as package sqlite dumps them. A stage is built
// beside the directory, and a swap exchanges the two by rename; a mount point, which
// cannot be renamed, is swapped entry by entry.
package directory

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/bmatcuk/doublestar/v4"
	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/chunks"
	"github.com/understudy-ha/understudy/backup/source/internal/reading"
	"github.com/understudy-ha/understudy/backup/source/internal/sqlitefile"
	"github.com/understudy-ha/understudy/backup/source/internal/stage"
	"github.com/understudy-ha/understudy/backup/source/internal/swap"
	"github.com/understudy-ha/understudy/backup/source/internal/tree"
	"github.com/understudy-ha/understudy/backup/source/sqlite"
)

// Kind is the name of the kind.
const Kind = "directory"

func init() {
	source.Register(source.Kind{
		Name: Kind, Files: true, Export: exportEntry, Compare: Compare,
		Lost: source.LostFacts[Facts], Held: held, HeldIn: heldIn,
	})
}

// Config describes a directory to back up.
type Config struct {
	// Path is the directory: absolute. A symlink there is followed; symlinks
	// in the directory are not.
	Path string
	// Exclude are doublestar patterns of paths relative to Path, such as
	// "**/*.tmp" or "cache/**". What they match, with all that is in it, is in
	// no backup, so it is not there after a restore either.
	Exclude []string
	// Databases says which SQLite databases in it are taken as such.
	Databases DatabasePolicy
	// Scratch is a folder for temporary copies of databases; "": one is made
	// for each dump.
	Scratch string
	// Now tells the time; nil for time.Now.
	Now func() time.Time
}

// Source is a source that backs up a folder with all that is in it:
// regular files, folders, symlinks, hard links, fifos and devices, with modes,
// owners, modification times and extended attributes. Sockets are skipped.
type Source struct {
	name string
	cfg  Config
	// frozen says that no file's content ever changes: that it has got another
	// name, which sets its ctime, says nothing.
	frozen   bool
	busy     *sync.Mutex // held while something is staged or swapped
	settling *reading.Settling
	sound    *sqlite.Soundness
	// others are the sources that may lie in the directory.
	others []source.Placed
	// fault, in tests, is called before a step on a path of the tree.
	fault func(step, path string) error
	// swapFault, in tests, is called before each step of a swap.
	SwapFault func(step string) error
	// wait, in tests, is how long a database that is locked is waited for.
	wait time.Duration
	// storing, in tests, has a database stored otherwise.
	storing func(*sqlite.Storing)
	// mounted, in tests, stands in for isMountPoint.
	mounted func(fsx.Place) (bool, error)
}

var (
	_ source.Source         = (*Source)(nil)
	_ source.Advancer       = (*Source)(nil)
	_ source.Placed         = (*Source)(nil)
	_ source.Sweeper        = (*Source)(nil)
	_ source.Stager         = (*Source)(nil)
	_ source.RestoreChecker = (*Source)(nil)
	_ source.Openable       = (*Source)(nil)
	_ source.Voluminous     = (*Source)(nil)
	_ source.Counter        = (*Source)(nil)
	_ source.Laster         = (*Source)(nil)
	_ source.Nester         = (*Source)(nil)
	_ source.Inspector      = (*Source)(nil)
	_ source.Rereader       = (*Source)(nil)
)

// New makes a directory source. Nothing is looked at yet.
func New(name string, cfg Config) (*Source, error) {
	if !filepath.IsAbs(cfg.Path) {
		return nil, fmt.Errorf("source %s: directory: path %q is not absolute", name, cfg.Path)
	}
	for what, list := range map[string]*[]string{"exclude": &cfg.Exclude, "databases": &cfg.Databases.Patterns} {
		patterns, err := cleanPatterns(*list)
		if err != nil {
			return nil, fmt.Errorf("source %s: directory: %s: %w", name, what, err)
		}
		*list = patterns
	}
	cfg.Path = filepath.Clean(cfg.Path)
	if err := sqlitefile.OwnLocks(); err != nil { // before it takes a first database
		return nil, fmt.Errorf("source %s: directory: %w", name, err)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Source{name: name, cfg: cfg, busy: new(sync.Mutex), settling: reading.NewSettling(), sound: sqlite.NewSoundness(), fault: noPathFault, SwapFault: swap.NoFault}, nil
}

// NewFrozen makes a source of a directory that a program of its own has made to be
// dumped: no file's content ever changes, and its databases are plain files. fault, in
// tests, is called before a step on a path of the tree; nil for none.
func NewFrozen(name, path string, now func() time.Time, fault func(step, path string) error) *Source {
	if fault == nil {
		fault = noPathFault
	}
	return &Source{
		name: name, cfg: Config{Path: path, Now: now, Databases: DatabasePolicy{Off: true}}, frozen: true,
		busy: new(sync.Mutex), fault: fault, SwapFault: swap.NoFault,
	}
}

// Config is how the directory was configured, with the defaults filled in.
func (d *Source) Config() Config { return d.cfg }

// cleanPatterns checks patterns of relative paths.
func cleanPatterns(list []string) ([]string, error) {
	patterns := make([]string, len(list))
	for i, p := range list {
		// "cache/" is what people write for a folder.
		patterns[i] = strings.TrimSuffix(strings.TrimPrefix(p, "./"), "/")
		if patterns[i] == "" || !doublestar.ValidatePattern(patterns[i]) {
			return nil, fmt.Errorf("%q is not a pattern", p)
		}
		if strings.HasPrefix(p, "/") {
			return nil, fmt.Errorf("%q is absolute; patterns are relative to path", p)
		}
	}
	return patterns, nil
}

func noPathFault(string, string) error { return nil }

// Name implements Source.
func (d *Source) Name() string { return d.name }

// Kind implements Source.
func (d *Source) Kind() string { return Kind }

// Check tells whether the directory can be read here and, after a restore, be
// swapped: its parent must be writable, or the directory itself where it is a
// mount point, and no other file system may be mounted within it. When
// nothing but the directory itself is missing the error wraps fs.ErrNotExist.
func (d *Source) Check(ctx context.Context) error {
	if err := d.Readable(); err != nil {
		return fmt.Errorf("source %s: %w", d.name, err)
	}
	return ctx.Err()
}

// CheckRestore is the part of Check that a restore needs: neither the directory
// nor the folders above it have to exist, because they are made.
func (d *Source) CheckRestore(ctx context.Context) error {
	if _, _, err := d.checkTarget(); err != nil {
		return fmt.Errorf("source %s: %w", d.name, err)
	}
	return ctx.Err()
}

// Readable tells whether the directory is there, can be read, and could be swapped.
func (d *Source) Readable() error {
	path, there, err := d.checkTarget()
	if err != nil {
		return err
	}
	if !there {
		return fmt.Errorf("directory %s is missing; create it, or restore it: %w", path, fs.ErrNotExist)
	}
	if err := unix.Access(path, unix.R_OK|unix.X_OK); err != nil {
		return fmt.Errorf("read directory %s: %w", path, err)
	}
	return nil
}

// Swappable tells whether the directory, which may be missing, could be swapped.
func (d *Source) Swappable() error {
	_, _, err := d.checkTarget()
	return err
}

// checkTarget looks whether the directory, which may be missing, could be
// swapped.
func (d *Source) checkTarget() (path string, there bool, err error) {
	err = d.at(func(p stage.Placement) error {
		at := p.At().Place
		path = at.Path()
		inside := p.Inside()
		if err := checkObstacles(at, inside); err != nil {
			return err
		}
		if err := swap.CheckPlace(at, inside); err != nil {
			return err
		}
		st, err := at.Stat()
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case !fsx.IsDir(st):
			return fmt.Errorf("%s is not a directory", path)
		}
		there = true
		return nil
	})
	return path, there, err
}

// Place implements Placed.
func (d *Source) Place() (string, error) { return fsx.RealPath(d.cfg.Path) }

// At implements Placed.
func (d *Source) At(place string) source.Source {
	there := *d
	there.cfg.Path = place
	return &there
}

// Space implements Restorer.
func (d *Source) Space(e source.Entry) (folder string, bytes int64) {
	folder = filepath.Dir(d.cfg.Path)
	_ = d.at(func(p stage.Placement) error { // Stage reports a path that leads nowhere
		folder = p.At().Folder
		if p.At().In == nil {
			folder = p.At().Target
		}
		return nil
	})
	// A malformed entry is reported by Stage.
	var facts Facts
	if err := json.Unmarshal(e.Facts, &facts); err != nil {
		return folder, e.Size
	}
	return folder, facts.DiskBytes
}

// Accept implements Restorer.
func (d *Source) Accept(context.Context, source.Entry) error { return nil }

// place tells where the path leads now, and how a stage takes the place of what is there.
func (d *Source) place() (stage.Placement, error) {
	at, err := fsx.Resolve(d.cfg.Path)
	if err != nil {
		return nil, err
	}
	mounted := d.mounted
	if mounted == nil {
		mounted = swap.IsMountPoint
	}
	inside, err := mounted(at)
	if err != nil {
		at.Close()
		return nil, err
	}
	return stage.Of(at, inside, d.SwapFault)
}

// at does something where the path leads now.
func (d *Source) at(what func(stage.Placement) error) error {
	p, err := d.place()
	if err != nil {
		return err
	}
	defer p.Release()
	return what(p)
}

// Fingerprint implements Restorer.
func (d *Source) Fingerprint(context.Context) (string, error) {
	var print string
	err := d.at(func(p stage.Placement) (err error) {
		s := p.At()
		print, err = swap.Fingerprint(s.In, s.Staged, s.List)
		return err
	})
	return print, err
}

// Stage implements Restorer. The stage is on the target's file system: beside
// the target, whose folder is made where it is missing, or within it where it is
// a mount point. It has its name only once
// it is whole and durable. An earlier one is dropped first.
func (d *Source) Stage(ctx context.Context, r *pack.Reader, e source.Entry) error {
	return d.stage(ctx, r, e)
}

func (d *Source) stage(ctx context.Context, r chunks.Reader, e source.Entry) error {
	err := d.do(func(p stage.Placement) error {
		s := p.At()
		inside := p.Inside()
		if err := swap.CheckPlace(s.Place, inside); err != nil {
			return err
		}
		var facts Facts
		if err := json.Unmarshal(e.Facts, &facts); err != nil {
			return fmt.Errorf("read facts: %w", err)
		}
		if err := p.Prepare(facts.Parents); err != nil {
			return err
		}
		return s.Build(ctx, func(made *fsx.Dir) error {
			if err := tree.WriteList(ctx, r, e.Root, s.In, s.Listing); err != nil {
				return err
			}
			list, err := tree.OpenList(s.In, s.Listing)
			if err != nil {
				return err
			}
			defer list.Close()
			if err := plantSound(ctx, r, e, tree.Listed(list), made); err != nil {
				return err
			}
			return writeMarks(ctx, tree.Listed(list), made, s.In, s.Marking)
		})
	})
	if err != nil {
		return fmt.Errorf("stage %s: %w", d.name, err)
	}
	return nil
}

// Advance implements Advancer.
func (d *Source) Advance(ctx context.Context, r *pack.Reader, _, to source.Entry) error {
	return d.advance(ctx, r, to)
}

func (d *Source) advance(ctx context.Context, r chunks.Reader, to source.Entry) error {
	err := d.do(func(p stage.Placement) error { return bringForward(ctx, r, to, p.At()) })
	if err != nil {
		return fmt.Errorf("bring the stage of %s forward: %w", d.name, err)
	}
	return nil
}

// Swap implements Restorer. A target that does not exist yet is made.
func (d *Source) Swap(ctx context.Context) error {
	err := d.do(func(p stage.Placement) error {
		if err := p.Swap(); err != nil {
			return err
		}
		return d.guestsIn(p.At().Target).bring(ctx, p.At().Old(), p.At().Place)
	})
	if err != nil {
		return fmt.Errorf("swap %s: %w", d.name, err)
	}
	return nil
}

// SwapBack implements Restorer.
func (d *Source) SwapBack(ctx context.Context) error {
	err := d.do(func(p stage.Placement) error {
		swapped, err := p.Swapped()
		if err != nil {
			return err
		}
		if swapped {
			if err := d.guestsIn(p.At().Target).bring(ctx, p.At().Place, p.At().Old()); err != nil {
				return err
			}
		}
		return p.SwapBack()
	})
	if err != nil {
		return fmt.Errorf("swap %s back: %w", d.name, err)
	}
	return nil
}

// Discard implements Restorer.
func (d *Source) Discard(context.Context) error {
	if err := d.do(stage.Placement.Discard); err != nil {
		return fmt.Errorf("discard leftovers of %s: %w", d.name, err)
	}
	return nil
}

// Sweep implements Sweeper.
func (d *Source) Sweep(ctx context.Context) ([]source.Leftover, error) {
	var left []source.Leftover
	err := d.at(func(p stage.Placement) (err error) {
		if left, err = p.At().Asides().Sweep(ctx); err == nil {
			err = d.leave(p)
		}
		return err
	})
	if err != nil {
		return left, fmt.Errorf("delete what is left of %s: %w", d.name, err)
	}
	return left, nil
}

// leave removes the folder of the stage if nothing is left in it, and nothing is
// being staged.
func (d *Source) leave(p stage.Placement) error {
	if !d.busy.TryLock() {
		return nil
	}
	defer d.busy.Unlock()
	return p.Leave()
}

// Staged is the path of the staged folder.
func (d *Source) Staged() string {
	path := swap.Besides(d.cfg.Path, "staged")
	_ = d.at(func(p stage.Placement) error { // then nothing is staged
		path = filepath.Join(p.At().Folder, p.At().Staged)
		return nil
	})
	return path
}

func (d *Source) do(what func(stage.Placement) error) error {
	d.busy.Lock()
	defer d.busy.Unlock()
	return d.at(what)
}

// exportEntry writes a dumped directory to a place where nothing is.
func exportEntry(ctx context.Context, r *pack.Reader, e source.Entry, at fsx.Place) error {
	return ExportTree(ctx, r, e, at)
}

// ExportTree writes a dumped tree to a place where nothing is.
func ExportTree(ctx context.Context, r chunks.Reader, e source.Entry, at fsx.Place) error {
	return swap.Export(ctx, at, func(made *fsx.Dir) error { return plant(ctx, r, e, tree.Dumped(r, e.Root), made) })
}
