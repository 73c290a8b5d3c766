package directory

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/meta"
	"github.com/understudy-ha/understudy/backup/source/internal/sqlitefile"
	"github.com/understudy-ha/understudy/backup/source/internal/stage"
)

// A source may lie in a directory that is a source too: it is a guest there. The
// directory's backups leave out the guest, what SQLite keeps beside it, and its
// stage. A swap of the directory brings the guest along into the new tree, as it
// is and with its stage, and the guest is swapped after that: the outer one goes
// first, and comes back last.

// Nest implements source.Nester.
func (d *Source) Nest(others []source.Placed) { d.others = others }

// guests are the names that lie in a directory, by the relative path of the
// folder that each is in.
type guests map[string][]string

// guestsIn finds the guests of the directory at root.
func (d *Source) guestsIn(root string) guests {
	var g guests
	for _, other := range d.others {
		place, err := other.Place()
		if err != nil {
			continue // nobody knows where it lies, and it says so itself
		}
		rel, err := filepath.Rel(root, place)
		if err != nil || rel == "." || !filepath.IsLocal(rel) {
			continue
		}
		if g == nil {
			g = guests{}
		}
		in := filepath.Dir(rel)
		g[in] = append(g[in], filepath.Base(rel))
	}
	return g
}

// has tells whether a name in a folder is a guest, or belongs to one.
func (g guests) has(folder, name string) bool {
	for _, guest := range g[folder] {
		rest, ok := strings.CutPrefix(name, guest)
		if ok && (rest == "" || rest == sqlitefile.Sides[0] || rest == sqlitefile.Sides[1] || rest == sqlitefile.Sides[2]) || strings.HasPrefix(name, "."+guest+".understudy-") {
			return true
		}
	}
	return false
}

// bring moves the guests of one tree to where they belong in another. It may be
// cut off anywhere and run again. Both trees belong to the application's user: so
// all is done in held folders.
func (g guests) bring(ctx context.Context, from, to fsx.Place) error {
	if len(g) == 0 || from.Dir == nil || to.Dir == nil {
		return nil
	}
	if there, err := to.Exists(); err != nil || !there {
		return err
	}
	if there, err := from.Exists(); err != nil || !there {
		return err
	}
	old, err := from.Dir.OpenDir(from.Name)
	if err != nil {
		return err
	}
	defer old.Close()
	new, err := to.Dir.OpenDir(to.Name)
	if err != nil {
		return err
	}
	defer new.Close()
	for folder := range g {
		if err := g.bringFrom(ctx, old, new, folder); err != nil {
			return err
		}
	}
	return nil
}

func (g guests) bringFrom(ctx context.Context, old, new *fsx.Dir, folder string) error {
	from, err := old.Down(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer from.Close()
	names, err := from.Names()
	if err != nil {
		return err
	}
	names = slices.DeleteFunc(names, func(name string) bool { return !g.has(folder, name) })
	if len(names) == 0 {
		return nil
	}
	to, err := makeLike(from, new, folder)
	if err != nil {
		return err
	}
	defer to.Close()
	for _, name := range names {
		// A backup of the tree from before the guest was one may have it too.
		if err := fsx.RemoveAll(ctx, to, name); err != nil {
			return err
		}
		if err := stage.MoveEntry(from, to, name); err != nil {
			return err
		}
	}
	return errors.Join(from.Sync(), to.Sync())
}

// makeLike holds the folder with a path below new. What is missing on the way is
// made like what leads to from.
func makeLike(from, new *fsx.Dir, path string) (*fsx.Dir, error) {
	models, err := meta.ParentsOf(from)
	if err != nil {
		return nil, err
	}
	names := strings.Split(path, "/")
	at, err := new.Down(".")
	if err != nil || path == "." {
		return at, err
	}
	for i, name := range names {
		model := meta.Parent{Mode: 0o755, UID: uint32(os.Geteuid()), GID: uint32(os.Getegid())}
		if up := len(names) - 1 - i; up < len(models) {
			model = models[up]
		}
		next, err := model.Make(at, name)
		at.Close()
		if err != nil {
			return nil, err
		}
		at = next
	}
	return at, nil
}
