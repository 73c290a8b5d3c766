package main

import (
	"bytes"
	"crypto/sha256"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestBuildsAreReproducible: the same sources give the same bytes, wherever they
// lie and whatever was built before. What the build uses of the cache is the
// compiled packages; the program itself is linked anew.
func TestBuildsAreReproducible(t *testing.T) {
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	flags := regexp.MustCompile(`(?m)^BUILD := go build (.*)$`).FindSubmatch(makefile)
	if flags == nil || !slices.Contains(strings.Fields(string(flags[1])), "-trimpath") {
		t.Fatal("make build keeps paths of the machine")
	}
	dockerfile, err := os.ReadFile(filepath.Join("packaging", "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	for _, flag := range strings.Fields(string(flags[1])) {
		if strings.Count(string(dockerfile), flag) != strings.Count(string(dockerfile), "go build") {
			t.Errorf("the image is built without %s", flag)
		}
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := filepath.Join(t.TempDir(), "elsewhere")
	if err := os.Symlink(root, elsewhere); err != nil {
		t.Fatal(err)
	}
	var sums [][]byte
	for i, dir := range []string{root, elsewhere} {
		out := filepath.Join(t.TempDir(), "understudy")
		// -race=false: the tests' own flags are not the program's.
		args := append(append([]string{"build", "-race=false"}, strings.Fields(string(flags[1]))...), "-o", out, "./cmd/understudy")
		cmd := exec.Command("go", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "PWD="+dir)
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build %d: %v\n%s", i, err, text)
		}
		f, err := os.Open(out)
		if err != nil {
			t.Fatal(err)
		}
		h := sha256.New()
		if _, err := io.Copy(h, f); err != nil {
			t.Fatal(err)
		}
		f.Close()
		sums = append(sums, h.Sum(nil))
		text, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(text, []byte(root)) || bytes.Contains(text, []byte(elsewhere)) {
			t.Error("the program knows where it was built")
		}
	}
	if !bytes.Equal(sums[0], sums[1]) {
		t.Error("two builds differ")
	}
}
