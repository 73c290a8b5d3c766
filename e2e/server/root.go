package server

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A Root is the folder of a small system, made of this machine's files: what an
// image is made of where no registry of images can be asked.
type Root struct {
	// Dir is where it lies.
	Dir string

	tb testing.TB
}

// NewRoot makes a root with a shell and the small tools of busybox.
func NewRoot(tb testing.TB) *Root {
	tb.Helper()
	r := &Root{Dir: tb.TempDir(), tb: tb}
	if err := os.Chmod(r.Dir, 0o755); err != nil {
		tb.Fatal(err)
	}
	for dir, mode := range map[string]os.FileMode{"tmp": 0o777 | os.ModeSticky, "etc": 0o755, "dev": 0o755, "proc": 0o755, "sys": 0o755, "root": 0o700, "run": 0o755} {
		r.folder(dir, mode)
	}
	r.Write("etc/passwd", "root:x:0:0::/root:/bin/sh\n", 0o644)
	r.Write("etc/group", "root:x:0:\n", 0o644)
	r.Program("busybox", "bin/busybox")
	applets, err := exec.CommandContext(tb.Context(), "busybox", "--list").Output()
	if err != nil {
		tb.Fatalf("list what busybox has: %v", err)
	}
	for name := range strings.FieldsSeq(string(applets)) {
		if name != "busybox" {
			r.link("busybox", "bin/"+name)
		}
	}
	return r
}

func (r *Root) path(name string) string { return filepath.Join(r.Dir, name) }

func (r *Root) folder(name string, mode os.FileMode) {
	r.tb.Helper()
	if err := os.MkdirAll(r.path(name), 0o755); err != nil {
		r.tb.Fatal(err)
	}
	if err := os.Chmod(r.path(name), mode); err != nil {
		r.tb.Fatal(err)
	}
}

func (r *Root) link(to, name string) {
	r.tb.Helper()
	if err := os.Symlink(to, r.path(name)); err != nil {
		r.tb.Fatal(err)
	}
}

// Write writes a file.
func (r *Root) Write(name, text string, mode os.FileMode) {
	r.tb.Helper()
	r.folder(filepath.Dir(name), 0o755)
	if err := os.WriteFile(r.path(name), []byte(text), mode); err != nil {
		r.tb.Fatal(err)
	}
}

// library is a path in what ldd prints.
var library = regexp.MustCompile(`(?m)(?:=> |^\s*)(/\S+)`)

// Program copies a program, which is found by its path or in PATH, with the shared
// libraries that it needs.
func (r *Root) Program(name, to string) {
	r.tb.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		r.tb.Fatalf("%v: %v", err, errMissing)
	}
	r.copy(path, to)
	r.Libraries(path)
}

// Libraries copies the shared libraries that a file needs.
func (r *Root) Libraries(path string) {
	r.tb.Helper()
	// A static program has none, and ldd fails.
	out, _ := exec.CommandContext(r.tb.Context(), "ldd", path).CombinedOutput()
	for _, m := range library.FindAllSubmatch(out, -1) {
		if lib := string(m[1]); !exists(r.path(lib)) {
			r.copy(lib, lib)
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Tree copies a folder of the machine's to the same place.
func (r *Root) Tree(path string) {
	r.tb.Helper()
	r.folder(filepath.Dir(path), 0o755)
	r.cp("-a", path, r.path(filepath.Dir(path)))
}

// Copy copies a file.
func (r *Root) copy(from, to string) {
	r.tb.Helper()
	r.folder(filepath.Dir(to), 0o755)
	r.cp("-L", "--preserve=mode", from, r.path(to))
}

func (r *Root) cp(args ...string) {
	r.tb.Helper()
	if out, err := exec.CommandContext(r.tb.Context(), "cp", args...).CombinedOutput(); err != nil {
		r.tb.Fatalf("copy: %v\n%s", err, bytes.TrimSpace(out))
	}
}

// Tool returns the path of a program that make setup has put into e2e/tools/bin.
func Tool(tb testing.TB, name string) string {
	tb.Helper()
	path, err := findTool(filepath.Join("e2e/tools/bin", name))
	if err != nil {
		tb.Fatal(err)
	}
	return path
}
