package filestore

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/storetest"
)

func TestMain(m *testing.M) {
	storetest.Worker(blobstore.Mux{Scheme: Open}.Open)
	crashWorker()
	os.Exit(m.Run())
}

func openTemp(t *testing.T) *Store {
	t.Helper()
	s, err := New(t.Context(), t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStoreConforms(t *testing.T) {
	storetest.Run(t, func(t *testing.T) blobstore.Store {
		t.Helper()
		return openTemp(t)
	})
}

func TestProcessesExcludeEachOther(t *testing.T) {
	s := openTemp(t)
	storetest.RunProcesses(t, s, "file://"+s.dir)
}

func TestOpenTakesAbsolutePathsOnly(t *testing.T) {
	dir := t.TempDir()
	tests := []struct {
		url string
		ok  bool
	}{
		{"file://" + dir, true},
		{"file://localhost" + dir, true},
		{"file://" + dir + "/not/there/yet", true},
		{"file://relative/path", false},
		{"file:relative", false},
		{"file://" + dir + "?region=x", false},
	}
	for _, test := range tests {
		u, err := url.Parse(test.url)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Open(context.Background(), u); (err == nil) != test.ok {
			t.Errorf("open %s: error %v, want success %v", test.url, err, test.ok)
		}
	}
}

func TestStrangersAreNamed(t *testing.T) {
	s := openTemp(t)
	storetest.RunStranger(t, s, func(t *testing.T, name string) {
		if err := os.MkdirAll(filepath.Dir(s.path(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(s.path(name), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	})
}
