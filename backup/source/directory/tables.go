package directory

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"

	"github.com/understudy-ha/understudy/backup/source"
)

// directoryTables is what a backup of a directory says of the databases in it that
// have tables, so that it shows when they have none any more: an application that
// does not find its database makes an empty one.
type directoryTables struct {
	Count   int64       `json:"count"` // of databases that have tables
	Bytes   int64       `json:"bytes"`
	Largest []populated `json:"largest,omitempty"` // of them, by path
	Empty   []string    `json:"empty,omitempty"`   // have no table
	// Unknown are those that were not looked into, or left out on purpose.
	Unknown []string `json:"unknown,omitempty"`
}

// populated is a database that has tables.
type populated struct {
	Path string `json:"path"`
	Size int64  `json:"size"`
}

// maxPopulated keeps a manifest small.
const maxPopulated = 200

// tables tells it of this dump.
func (d *directoryDatabases) tables(leftOut func(path string) bool) *directoryTables {
	if d.policy.Off {
		return nil
	}
	t := &directoryTables{}
	seen := make(map[string]bool, len(d.new))
	for _, one := range d.new {
		seen[one.Path] = true
		switch {
		case one.Plain != "":
			t.Unknown = append(t.Unknown, one.Path)
		case one.Empty:
			t.Empty = append(t.Empty, one.Path)
		default:
			t.Count++
			t.Bytes += d.sizes[one.Path]
			t.Largest = append(t.Largest, populated{one.Path, d.sizes[one.Path]})
		}
	}
	for path := range d.old {
		if !seen[path] && leftOut(path) {
			t.Unknown = append(t.Unknown, path)
		}
	}
	slices.SortFunc(t.Largest, func(a, b populated) int { return cmp.Or(cmp.Compare(b.Size, a.Size), cmp.Compare(a.Path, b.Path)) })
	t.Largest = t.Largest[:min(len(t.Largest), maxPopulated)]
	slices.SortFunc(t.Largest, func(a, b populated) int { return cmp.Compare(a.Path, b.Path) })
	for _, names := range []*[]string{&t.Empty, &t.Unknown} {
		slices.Sort(*names)
		*names = (*names)[:min(len(*names), maxPopulated)]
	}
	return t
}

// leavesOut tells whether a path is in no backup of the directory: it is
// excluded, or belongs to another source.
func (w *walk) leavesOut(name string) bool {
	for at := name; at != "."; at = path.Dir(at) {
		if w.excludes(at) || w.guests.has(path.Dir(at), path.Base(at)) {
			return true
		}
	}
	return false
}

// lost says which databases have no table any more, or are gone together with
// more than half of what was in databases. A smaller part comes and goes.
func (t *directoryTables) lost(was *directoryTables) string {
	if t == nil || was == nil {
		return ""
	}
	var found []string
	for _, d := range was.Largest {
		if slices.Contains(t.Empty, d.Path) {
			found = append(found, fmt.Sprintf("the database %q had tables (%s), has none", d.Path, humanize.IBytes(uint64(d.Size))))
		}
	}
	if gone := t.gone(was); len(gone) > 0 {
		found = append(found, "databases that had tables are gone: "+strings.Join(gone, ", "))
	}
	if was.Count >= manyFiles && 2*t.Count < was.Count {
		found = append(found, fmt.Sprintf("had %s databases with tables, has %s", humanize.Comma(was.Count), humanize.Comma(t.Count)))
	}
	if more := len(found) - source.MaxNamed; more > 0 {
		found = append(found[:source.MaxNamed], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(found, "; ")
}

// gone names the databases that are not there any more, where they are most of
// what there was. A new one makes up for its size: one may have been moved.
func (t *directoryTables) gone(was *directoryTables) (names []string) {
	if was.Count > int64(len(was.Largest)) || t.Count > int64(len(t.Largest)) {
		return nil // they are counted
	}
	less := func(d populated, path string) int { return cmp.Compare(d.Path, path) }
	var bytes int64
	for _, d := range was.Largest {
		_, there := slices.BinarySearchFunc(t.Largest, d.Path, less)
		if there || slices.Contains(t.Empty, d.Path) || slices.Contains(t.Unknown, d.Path) {
			continue
		}
		bytes += d.Size
		names = append(names, fmt.Sprintf("%q (%s)", d.Path, humanize.IBytes(uint64(d.Size))))
	}
	for _, d := range t.Largest {
		if _, there := slices.BinarySearchFunc(was.Largest, d.Path, less); !there {
			bytes -= d.Size
		}
	}
	if 2*bytes <= was.Bytes {
		return nil
	}
	return names
}
