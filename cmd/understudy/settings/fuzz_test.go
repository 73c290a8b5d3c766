package settings

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzConfigFile: the YAML file, which people write, and whose errors must not
// repeat the passwords in it.
func FuzzConfigFile(f *testing.F) {
	for _, name := range []string{"understudy.yaml", "sample.yaml"} {
		text, err := os.ReadFile(filepath.Join("..", "packaging", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	for _, text := range []string{
		"", "sources: []", "sources: {", "a: &a [*a]", "a: &a {b: *a}\nsources: *a", "sources: [{name: x, postgres: {url: hunter2}}]", "---\n---\n",
		strings.Repeat("[", 5000), strings.Repeat("a: {", 2000), "hooks: {promote: {command: [x], timeout: -1s}}", "sources:\n  - {name: ../x, directory: {path: relative}}",
		"sources: hunter2", "hunter2", "\x00", "? : :", "!!binary x: y",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		_, err := parse([]byte(text), t.TempDir(), nil)
		if err != nil && strings.Contains(text, "hunter2") && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error tells what is in the file: %v", err)
		}
	})
}

// FuzzKept: what the set-up has kept.
func FuzzKept(f *testing.F) {
	for _, text := range []string{`{}`, `{"bucket":"s3://b","instance":"a","url":"http://a","key_file":"/k"}`, `{"x":1}`, `{"bucket":1}`, ``} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s := &Host{DataDir: t.TempDir(), given: map[string]bool{}}
		if err := os.WriteFile(filepath.Join(s.DataDir, keptFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if s.recall() == nil && s.Instance != "" && !instanceName.MatchString(s.Instance) {
			t.Errorf("the name %q is taken", s.Instance)
		}
	})
}
