package server

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// errMissing ends every message about a missing binary.
var errMissing = errors.New("run `make setup`, which installs what the tests need")

// findTop finds the top of the repository, which is above the folder that a
// test runs in.
func findTop() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "e2e", "tools")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("not within the repository: %w", errMissing)
		}
	}
}

// findTool finds a binary by its path from the top of the repository.
func findTool(path string) (string, error) {
	dir, err := findTop()
	if err != nil {
		return "", fmt.Errorf("find %s: %w", path, err)
	}
	tool := filepath.Join(dir, path)
	if _, err := exec.LookPath(tool); err != nil {
		return "", fmt.Errorf("find %s: %w: %w", path, err, errMissing)
	}
	return tool, nil
}

// findPostgres finds one of PostgreSQL's programs, in PATH or where Debian
// keeps those that it does not put there; of several versions the newest.
func findPostgres(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	return newestPostgres(name)
}

// newestPostgres finds one of PostgreSQL's programs where Debian keeps them.
func newestPostgres(name string) (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if err != nil {
		return "", fmt.Errorf("find %s: %w", name, err)
	}
	if len(found) == 0 {
		return "", fmt.Errorf("find PostgreSQL's %s, in PATH or in /usr/lib/postgresql: %w", name, errMissing)
	}
	return found[len(found)-1], nil
}

// PocketBase returns the path of its program.
func PocketBase(tb testing.TB) string {
	tb.Helper()
	path, err := findTool("e2e/tools/bin/pocketbase")
	if err != nil {
		tb.Fatal(err)
	}
	return path
}
