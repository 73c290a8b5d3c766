package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzConfigFile: the YAML file, which people write, and whose errors must not
// repeat the passwords in it.
func FuzzConfigFile(f *testing.F) {
	for _, name := range []string{"understudy.yaml", "sample.yaml"} {
		text, err := os.ReadFile(filepath.Join("packaging", name))
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
		_, err := parseConfig([]byte(text), t.TempDir())
		if err != nil && strings.Contains(text, "hunter2") && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error tells what is in the file: %v", err)
		}
	})
}

// FuzzBucketURL: no URL opens anything but what it says. (That of gs:// looks
// for credentials in the network; its options have a target of their own.)
func FuzzBucketURL(f *testing.F) {
	for _, text := range []string{
		"s3://b/p?region=eu-central-1&endpoint=http://127.0.0.1:1", "minio://127.0.0.1:1/b/p?tls=false", "azblob://c/p?protocol=http", "file:///tmp/x/../y",
		"s3://", "s3://user:hunter2@b", "file://host/x", "minio://h/", "://", "s3://b/../../x?region=%00", "http://169.254.169.254/",
	} {
		f.Add(text)
	}
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_EC2_METADATA_DISABLED": "true", "AZURE_STORAGE_ACCOUNT": "a", "AZURE_STORAGE_KEY": "Yg==",
	} {
		f.Setenv(name, value)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.HasPrefix(strings.ToLower(text), "gs") || strings.HasPrefix(strings.ToLower(text), "file") {
			return // would make folders
		}
		_, err := openBucket(t.Context(), &settings{Bucket: text}, slog.New(slog.DiscardHandler))
		if err != nil && strings.Contains(text, ":hunter2@") && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error tells a password: %v", err)
		}
	})
}

// FuzzKept: what the set-up has kept.
func FuzzKept(f *testing.F) {
	for _, text := range []string{`{}`, `{"bucket":"s3://b","instance":"a","url":"http://a","key_file":"/k"}`, `{"x":1}`, `{"bucket":1}`, ``} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s := &settings{DataDir: t.TempDir(), given: map[string]bool{}}
		if err := os.WriteFile(filepath.Join(s.DataDir, keptFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if s.recall() == nil && s.Instance != "" && !instanceName.MatchString(s.Instance) {
			t.Errorf("the name %q is taken", s.Instance)
		}
	})
}
