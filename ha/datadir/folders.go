package datadir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup"
)

// The folders in the data folder can all be made again: what they held is fetched, or
// made, anew. So whatever else stands in the place of one, a file or a link that leads
// nowhere, is moved aside. A link to a folder that is there is that folder.

// dataFolders are the folders that the data folder has, those above first.
var dataFolders = []string{
	CacheFolder, filepath.Join(CacheFolder, "backups"), filepath.Join(CacheFolder, "packs"), filepath.Join(CacheFolder, "partial"),
	SwapFolder, ScratchFolder, HooksFolder,
}

// packsFolder is how the folders in the cache's folder of packs are named.
var packsFolder = regexp.MustCompile(`^[0-9a-f]{2}$`)

// ClearFolders moves aside what stands in the place of a folder, and says what that
// was, with what Tidy has moved. sources names the folders in the one for temporary
// data. One goroutine calls it.
func (d *Dir) ClearFolders(sources []string) (moved []string, err error) {
	now, err := d.clearFolders(sources)
	moved, d.moved = append(d.moved, now...), nil
	return moved, err
}

func (d *Dir) clearFolders(sources []string) (moved []string, err error) {
	clear := func(name string) (cleared bool) {
		text, failure := clearPlace(d.File(name))
		if err = errors.Join(err, failure); text != "" {
			moved = append(moved, text)
		}
		return text != ""
	}
	folders := slices.Clone(dataFolders)
	for _, name := range sources {
		folders = append(folders, filepath.Join(ScratchFolder, name))
	}
	for _, name := range folders {
		if clear(name) {
			err = errors.Join(err, os.MkdirAll(d.File(name), 0o700))
		}
	}
	for folder, is := range map[string]func(name string) bool{
		filepath.Join(CacheFolder, "packs"):   packsFolder.MatchString,
		filepath.Join(CacheFolder, "backups"): func(name string) bool { _, err := backup.ParseID(name); return err == nil },
	} {
		entries, _ := os.ReadDir(d.File(folder)) // one that cannot be read shows where it is needed
		for _, e := range entries {
			if !e.IsDir() && is(e.Name()) {
				clear(filepath.Join(folder, e.Name()))
			}
		}
	}
	return moved, err
}

// clearPlace moves aside what is at path and is no folder. Nothing, and a folder, is
// left as it is.
func clearPlace(path string) (moved string, err error) {
	what := obstacle(path)
	if what == "" {
		return "", nil
	}
	aside := path + ".aside"
	for n := 2; ; n++ {
		if _, err := os.Lstat(aside); err != nil {
			break
		}
		aside = fmt.Sprintf("%s.aside-%d", path, n)
	}
	if err := os.Rename(path, aside); err != nil {
		return "", fmt.Errorf("%s is %s instead of a folder, and cannot be moved aside: remove it by hand: %w", path, what, err)
	}
	return fmt.Sprintf("%s was %s instead of a folder, and was moved aside to %s", path, what, aside), nil
}

// obstacle says what is at path instead of a folder; "": nothing, a folder, or what
// cannot be looked at, which shows where it is needed.
func obstacle(path string) string {
	at, err := os.Lstat(path)
	if err != nil || at.IsDir() {
		return ""
	}
	if at.Mode()&fs.ModeSymlink == 0 {
		return "a file"
	}
	to, err := os.Stat(path)
	switch {
	case err == nil && !to.IsDir(), errors.Is(err, unix.ENOTDIR):
		return "a link to a file"
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ELOOP):
		return "a link that leads nowhere"
	}
	return ""
}
