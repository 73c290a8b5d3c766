package e2e

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestWordsHaveOneMeaning: docs/words.md has each word once, and no package doc and no
// page uses a word that it says is not used any more.
func TestWordsHaveOneMeaning(t *testing.T) {
	text, err := os.ReadFile("../docs/words.md")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	instead := map[string]string{} // the word to use, by the one that is not used
	for _, row := range regexp.MustCompile(`(?m)^\| ([^|]+) \| [^|]+ \| ?([^|]*)\|$`).FindAllStringSubmatch(string(text), -1) {
		word := strings.TrimSpace(row[1])
		if word == "word" || word == "---" {
			continue
		}
		if known[word] {
			t.Errorf("%q is there twice", word)
		}
		known[word] = true
		for not := range strings.SplitSeq(row[2], ",") {
			if not = strings.TrimSpace(not); not != "" && !strings.Contains(not, "(") {
				instead[not] = word
			}
		}
	}
	if len(known) < 40 || len(instead) < 6 {
		t.Fatalf("%d words, %d of which something is not used: is it a table?", len(known), len(instead))
	}
	for place, text := range prose(t) {
		for not, word := range instead {
			if regexp.MustCompile(`(?i)\b` + regexp.QuoteMeta(not) + `s?\b`).MatchString(text) {
				t.Errorf("%s: %q; docs/words.md says %q", place, not, word)
			}
		}
	}
}

// TestNamesHaveOneMeaning: in the rooms that were gone through no name, and no comment, is
// one of the words that stand for another thing.
func TestNamesHaveOneMeaning(t *testing.T) {
	elsewhere := regexp.MustCompile(`\bseal\.\w+|"[^"\n]*"|` + "`[^`]*`") // the package, and what is on disk
	for _, tt := range []struct {
		room string
		not  *regexp.Regexp
		word string
	}{
		{"../restore", regexp.MustCompile(`(?i)seal`), "a stage has a fingerprint"},
		{"../backup/source", regexp.MustCompile(`(?i)seal`), "a stage has a fingerprint"},
		{"../backup", regexp.MustCompile(`(?i)\btwins?\b|\w(Twin|Folder)\b`), "a hard link; a directory"},
		{"../restore", regexp.MustCompile(`(?i)\btwins?\b|\w(Twin|Folder)\b`), "a hard link; a directory"},
		{"../backup/source", regexp.MustCompile(`probe[A-Z]`), "the probe is a hook"},
	} {
		err := filepath.WalkDir(tt.room, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			for line := range strings.Lines(elsewhere.ReplaceAllString(string(text), "")) {
				if tt.not.MatchString(line) {
					t.Errorf("%s: %s (docs/words.md: %s)", path, strings.TrimSpace(line), tt.word)
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// prose is the text of all package docs and pages, without what is code, by file.
func prose(t *testing.T) map[string]string {
	t.Helper()
	code := regexp.MustCompile("(?s)```.*?```|`[^`\n]*`|(?m)^(    |\t).*$")
	all := map[string]string{}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "tools" || d.Name() == "decisions" || d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") && path != ".."):
			return filepath.SkipDir
		case strings.HasSuffix(path, ".md") && d.Name() != "words.md":
			text, err := os.ReadFile(path)
			all[path] = code.ReplaceAllString(string(text), "")
			return err
		case strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go"):
			f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments|parser.PackageClauseOnly)
			if err == nil && f.Doc != nil {
				all[path] = code.ReplaceAllString(f.Doc.Text(), "")
			}
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
