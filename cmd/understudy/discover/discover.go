// Package discover finds on this host what could be backed up: folders of systemd's
// units, databases of PostgreSQL servers, SQLite files; and writes a first YAML file of
// it, with comments. It changes nothing, and reads of files no more than their beginning.
package discover

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Run runs a program as a user of this host ("": as this one), and returns what it
// prints.
type Run func(ctx context.Context, user string, argv ...string) ([]byte, error)

// Finder looks at this host.
type Finder struct {
	Run Run
	// Sockets are folders in which PostgreSQL servers may have their sockets.
	Sockets []string
	// Own is the agent's data folder, which is no source.
	Own string
}

// Found is what is there.
type Found struct {
	Units   []Unit
	Sources []Source
	// Notes say what could not be looked at.
	Notes []string
}

// Source is one thing to back up.
type Source struct {
	Name string
	Kind string // directory, file, sqlite or postgres
	// Path is of what is a file or a folder.
	Path string
	// URL and AdminURL are a database's.
	URL, AdminURL string
	// About is what people should know of it, a line each.
	About []string
}

// Find looks for what units and paths have, and for databases. Without either it looks
// at the services that run here and are no part of the system.
func (f *Finder) Find(ctx context.Context, units, paths []string) (*Found, error) {
	found := &Found{}
	for _, path := range paths {
		s, err := sourceAt(path)
		if err != nil {
			return nil, err
		}
		found.Sources = append(found.Sources, s)
	}
	if len(units) == 0 && len(paths) == 0 {
		units = f.services(ctx, found)
	}
	for _, name := range units {
		u, err := f.unit(ctx, name)
		if err != nil {
			return nil, err
		}
		found.Units = append(found.Units, u)
		for _, dir := range u.folders {
			if s, ok := f.folderOf(u, dir); ok {
				found.Sources = append(found.Sources, s)
			}
		}
	}
	f.databases(ctx, found)
	found.tidy()
	return found, nil
}

// folderOf is a unit's folder as a source, unless it is none to back up.
func (f *Finder) folderOf(u Unit, dir string) (Source, bool) {
	dir = filepath.Clean(dir)
	if slices.Contains(nobodys, dir) || within(dir, f.Own) || within(f.Own, dir) {
		return Source{}, false
	}
	s, err := sourceAt(dir)
	if err != nil || s.Kind != "directory" {
		return Source{}, false
	}
	s.About = append([]string{"The folder of " + u.Name + "."}, s.About...)
	return s, true
}

// nobodys are folders that are no application's own.
var nobodys = []string{"/", "/root", "/home", "/tmp", "/var/tmp", "/usr", "/etc", "/var", "/var/lib", "/srv", "/opt", "/run", "."}

// sourceAt is what lies at a path.
func sourceAt(path string) (Source, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return Source{}, fmt.Errorf("find %s: %w", path, err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return Source{}, fmt.Errorf("look at what is to be backed up: %w", err)
	}
	s := Source{Name: filepath.Base(path), Path: path}
	switch {
	case info.IsDir():
		s.Kind = "directory"
		if all := databasesIn(path); len(all) > 0 {
			s.About = []string{"SQLite databases in it are backed up whole, also while they are written to: " + some(all) + "."}
		}
	case !info.Mode().IsRegular():
		return Source{}, fmt.Errorf("%s is neither a folder nor a file", path)
	case isSQLite(path):
		s.Kind = "sqlite"
	default:
		s.Kind = "file"
	}
	return s, nil
}

// some are a few of many.
func some(all []string) string {
	const most = 5
	text := strings.Join(all[:min(len(all), most)], ", ")
	if more := len(all) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// looked bounds how many files are looked at.
const looked = 20_000

// databasesIn lists the SQLite databases in a folder, by their beginning.
func databasesIn(dir string) (found []string) {
	n := 0
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if n++; n > looked {
			return fs.SkipAll
		}
		// What cannot be looked at is told by doctor.
		if err == nil && d.Type().IsRegular() && isSQLite(path) {
			rel, _ := filepath.Rel(dir, path)
			found = append(found, rel)
		}
		return nil
	})
	return found
}

// isSQLite reports whether a file begins as a SQLite database does.
func isSQLite(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	const magic = "SQLite format 3\x00"
	begin := make([]byte, len(magic))
	n, _ := f.Read(begin)
	return string(begin[:n]) == magic
}

// within reports whether path is dir or lies below it.
func within(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}

var noName = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// tidy leaves out what lies in another source, or is one twice, and gives sources names
// that differ.
func (f *Found) tidy() {
	slices.SortStableFunc(f.Sources, func(a, b Source) int { return cmp.Compare(len(a.Path), len(b.Path)) })
	var kept []Source
	for _, s := range f.Sources {
		covered := slices.ContainsFunc(kept, func(k Source) bool {
			return s.Path != "" && (k.Path == s.Path || k.Kind == "directory" && within(s.Path, k.Path))
		})
		if !covered {
			kept = append(kept, s)
		}
	}
	names := map[string]bool{}
	for i := range kept {
		base := strings.TrimLeft(noName.ReplaceAllString(kept[i].Name, "-"), "._-")
		if base = base[:min(len(base), 50)]; base == "" {
			base = kept[i].Kind
		}
		name := base
		for n := 2; names[strings.ToLower(name)]; n++ {
			name = fmt.Sprintf("%s-%d", base, n)
		}
		names[strings.ToLower(name)] = true
		kept[i].Name = name
	}
	f.Sources = kept
}
