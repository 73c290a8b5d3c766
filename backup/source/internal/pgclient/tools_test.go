package pgclient

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

// fakeTools puts programs that give a version into folders, one each.
func fakeTools(t *testing.T, name string, versions ...string) {
	t.Helper()
	dir := t.TempDir()
	for i, v := range versions {
		folder := filepath.Join(dir, fmt.Sprint(i), "bin")
		sourcetest.Must(t, os.MkdirAll(folder, 0o755))
		script := fmt.Sprintf("#!/bin/sh\necho '%s (PostgreSQL) %s'\n", name, v)
		sourcetest.Must(t, os.WriteFile(filepath.Join(folder, name), []byte(script), 0o755))
	}
	old := ToolDirs
	t.Cleanup(func() { ToolDirs = old })
	ToolDirs = []string{filepath.Join(dir, "*", "bin")}
	t.Setenv("PATH", "/nowhere")
}

func TestPostgresToolsAreChosenByVersion(t *testing.T) {
	for _, tt := range []struct {
		have  []string
		major int
		want  int
		err   string
	}{
		{[]string{"14.1", "16.2 (Debian 16.2-1)", "18beta1"}, 15, 16, ""},
		{[]string{"14.1", "15.0", "16.2"}, 15, 15, ""},
		{[]string{"13.1", "14.9"}, 15, 0, "find pg_dump: version 15 is needed and 14 is the newest here: install"},
		{nil, 15, 0, "find pg_dump: not installed: install the client programs of PostgreSQL 15"},
	} {
		t.Run(fmt.Sprint(tt.have), func(t *testing.T) {
			fakeTools(t, "pg_dump", tt.have...)
			got, err := FindTool(t.Context(), "pg_dump", tt.major)
			if tt.err != "" {
				sourcetest.MustFail(t, err, tt.err)
				return
			}
			sourcetest.Must(t, err)
			if got.Major != tt.want {
				t.Errorf("chose %d", got.Major)
			}
		})
	}
}
