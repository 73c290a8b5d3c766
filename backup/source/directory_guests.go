package source

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
)

// A source may lie in a directory that is a source too: it is a guest there. The
// directory's backups leave out the guest, what SQLite keeps beside it, and its
// stage. A swap of the directory brings the guest along into the new tree, as it
// is and with its stage, and the guest is swapped after that: the outer one goes
// first, and comes back last.

// Nest has each directory leave out and bring along the other sources in it.
func Nest(sources []Source) {
	for _, src := range sources {
		d, ok := src.(*Directory)
		if !ok {
			continue
		}
		d.others = nil
		for _, other := range sources {
			if p, ok := other.(Placed); ok && other != src {
				d.others = append(d.others, p)
			}
		}
	}
}

// guests are the names that lie in a directory, by the relative path of the
// folder that each is in.
type guests map[string][]string

// guestsIn finds the guests of the directory at root.
func (d *Directory) guestsIn(root string) guests {
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
		if ok && (rest == "" || rest == sides[0] || rest == sides[1] || rest == sides[2]) || strings.HasPrefix(name, "."+guest+".understudy-") {
			return true
		}
	}
	return false
}

// bring moves the guests of one tree to where they belong in another. It may be
// cut off anywhere and run again.
func (g guests) bring(from, to string) error {
	if there, err := exists(to); err != nil || !there {
		return err
	}
	for folder := range g {
		if err := g.bringFrom(filepath.Join(from, folder), filepath.Join(to, folder), folder); err != nil {
			return err
		}
	}
	return nil
}

func (g guests) bringFrom(from, to, folder string) error {
	entries, err := os.ReadDir(from)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	moved := false
	for _, e := range entries {
		if !g.has(folder, e.Name()) {
			continue
		}
		if !moved {
			models, err := parentsOf(filepath.Join(from, e.Name()))
			if err != nil {
				return err
			}
			if err := makeParents(filepath.Join(to, e.Name()), models); err != nil {
				return err
			}
		}
		moved = true
		// A backup of the tree from before the guest was one may have it too.
		if err := removeTree(filepath.Join(to, e.Name())); err != nil {
			return err
		}
		if err := moveEntry(filepath.Join(from, e.Name()), filepath.Join(to, e.Name())); err != nil {
			return err
		}
	}
	if !moved {
		return nil
	}
	return errors.Join(syncFolder(from), syncFolder(to))
}
