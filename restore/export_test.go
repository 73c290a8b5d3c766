package restore

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/source"
)

// exportFake writes a folder with one file for an entry, and fails with err
// after that for the entry with the name bad.
func exportFake(bad string, err error) exportEntry {
	return func(_ context.Context, _ *pack.Reader, e source.Entry, at fsx.Place) error {
		path := at.Path()
		if err := os.Mkdir(path, 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(path, "file"), []byte(e.Kind), 0o600); err != nil {
			return err
		}
		if e.Name == bad {
			return err
		}
		return nil
	}
}

// tree lists what is under dir.
func tree(t *testing.T, dir string) []string {
	t.Helper()
	found := []string{}
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err == nil && path != dir {
			found = append(found, strings.TrimPrefix(path, dir+"/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestAnExportHasOneEntryPerSource(t *testing.T) {
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "empty"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"empty", "missing", "missing too/a/b"} {
		dir := filepath.Join(root, dir)
		if err := export(t.Context(), nil, testManifest(), dir, nil, exportFake("", nil)); err != nil {
			t.Fatal(err)
		}
		want := []string{"db", "db/file", "prefs", "prefs/file", "uploads", "uploads/file"}
		if d := cmp.Diff(want, tree(t, dir)); d != "" {
			t.Error(d)
		}
	}
}

func TestAFailedExportLeavesNothingBehind(t *testing.T) {
	for _, dir := range []string{"empty", "missing", "missing/a/b"} {
		root := t.TempDir()
		if err := os.Mkdir(filepath.Join(root, "empty"), 0o700); err != nil {
			t.Fatal(err)
		}
		noLuck := errors.New("no luck")
		err := export(t.Context(), nil, testManifest(), filepath.Join(root, dir), nil, exportFake("prefs", noLuck))
		if !errors.Is(err, noLuck) {
			t.Errorf("got %v", err)
		}
		if d := cmp.Diff([]string{"empty"}, tree(t, root)); d != "" {
			t.Errorf("into %s: %s", dir, d)
		}
	}
}

func TestAnExportDoesNotTouchWhatIsThere(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "db"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := export(t.Context(), nil, testManifest(), dir, nil, exportFake("", nil)); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("got %v", err)
	}
	if err := export(t.Context(), nil, testManifest(), filepath.Join(dir, "db"), nil, exportFake("", nil)); err == nil {
		t.Error("exported into a file")
	}
	if err := export(t.Context(), nil, testManifest(), filepath.Join(dir, "db", "sub"), nil, exportFake("", nil)); err == nil {
		t.Error("exported under a file")
	}
	if d := cmp.Diff([]string{"db"}, tree(t, dir)); d != "" {
		t.Error(d)
	}
}

func TestAnExportRefusesNamesThatLeadElsewhere(t *testing.T) {
	for _, name := range []string{"", ".", "..", "../up", "/etc", "a/b", "db"} {
		dir := filepath.Join(t.TempDir(), "to")
		m := &backup.Manifest{ID: "b-1", Sources: []source.Entry{{Kind: "postgres", Name: "db"}, {Kind: "sqlite", Name: name}}}
		if err := export(t.Context(), nil, m, dir, nil, exportFake("", nil)); err == nil {
			t.Errorf("the name %q was taken", name)
		}
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the name %q: the folder was made (%v)", name, err)
		}
	}
}
