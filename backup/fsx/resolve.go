package fsx

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Place is a name in a held folder.
type Place struct {
	Dir  *Dir
	Name string
	// Missing are the folders between Dir and Name that do not exist, the outermost
	// one first.
	Missing []string
}

// Path is where it lies, for people.
func (p Place) Path() string { return p.Dir.Path(append(slices.Clone(p.Missing), p.Name)...) }

// Beside is another name in the same folder.
func (p Place) Beside(name string) Place { return Place{Dir: p.Dir, Name: name} }

// With is the name with something behind it, in the same folder.
func (p Place) With(suffix string) Place { return p.Beside(p.Name + suffix) }

// Held is the place for whoever takes nothing but a path.
func (p Place) Held() string { return p.Dir.Held(p.Name) }

// Close lets go of the folder.
func (p Place) Close() { p.Dir.Close() }

// Stat looks at what is there; nothing is fs.ErrNotExist.
func (p Place) Stat() (unix.Stat_t, error) {
	if len(p.Missing) > 0 {
		return unix.Stat_t{}, p.gone()
	}
	st, err := p.Dir.Stat(p.Name)
	if err == nil && st.Mode == 0 {
		err = p.gone()
	}
	return st, err
}

// Open opens the regular file that is there, to be read.
func (p Place) Open() (*os.File, error) {
	if len(p.Missing) > 0 {
		return nil, p.gone()
	}
	return p.Dir.Open(p.Name, unix.O_RDONLY)
}

// Replace replaces the file that is there at once and durably, unless it has just this
// content.
func (p Place) Replace(data []byte, mode fs.FileMode) error {
	if len(p.Missing) > 0 {
		return p.gone()
	}
	if f, err := p.Open(); err == nil {
		old, err := io.ReadAll(io.LimitReader(f, int64(len(data))+1))
		if f.Close(); err == nil && bytes.Equal(old, data) {
			return nil
		}
	}
	return p.Dir.Replace(p.Name, data, mode)
}

func (p Place) gone() error { return &fs.PathError{Op: "stat", Path: p.Path(), Err: unix.ENOENT} }

// Below is what has a path of several names below an open folder, whose own path
// is for people. No link is followed on the way.
func Below(in int, folder, path string) (Place, error) {
	fd, err := Beneath(in, filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return Place{}, &fs.PathError{Op: "open", Path: filepath.Join(folder, filepath.Dir(path)), Err: err}
	}
	return Place{Dir: newDir(fd, filepath.Join(folder, filepath.Dir(path))), Name: filepath.Base(path)}, nil
}

// Exists tells whether something is there.
func (p Place) Exists() (bool, error) {
	if len(p.Missing) > 0 {
		return false, nil
	}
	return p.Dir.Exists(p.Name)
}

// ErrForeignLink says that a symbolic link of some user leads to what is not that
// user's: whoever may put a link there must not lead an agent that runs as root
// anywhere.
var ErrForeignLink = errors.New("the symbolic link is not followed")

// maxLinks is how many symbolic links are followed for one path, as in the
// kernel.
const maxLinks = 40

// Resolve follows every symbolic link in an absolute path, and holds the folder in
// which what the path leads to has its name. Neither has to exist: folders above
// may be missing, as on a host where the application never ran. What a symbolic
// link leads into may not: it is taken for a file system that is not mounted.
func Resolve(path string) (Place, error) {
	r := resolution{path: path, rest: components(path)}
	defer func() { r.close() }()
	if err := r.root(); err != nil {
		return Place{}, err
	}
	for {
		p, err := r.step()
		if err != nil {
			return Place{}, err
		}
		if p != nil {
			if err := r.trusted(*p); err != nil {
				p.Close()
				return Place{}, err
			}
			return *p, nil
		}
	}
}

// resolution is one walk along a path.
type resolution struct {
	path string
	rest []string
	at   int    // the folder that the walk is in
	here string // its path, without links
	open bool   // at is

	links  []link // that were followed
	beyond int    // how many names of rest come after those of the last link
}

// link is a symbolic link that was followed.
type link struct {
	path string
	uid  uint32
}

func (r *resolution) close() {
	if r.open {
		_ = unix.Close(r.at)
	}
}

// enter goes on in another folder.
func (r *resolution) enter(fd int, path string) {
	r.close()
	r.at, r.here, r.open = fd, path, true
}

func (r *resolution) root() error {
	fd, err := open(unix.AT_FDCWD, "/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &fs.PathError{Op: "open", Path: "/", Err: err}
	}
	r.enter(fd, "/")
	return nil
}

