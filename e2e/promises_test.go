package e2e

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// docs/promises.md and docs/security.md name the tests that hold each line. Whatever test
// another page names is there, too.
func TestEveryPromiseHasItsTests(t *testing.T) {
	tests := testNames(t, "..")
	for _, page := range pageFiles(t) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		named := regexp.MustCompile("`((?:Test|Benchmark|Fuzz)[A-Za-z]+)`").FindAllStringSubmatch(string(text), -1)
		if name := filepath.Base(page); (name == "promises.md" || name == "security.md") && len(named) < 30 {
			t.Fatalf("%s names %d tests", page, len(named))
		}
		for _, name := range named {
			if !tests[name[1]] {
				t.Errorf("%s: there is no %s", page, name[1])
			}
		}
	}
}

// testNames are the tests of the whole repository.
func testNames(t *testing.T, root string) map[string]bool {
	t.Helper()
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Benchmark|Fuzz)\w+)\(\w \*testing\.[TBF]\)`)
	names := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, match := range declared.FindAllStringSubmatch(string(text), -1) {
			names[match[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
