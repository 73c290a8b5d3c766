package filestore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/blobstore"
)

// tree returns all files and folders of the store, its own folder left out.
func tree(t *testing.T, s *Store) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if d != nil && d.Name() == ownDir {
			return fs.SkipDir
		}
		if path != s.dir {
			rel, _ := filepath.Rel(s.dir, path)
			found = append(found, rel)
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return found
}

func temps(t *testing.T, s *Store) []string {
	t.Helper()
	entries, err := os.ReadDir(s.own(tempDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

func TestFileHoldsExactlyTheBody(t *testing.T) {
	s := openTemp(t)
	if _, err := s.Put(t.Context(), "a/b.json", []byte("body"), blobstore.Always); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(s.dir, "a", "b.json"))
	if err != nil || string(got) != "body" {
		t.Errorf("file holds %q, %v", got, err)
	}
	if got, want := tree(t, s), []string{"a", "a/b.json"}; !slices.Equal(got, want) {
		t.Errorf("store holds %q, want %q", got, want)
	}
	if left := temps(t, s); len(left) > 0 {
		t.Errorf("temporary files left: %q", left)
	}
}

func TestReadingCreatesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not", "there")
	s, err := New(t.Context(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Stat(t.Context(), "k"); !errors.Is(err, blobstore.ErrNotFound) {
		t.Errorf("stat: %v, want not found", err)
	}
	if err := s.Delete(t.Context(), "k"); err != nil {
		t.Errorf("delete: %v", err)
	}
	for _, err := range s.List(t.Context(), "", "") {
		t.Errorf("list yielded something, %v", err)
	}
	if _, err := os.Stat(filepath.Dir(dir)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("folder was created: %v", err)
	}
	if _, err := s.Put(t.Context(), "k", nil, blobstore.IfAbsent()); err != nil {
		t.Errorf("put: %v", err)
	}
}

func TestKeyIsFileOrFolder(t *testing.T) {
	s := openTemp(t)
	for _, key := range []string{"file", "folder/file"} {
		if _, err := s.Put(t.Context(), key, []byte("x"), blobstore.Always); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range []string{"file/below", "file/far/below", "folder", "folder/file/below"} {
		for _, cond := range []blobstore.Condition{blobstore.Always, blobstore.IfAbsent()} {
			_, err := s.Put(t.Context(), key, []byte("y"), cond)
			if !errors.Is(err, blobstore.ErrInvalid) {
				t.Errorf("put %s: %v, want invalid", key, err)
			}
		}
	}
	if got, want := tree(t, s), []string{"file", "folder", "folder/file"}; !slices.Equal(got, want) {
		t.Errorf("store holds %q, want %q", got, want)
	}
	if left := temps(t, s); len(left) > 0 {
		t.Errorf("temporary files left: %q", left)
	}
}

func TestEmptyFolderOfACrashedDeleteIsNoObstacle(t *testing.T) {
	s := openTemp(t)
	if err := os.MkdirAll(s.path("k"), dirPerm); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(t.Context(), "k", []byte("x"), blobstore.IfAbsent()); err != nil {
		t.Error(err)
	}
}

func TestDeleteRemovesEmptyFolders(t *testing.T) {
	s := openTemp(t)
	for _, key := range []string{"a/b/c/d", "a/x"} {
		if _, err := s.Put(t.Context(), key, nil, blobstore.Always); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Delete(t.Context(), "a/b/c/d"); err != nil {
		t.Fatal(err)
	}
	if got, want := tree(t, s), []string{"a", "a/x"}; !slices.Equal(got, want) {
		t.Errorf("store holds %q, want %q", got, want)
	}
	if err := s.Delete(t.Context(), "a/x"); err != nil {
		t.Fatal(err)
	}
	if got := tree(t, s); len(got) > 0 {
		t.Errorf("store holds %q, want nothing", got)
	}
}

func TestDeleteNeverTakesAWritersFolder(t *testing.T) {
	s := openTemp(t)
	other, err := New(t.Context(), s.dir, Options{}) // its own lock, as in another process
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		var err error
		for i := 0; i < 200 && err == nil; i++ {
			_, err = other.Put(context.Background(), "a/b/written", []byte("x"), blobstore.Always)
			if err == nil {
				_, err = other.Stat(context.Background(), "a/b/written")
			}
			err = errors.Join(err, other.Delete(context.Background(), "a/b/written"))
		}
		done <- err
	}()
	for i := range 200 {
		key := fmt.Sprintf("a/b/%d", i)
		if _, err := s.Put(t.Context(), key, nil, blobstore.Always); err != nil {
			t.Fatal(err)
		}
		if err := s.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestCancelledPutLeavesNothing(t *testing.T) {
	for _, step := range []string{"piece", "written", "sealed"} {
		t.Run(step, func(t *testing.T) {
			s := openTemp(t)
			ctx, cancel := context.WithCancel(t.Context())
			s.step = func(name string) {
				if name == step {
					cancel()
				}
			}
			_, err := s.Put(ctx, "a/k", make([]byte, 3*writePiece), blobstore.IfAbsent())
			if !errors.Is(err, context.Canceled) || !errors.Is(err, blobstore.ErrUnavailable) {
				t.Errorf("put: %v, want cancelled", err)
			}
			if got := tree(t, s); len(got) > 0 {
				t.Errorf("store holds %q, want nothing", got)
			}
			if left := temps(t, s); len(left) > 0 {
				t.Errorf("temporary files left: %q", left)
			}
		})
	}
}

func TestWaitingForTheLockHonoursTheContext(t *testing.T) {
	s := openTemp(t)
	other, err := New(t.Context(), s.dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	release, err := s.lock.acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, waiting := range map[string]*Store{"same process": s, "other process": other} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		_, err := waiting.Put(ctx, "k", nil, blobstore.IfAbsent())
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, blobstore.ErrUnknownOutcome) {
			t.Errorf("%s: put: %v, want deadline exceeded", name, err)
		}
	}
	release()
	if _, err := other.Put(t.Context(), "k", nil, blobstore.IfAbsent()); err != nil {
		t.Errorf("put after release: %v", err)
	}
}

func TestReadOnlyStoreIsDenied(t *testing.T) {
	if os.Geteuid() == 0 {
		// Root may write anywhere; the kinds are what is left to check.
		err := translate("put", "k", &fs.PathError{Op: "open", Path: "k", Err: fs.ErrPermission})
		if !errors.Is(err, blobstore.ErrDenied) {
			t.Errorf("error %v, want denied", err)
		}
		return
	}
	s := openTemp(t)
	if err := os.Chmod(s.dir, 0o555); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(t.Context(), "k", nil, blobstore.Always); !errors.Is(err, blobstore.ErrDenied) {
		t.Errorf("put: %v, want denied", err)
	}
}

func TestStaleTemporaryFilesAreRemoved(t *testing.T) {
	s := openTemp(t)
	if _, err := s.Put(t.Context(), "k", nil, blobstore.Always); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for name, age := range map[string]time.Duration{"old": 2 * staleAfter, "young": staleAfter / 2} {
		path := filepath.Join(s.own(tempDir), name)
		if err := os.WriteFile(path, []byte("half a bo"), filePerm); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, now.Add(-age), now.Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := New(t.Context(), s.dir, Options{Now: func() time.Time { return now }}); err != nil {
		t.Fatal(err)
	}
	if got, want := temps(t, s), []string{"young"}; !slices.Equal(got, want) {
		t.Errorf("temporary files %q, want %q", got, want)
	}
}

func TestStampsDifferWhateverTheClockDoes(t *testing.T) {
	start := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	clock := start
	s, err := New(t.Context(), t.TempDir(), Options{Now: func() time.Time { return clock }})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name  string
		clock time.Time
		want  time.Time
	}{
		{"first", start.Add(time.Hour * 24 * 365 * 10), start.Add(time.Hour * 24 * 365 * 10)},
		{"set back far: followed", start, start},
		{"stands still", start, start.Add(1)},
		{"set back a little: not followed", start.Add(-time.Second), start.Add(2)},
		{"goes on", start.Add(time.Second), start.Add(time.Second)},
	}
	for _, test := range tests {
		clock = test.clock
		attrs, err := s.Put(t.Context(), "k", []byte("x"), blobstore.Always)
		if err != nil {
			t.Fatal(err)
		}
		if !attrs.Time.Equal(test.want) {
			t.Errorf("%s: stamp %v, want %v", test.name, attrs.Time.UTC(), test.want)
		}
	}
}