// step goes on by one name. It returns the place once the path ends there.
func (r *resolution) step() (*Place, error) {
	if len(r.rest) == 0 { // at a folder whose name was "..", or at the root
		return r.end(filepath.Dir(r.here), "..", filepath.Base(r.here), nil)
	}
	name, next := r.rest[0], filepath.Join(r.here, r.rest[0])
	// A file system that is mounted on demand is mounted by this flag.
	fd, err := open(r.at, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	switch {
	case err == unix.ENOENT:
		return r.missing(next)
	case err == unix.ENOTDIR || err == unix.ELOOP:
		return r.noDir(name, next)
	case err != nil:
		return nil, &fs.PathError{Op: "open", Path: next, Err: err}
	case len(r.rest) == 1 && name != "..":
		_ = unix.Close(fd)
		return r.end(r.here, ".", name, nil)
	}
	r.enter(fd, next)
	r.rest = r.rest[1:]
	return nil, nil //nolint:nilnil // it goes on
}

// noDir follows a link, or ends at a file.
func (r *resolution) noDir(name, next string) (*Place, error) {
	fd, err := open(r.at, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: next, Err: err}
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, &fs.PathError{Op: "stat", Path: next, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK {
		if len(r.rest) > 1 {
			return nil, &fs.PathError{Op: "open", Path: next, Err: unix.ENOTDIR}
		}
		return r.end(r.here, ".", name, nil)
	}
	var to [unix.PathMax]byte
	n, err := unix.Readlinkat(fd, "", to[:])
	if err != nil {
		return nil, &fs.PathError{Op: "read link", Path: next, Err: err}
	}
	if r.links = append(r.links, link{next, st.Uid}); len(r.links) > maxLinks {
		return nil, fmt.Errorf("resolve %s: %w", r.path, unix.ELOOP)
	}
	target := string(to[:n])
	r.beyond = len(r.rest) - 1
	r.rest = append(components(target), r.rest[1:]...)
	if filepath.IsAbs(target) {
		return nil, r.root()
	}
	return nil, nil //nolint:nilnil // it goes on
}

// missing ends at what does not exist.
func (r *resolution) missing(next string) (*Place, error) {
	real := filepath.Join(append([]string{r.here}, r.rest...)...)
	if len(r.links) > 0 && len(r.rest) > max(1, r.beyond) {
		last := r.links[len(r.links)-1].path
		return nil, fmt.Errorf("the symbolic link %s leads to %s, but there is no %s: mount or create it, or correct the link: %w", last, real, next, &fs.PathError{Op: "open", Path: next, Err: unix.ENOENT})
	}
	below, err := filepath.Rel(r.here, real)
	if err != nil || !filepath.IsLocal(below) || below == "." {
		return nil, &fs.PathError{Op: "open", Path: next, Err: unix.ENOENT}
	}
	names := components(below)
	last := len(names) - 1
	return r.end(r.here, ".", names[last], names[:last])
}

// end holds the folder in which the path ends.
func (r *resolution) end(path, folder, name string, missing []string) (*Place, error) {
	fd, err := open(r.at, folder, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err == unix.EACCES { // it may be passed through, and not listed
		fd, err = open(r.at, folder, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	if name == "/" {
		name = "."
	}
	return &Place{Dir: newDir(fd, path), Name: name, Missing: missing}, nil
}

// trusted fails if a link of somebody else leads to what is not theirs.
func (r *resolution) trusted(p Place) error {
	for _, l := range r.links {
		if l.uid == 0 || int(l.uid) == os.Geteuid() {
			continue
		}
		theirs, err := p.belongsTo(l.uid)
		if err != nil {
			return err
		}
		if !theirs {
			return fmt.Errorf("%w: %s belongs to user %s, and leads to %s, which does not: name the real path, or make the link root's (chown -h root %s)",
				ErrForeignLink, l.path, userName(l.uid), p.Path(), l.path)
		}
	}
	return nil
}

// belongsTo tells whether a user has what is at the place, or the folder.
func (p Place) belongsTo(uid uint32) (bool, error) {
	folder, err := p.Dir.Self()
	if err != nil || folder.Uid == uid {
		return err == nil, err
	}
	if len(p.Missing) > 0 {
		return false, nil
	}
	st, err := p.Dir.Stat(p.Name)
	return st.Mode != 0 && st.Uid == uid, err
}

func userName(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return id
}

// components are the names that a path is made of.
func components(path string) []string {
	return slices.DeleteFunc(strings.Split(path, "/"), func(name string) bool { return name == "" || name == "." })
}
