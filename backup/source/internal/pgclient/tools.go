package pgclient

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
)

// ToolDirs are where distributions keep the programs of several versions of
// PostgreSQL side by side.
var ToolDirs = []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin"}

// Tool is one installed program of PostgreSQL's.
type Tool struct {
	Path  string
	Major int
}

// FindTool finds the program of the lowest version that is not older than
// major. The lowest, because a newer pg_restore sends settings that an older
// server does not know, and a newer pg_dump needs a newer pg_restore.
func FindTool(ctx context.Context, name string, major int) (Tool, error) {
	var best Tool
	newest := 0
	for _, path := range ToolPaths(name) {
		t, err := AskTool(ctx, path)
		if err != nil {
			return Tool{}, err
		}
		if t.Major == major {
			return t, nil
		}
		newest = max(newest, t.Major)
		if t.Major >= major && (best.Path == "" || t.Major < best.Major) {
			best = t
		}
	}
	switch {
	case best.Path != "":
		return best, nil
	case newest == 0:
		return Tool{}, fmt.Errorf("find %s: not installed: install the client programs of PostgreSQL %d", name, major)
	}
	return Tool{}, fmt.Errorf("find %s: version %d is needed and %d is the newest here: install the client programs of PostgreSQL %d",
		name, major, newest, major)
}

// ToolPaths lists where a program is installed.
func ToolPaths(name string) []string {
	var paths []string
	for _, folder := range ToolDirs {
		found, err := filepath.Glob(filepath.Join(folder, name))
		if err == nil { // the patterns are valid
			paths = append(paths, found...)
		}
	}
	if path, err := exec.LookPath(name); err == nil {
		paths = append(paths, path)
	}
	return paths
}

// AskTool asks a program for its version.
func AskTool(ctx context.Context, path string) (Tool, error) {
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return Tool{}, fmt.Errorf("ask %s for its version: %w", path, err)
	}
	// "pg_dump (PostgreSQL) 15.3 (Debian 15.3-1)"
	_, version, _ := bytes.Cut(out, []byte(") "))
	major, err := majorOf(string(version))
	if err != nil {
		return Tool{}, fmt.Errorf("ask %s for its version: %w", path, err)
	}
	return Tool{Path: path, Major: major}, nil
}

var leadingNumber = regexp.MustCompile(`^\d+`)

// majorOf returns the first number of a version such as "15.3 (Debian 15.3-1)".
func majorOf(version string) (int, error) {
	major, err := strconv.Atoi(leadingNumber.FindString(version))
	if err != nil {
		return 0, fmt.Errorf("read version %q: %w", version, err)
	}
	return major, nil
}
