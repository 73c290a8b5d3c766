package source

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
)

func init() {
	Register(Kind{
		Name: "directory", Files: true, Export: exportDirectory, Compare: compareDirectories,
		Lost: LostFacts[DirectoryFacts], Held: directoryHeld, HeldIn: directoryHeldIn,
	})
}

// DirectoryConfig describes a directory to back up.
type DirectoryConfig struct {
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

// Directory is a source that backs up a folder with all that is in it:
// regular files, folders, symlinks, hard links, fifos and devices, with modes,
// owners, modification times and extended attributes. Sockets are skipped.
type Directory struct {
	name string
	cfg  DirectoryConfig
	// frozen says that no file's content ever changes: that it has got another
	// name, which sets its ctime, says nothing.
	frozen   bool
	busy     *sync.Mutex // held while something is staged or swapped
	settling *settling
	sound    *soundness
	// others are the sources that may lie in the directory.
	others []Placed
	// fault, in tests, is called before a step on a path of the tree.
	fault func(step, path string) error
	// swapFault, in tests, is called before each step of a swap.
	swapFault func(step string) error
	// wait, in tests, is how long a database that is locked is waited for.
	wait time.Duration
	// storing, in tests, has a database stored otherwise.
	storing func(*storing)
	// mounted, in tests, stands in for isMountPoint.
	mounted func(fsx.Place) (bool, error)
}

var (
	_ Source         = (*Directory)(nil)
	_ Advancer       = (*Directory)(nil)
	_ Placed         = (*Directory)(nil)
	_ Sweeper        = (*Directory)(nil)
	_ RestoreChecker = (*Directory)(nil)
	_ Openable       = (*Directory)(nil)
	_ Voluminous     = (*Directory)(nil)
	_ Counter        = (*Directory)(nil)
	_ Laster         = (*Directory)(nil)
	_ Nester         = (*Directory)(nil)
	_ Inspector      = (*Directory)(nil)
	_ Rereader       = (*Directory)(nil)
)

// DirectoryFacts is what a directory's Entry tells in Facts.
type DirectoryFacts struct {
	Path      string `json:"path"`
	RootMode  string `json:"root_mode"` // octal
	Files     int64  `json:"files"`     // regular files; further names are HardLinks
	Folders   int64  `json:"folders"`   // the directory itself included
	Symlinks  int64  `json:"symlinks"`
	HardLinks int64  `json:"hard_links"`
	Specials  int64  `json:"special_files"` // fifos and devices
	Skipped   int64  `json:"sockets_skipped"`
	Unstable  int64  `json:"changed_while_read"`
	Bytes     int64  `json:"bytes"`      // of the files' contents
	DiskBytes int64  `json:"disk_bytes"` // that a restore takes, about
	// Mounts is how many files lie on other file systems, which are mounted
	// within, by their paths below Path.
	Mounts map[string]int64 `json:"mounts,omitempty"`
	// Parents are the folders above Path, the nearest one first.
	Parents []parent `json:"parents,omitempty"`
	// Started is when the reading began. A file that changed then or later may
	// differ from what was read, though its times and size do not tell.
	Started time.Time `json:"started"`
	// Databases counts those that were taken as such, under the Policy.
	Databases int64  `json:"databases,omitempty"`
	Policy    string `json:"databases_policy,omitempty"`
	// Tables is nil where databases are plain files.
	Tables *directoryTables `json:"tables,omitempty"`
	// Flags is nil in a backup of a version that did not look at them.
	Flags *directoryFlags `json:"flags,omitempty"`
}

// NewDirectory makes a directory source. Nothing is looked at yet.
func NewDirectory(name string, cfg DirectoryConfig) (*Directory, error) {
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
	if err := ownLocks(); err != nil { // before it takes a first database
		return nil, fmt.Errorf("source %s: directory: %w", name, err)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Directory{name: name, cfg: cfg, busy: new(sync.Mutex), settling: newSettling(), sound: newSoundness(), fault: noPathFault, swapFault: noFault}, nil
}

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
func (d *Directory) Name() string { return d.name }

// Kind implements Source.
func (d *Directory) Kind() string { return "directory" }

// Check tells whether the directory can be read here and, after a restore, be
// swapped: its parent must be writable, or the directory itself where it is a
// mount point, and no other file system may be mounted within it. When
// nothing but the directory itself is missing the error wraps fs.ErrNotExist.
func (d *Directory) Check(ctx context.Context) error {
	if err := d.check(); err != nil {
		return fmt.Errorf("source %s: %w", d.name, err)
	}
	return ctx.Err()
}

// CheckRestore is the part of Check that a restore needs: neither the directory
// nor the folders above it have to exist, because they are made.
func (d *Directory) CheckRestore(ctx context.Context) error {
	if _, _, err := d.checkTarget(); err != nil {
		return fmt.Errorf("source %s: %w", d.name, err)
	}
	return ctx.Err()
}

func (d *Directory) check() error {
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

// checkTarget looks whether the directory, which may be missing, could be
// swapped.
func (d *Directory) checkTarget() (path string, there bool, err error) {
	err = d.at(func(p placement) error {
		at := p.at().place
		path = at.Path()
		_, inside := p.(*moving)
		if err := checkObstacles(at, inside); err != nil {
			return err
		}
		if err := checkPlace(at, inside); err != nil {
			return err
		}
		st, err := at.Stat()
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case !isFolder(st):
			return fmt.Errorf("%s is not a directory", path)
		}
		there = true
		return nil
	})
	return path, there, err
}

// Place implements Placed.
func (d *Directory) Place() (string, error) { return resolveTarget(d.cfg.Path) }

// At implements Placed.
func (d *Directory) At(place string) Source {
	there := *d
	there.cfg.Path = place
	return &there
}

// Space implements Restorer.
func (d *Directory) Space(e Entry) (folder string, bytes int64) {
	folder = filepath.Dir(d.cfg.Path)
	_ = d.at(func(p placement) error { // Stage reports a path that leads nowhere
		folder = p.at().folder
		if p.at().in == nil {
			folder = p.at().target
		}
		return nil
	})
	// A malformed entry is reported by Stage.
	var facts DirectoryFacts
	if err := json.Unmarshal(e.Facts, &facts); err != nil {
		return folder, e.Size
	}
	return folder, facts.DiskBytes
}

// Accept implements Restorer.
func (d *Directory) Accept(context.Context, Entry) error { return nil }

// placement is how a stage takes the place of a target.
type placement interface {
	at() *site
	prepare(parents []parent) error // before a stage is built
	swap() error
	swapped() (bool, error) // the target is the new state, whole
	swapBack() error
	discard() error
	leave() error // once nothing is left of any
	release()
}

// place tells how: by the exchange of two names, or entry by entry where the
// target is a mount point, which has a name that cannot be changed.
func (d *Directory) place() (placement, error) {
	at, err := fsx.Resolve(d.cfg.Path)
	if err != nil {
		return nil, err
	}
	mounted := d.mounted
	if mounted == nil {
		mounted = isMountPoint
	}
	inside, err := mounted(at)
	var p placement
	switch {
	case err != nil:
	case inside:
		p, err = newMoving(at)
	default:
		p = newExchange(at)
	}
	if err != nil {
		at.Close()
		return nil, err
	}
	p.at().fault = d.swapFault
	return p, nil
}

// at does something where the path leads now.
func (d *Directory) at(what func(placement) error) error {
	p, err := d.place()
	if err != nil {
		return err
	}
	defer p.release()
	return what(p)
}

// Seal implements Restorer.
func (d *Directory) Seal(context.Context) (string, error) {
	var seal string
	err := d.at(func(p placement) (err error) {
		s := p.at()
		seal, err = sealOf(s.in, s.staged, s.list)
		return err
	})
	return seal, err
}

// Stage implements Restorer. The stage is on the target's file system: beside
// the target, whose folder is made where it is missing, or within it where it is
// a mount point. It has its name only once
// it is whole and durable. An earlier one is dropped first.
func (d *Directory) Stage(ctx context.Context, r *pack.Reader, e Entry) error {
	return d.stage(ctx, r, e)
}

func (d *Directory) stage(ctx context.Context, r chunkReader, e Entry) error {
	err := d.do(func(p placement) error {
		s := p.at()
		_, inside := p.(*moving)
		if err := checkPlace(s.place, inside); err != nil {
			return err
		}
		var facts DirectoryFacts
		if err := json.Unmarshal(e.Facts, &facts); err != nil {
			return fmt.Errorf("read facts: %w", err)
		}
		if err := p.prepare(facts.Parents); err != nil {
			return err
		}
		return s.stage(ctx, func(made *fsx.Dir) error {
			if err := writeList(ctx, r, e.Root, s.in, s.listing); err != nil {
				return err
			}
			list, err := openList(s.in, s.listing)
			if err != nil {
				return err
			}
			defer list.Close()
			if err := plantSound(ctx, r, e, listedNodes(list), made); err != nil {
				return err
			}
			return writeMarks(ctx, listedNodes(list), made, s.in, s.marking)
		})
	})
	if err != nil {
		return fmt.Errorf("stage %s: %w", d.name, err)
	}
	return nil
}

// Advance implements Advancer.
func (d *Directory) Advance(ctx context.Context, r *pack.Reader, _, to Entry) error {
	return d.advance(ctx, r, to)
}

func (d *Directory) advance(ctx context.Context, r chunkReader, to Entry) error {
	err := d.do(func(p placement) error { return bringForward(ctx, r, to, p.at()) })
	if err != nil {
		return fmt.Errorf("bring the stage of %s forward: %w", d.name, err)
	}
	return nil
}

// Swap implements Restorer. A target that does not exist yet is made.
func (d *Directory) Swap(ctx context.Context) error {
	err := d.do(func(p placement) error {
		if err := p.swap(); err != nil {
			return err
		}
		return d.guestsIn(p.at().target).bring(ctx, p.at().old(), p.at().place)
	})
	if err != nil {
		return fmt.Errorf("swap %s: %w", d.name, err)
	}
	return nil
}

// SwapBack implements Restorer.
func (d *Directory) SwapBack(ctx context.Context) error {
	err := d.do(func(p placement) error {
		swapped, err := p.swapped()
		if err != nil {
			return err
		}
		if swapped {
			if err := d.guestsIn(p.at().target).bring(ctx, p.at().place, p.at().old()); err != nil {
				return err
			}
		}
		return p.swapBack()
	})
	if err != nil {
		return fmt.Errorf("swap %s back: %w", d.name, err)
	}
	return nil
}

// Discard implements Restorer.
func (d *Directory) Discard(context.Context) error {
	if err := d.do(placement.discard); err != nil {
		return fmt.Errorf("discard leftovers of %s: %w", d.name, err)
	}
	return nil
}

// Sweep implements Sweeper.
func (d *Directory) Sweep(ctx context.Context) ([]Leftover, error) {
	var left []Leftover
	err := d.at(func(p placement) (err error) {
		if left, err = p.at().asides().sweep(ctx); err == nil {
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
func (d *Directory) leave(p placement) error {
	if !d.busy.TryLock() {
		return nil
	}
	defer d.busy.Unlock()
	return p.leave()
}

// Staged is the path of the staged folder.
func (d *Directory) Staged() string {
	path := besides(d.cfg.Path, "staged")
	_ = d.at(func(p placement) error { // then nothing is staged
		path = filepath.Join(p.at().folder, p.at().staged)
		return nil
	})
	return path
}

func (d *Directory) do(what func(placement) error) error {
	d.busy.Lock()
	defer d.busy.Unlock()
	return d.at(what)
}

// exportDirectory writes a dumped directory to a place where nothing is.
func exportDirectory(ctx context.Context, r *pack.Reader, e Entry, at fsx.Place) error {
	return exportTree(ctx, r, e, at)
}

func exportTree(ctx context.Context, r chunkReader, e Entry, at fsx.Place) error {
	if there, err := at.Exists(); err != nil {
		return err
	} else if there {
		return &fs.PathError{Op: "export to", Path: at.Path(), Err: fs.ErrExist}
	}
	partial := beside(at.Name, "partial")
	if err := removeAll(ctx, at.Dir, partial); err != nil {
		return err
	}
	made, err := at.Dir.Make(partial)
	if err != nil {
		return err
	}
	defer made.Close()
	if err := plant(ctx, r, e, dumpedNodes(r, e.Root), made); err != nil {
		return errors.Join(err, removeAll(ctx, at.Dir, partial))
	}
	if err := at.Dir.RenameNew(partial, at.Dir, at.Name); err != nil {
		return err
	}
	return errors.Join(at.Dir.Still(at.Name, made.FD()), at.Dir.Sync())
}
