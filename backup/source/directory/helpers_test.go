package directory

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/tree"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
	"github.com/understudy-ha/understudy/backup/source/sqlite"
)

var errStop = errors.New("stopped here")

func newTestDirectory(t testing.TB, path string, exclude ...string) *Source {
	t.Helper()
	d, err := New("files", Config{Path: path, Exclude: exclude, Now: sourcetest.Stillness})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// counted counts how often each file of a directory is opened to be read.
func counted(d *Source) func() int {
	var mu sync.Mutex
	n := 0
	d.fault = func(step, path string) error {
		mu.Lock()
		defer mu.Unlock()
		if info, err := os.Lstat(filepath.Join(d.cfg.Path, path)); step == "open" && err == nil && info.Mode().IsRegular() {
			n++
		}
		return nil
	}
	return func() int {
		mu.Lock()
		defer mu.Unlock()
		defer func() { n = 0 }()
		return n
	}
}

func factsOf(t testing.TB, e source.Entry) Facts {
	t.Helper()
	var f Facts
	if err := json.Unmarshal(e.Facts, &f); err != nil {
		t.Fatal(err)
	}
	return f
}

// paths lists the paths of a dumped tree.
func paths(t testing.TB, v *sourcetest.Vault) []string {
	t.Helper()
	var all []string
	for n, err := range tree.Of(t.Context(), v.Reader(), v.Prev.Entry.Root) {
		sourcetest.Must(t, err)
		all = append(all, fmt.Sprintf("%c %s", n.Type, n.Path))
	}
	return all
}

// newGuest is a source of a database that lies in a directory.
func newGuest(t testing.TB, path string) *sqlite.Source {
	t.Helper()
	s, err := sqlite.New("prefs", sqlite.Config{Path: path, Scratch: filepath.Join(t.TempDir(), "scratch")})
	sourcetest.Must(t, err)
	return s
}
